"""What is sent: for each parameter a plausible value mostly, and one of `tests.api.nasty` now and then."""

import datetime as dt
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import inspect

from drystone.api.actions import Action
from tests.api import nasty
from tests.api.real_service import REGION, ZONE

NASTY_SHARE = 0.12
OPTIONAL_SHARE = 0.3
ID_SHARE = 0.5
"""Of a parameter that names something and may be left out."""
FORGOTTEN_SHARE = 0.01
UNKNOWN_SHARE = 0.02
FOCUS_WEIGHT = 60
"""Of the one action that a run looks at above all, beside some 60 for all others together."""
CHOICES: Mapping[str, Sequence[object]] = {
    "Zone": [ZONE] * 9 + ["ap-moon-1"],
    "Zones": [ZONE],
    "DiskChargeType": ["POSTPAID_BY_HOUR", "POSTPAID_BY_HOUR", "PREPAID", "CDCPAID"],
    "DiskType": [
        "CLOUD_PREMIUM", "CLOUD_PREMIUM", "CLOUD_SSD", "CLOUD_HSSD", "CLOUD_BSSD", "CLOUD_TSSD", "CLOUD_BASIC",
    ],
    "DiskTypes": ["CLOUD_PREMIUM", "CLOUD_SSD"],
    "DiskUsage": ["DATA_DISK", "SYSTEM_DISK"],
    "DiskSize": [10, 20, 20, 30, 500, 32_000],
    "DiskCount": [1, 1, 2, 3],
    "Offset": [0, 0, 1, 7],
    "Limit": [1, 20, 100],
    "Order": ["ASC", "DESC", "asc"],
    "OrderField": ["CREATE_TIME", "DEADLINE", "CREATETIME"],
    "RenewFlag": ["NOTIFY_AND_AUTO_RENEW", "NOTIFY_AND_MANUAL_RENEW", "DISABLE_NOTIFY_AND_MANUAL_RENEW"],
    "Period": [1, 12, 36],
    "DeleteSnapshot": [0, 1],
    "ThroughputPerformance": [0, 0, 100],
    "ProjectId": [0, 0, 1234567, (1 << 63) - 1, 1 << 63, (1 << 64) - 1],
    "BurstPerformanceOperation": ["CREATE", "CANCEL"],
    "InquiryType": ["INQUIRY_CBS_CONFIG", "INQUIRY_CVM_CONFIG"],
    # Never HOST: its disks would become block devices of the machine that runs this.
    "Kind": ["NBD"],
    "AttachMode": ["PF", "VF"],
    "InstanceType": ["CVM", "EKS"],
    "Encrypt": ["ENCRYPT"],
    "EncryptType": ["ENCRYPT_V2"],
    "Format": ["qcow2", "raw"],
    "Key": ["k1", "k2", "env"],
    "Value": ["", "v", "prod"],
    "Mode": ["require", "prefer"],
    "ServiceType": ["cvm", "cvm", "ccs"],
    "ResourceRegion": [REGION],
    "Category": ["Custom", "All", "System"],
    "TagKey": ["k1", "k2", "env"],
    "TagKeys": ["k1", "k2", "env"],
    "TagValue": ["", "v", "prod"],
    "PaginationToken": [""],
    "Threshold": [0, 20, 100],
    "Name": [
        "disk-id", "disk-name", "disk-type", "disk-state", "disk-usage", "disk-charge-type", "portable", "project-id",
        "instance-id", "instance-name", "zone", "tag-key", "tag-value", "tag:env", "snapshot-id", "snapshot-name",
        "snapshot-state", "snapshot-type", "encrypt", "snapshot-group-id", "snapshot-group-state",
        "snapshot-group-name", "resource-id", "state", "kind", "account-id", "action", "code", "outcome",
        "nonsense",
    ],
    "Values": ["NORMAL", "UNATTACHED", "TRUE", "0", "DONE", "CLOUD_SSD", ZONE, "a name", "env",
               "CreateDisks", "OK", "REFUSED", "InvalidDiskId.NotFound"],
}  # fmt: skip
"""Values by the wire name of a parameter."""
KINDS: Mapping[str, str] = {
    "DiskId": "disk", "DiskIds": "disk", "ResourceId": "quiet", "SnapshotId": "snap", "SnapshotIds": "snap",
    "ResourceIds": "disk", "From": "snap", "To": "snap", "InstanceId": "ins", "InstanceIds": "ins",
    "SnapshotGroupId": "csnap",
    "SnapshotGroupIds": "csnap", "OperationIds": "op", "AccountId": "account", "SecretId": "key",
}  # fmt: skip
"""Kinds of ids by the wire name of a parameter. A quiet disk is one that no snapshot is ever taken of."""
OWN, OTHERS, GONE, NOBODYS = 12, 4, 2, 1
"""How often an id is of the caller, of others, of what is gone, or nobody's."""
PREFIXES = {"disk": "disk-", "quiet": "disk-", "snap": "snap-", "ins": "ins-", "csnap": "csnap-", "op": "op-"}


@dataclass(kw_only=True)
class Known:
    """Ids that an account has seen, by kind."""

    ids: dict[str, list[str]] = field(default_factory=dict)

    def of(self, kind: str) -> Sequence[str]:
        """Return those of a kind."""
        return self.ids.get(kind, [])


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Writes bodies of calls.

    Args:
        rng: The dice.
        own: What the caller has.
        others: What others have.
        gone: What is gone.
        path: Where files may be made.
        eager: Name more of what may be left out.
    """

    rng: random.Random
    own: Known
    others: Known
    gone: Known
    path: str
    eager: bool = False

    def body(self, action: type[Action]) -> bytes:
        """Return the body of a call."""
        members = self._members(action)
        if self.rng.random() < UNKNOWN_SHARE:
            members[self.rng.choice(["Nonsense", "diskId", "DiskIds.0", ""])] = '"x"'
        names = list(members)
        self.rng.shuffle(names)
        return nasty._object({name: members[name] for name in names}).encode()

    def _members(self, kind: type[msgspec.Struct]) -> dict[str, str]:
        members = {}
        for one in msgspec.structs.fields(kind):
            share = ID_SHARE if self.eager or one.encode_name in KINDS else OPTIONAL_SHARE
            share = 1 - FORGOTTEN_SHARE if one.required else share
            if self.rng.random() < share:
                members[one.encode_name] = self._value(one.encode_name, inspect.type_info(one.type))
        return members

    def _value(self, name: str, kind: inspect.Type) -> str:
        if isinstance(kind, inspect.UnionType):
            kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
        if self.rng.random() < NASTY_SHARE:
            return self.rng.choice(_nasty(kind))
        if isinstance(kind, inspect.StructType):
            return nasty._object(self._members(kind.cls))
        if isinstance(kind, inspect.VarTupleType):
            count = self.rng.choice([1, 1, 1, 2, 3, 0])
            made = [self._value(name, kind.item_type) for _ in range(count)]
            if made and self.rng.random() < 0.1:
                made.append(made[0])
            return f"[{','.join(made)}]"
        return json.dumps(self._plausible(name, kind))

    def _plausible(self, name: str, kind: inspect.Type) -> object:
        if name in KINDS:
            return self._id(KINDS[name])
        if name == "Values" and self.rng.random() < 0.5:
            return self._id(self.rng.choice(["disk", "snap", "ins", "csnap"]))
        if name in {"Resource", "ResourceList"}:
            kind_of, word = self.rng.choice([("disk", "volume"), ("snap", "snapshot"), ("ins", "instance")])
            return f"qcs::cvm:{REGION}:uin/:{word}/{self._id(kind_of)}"
        if name in CHOICES:
            return self.rng.choice(CHOICES[name])
        if name == "Path":
            return f"{self.path}/{self.rng.choice(['a', 'b'])}.{self.rng.choice(['raw', 'qcow2'])}"
        if name == "Deadline":
            if self.rng.random() < (0.8 if self.eager else 0.3):
                return json.loads(self.rng.choice(nasty.TIMES))
            days = self.rng.choice([1.5, 30, 3650, -1])
            return (dt.datetime.now(dt.UTC) + dt.timedelta(days=days)).isoformat(timespec="seconds")
        if isinstance(kind, inspect.BoolType):
            return self.rng.random() < 0.5
        if isinstance(kind, inspect.StrType):
            return self.rng.choice(["a name", "中文", "x", "snap'; --", "a b", ""])
        return self.rng.choice([0, 0, 1, 1, 2, 7, (1 << 31) - 1, (1 << 63) - 1, 1 << 63])

    def _id(self, kind: str) -> str:
        nobodys = [PREFIXES.get(kind, "") + end for end in ("00000000", "zzzzzzzz", "0000000", "")]
        pools = [self.own.of(kind), self.others.of(kind), self.gone.of(kind), nobodys]
        shares = [share if pool else 0 for pool, share in zip(pools, (OWN, OTHERS, GONE, NOBODYS), strict=True)]
        (pool,) = self.rng.choices(pools, shares)
        return self.rng.choice(pool)


_NASTY: dict[str, list[str]] = {}


def _nasty(kind: inspect.Type) -> list[str]:
    known = _NASTY.get(repr(kind))
    if known is None:
        known = _NASTY[repr(kind)] = list(dict.fromkeys(nasty.values(kind)))
    return known


def weights(
    actions: Mapping[str, type[Action]], known: Known, *, disks_max: int, focus: str | None
) -> Callable[[str], float]:
    """Return how likely each action is: what makes and changes things often, what makes no end of them less."""
    crowded = len(known.of("disk")) > disks_max
    often = {"CreateDisks": 0.2 if crowded else 4, "CreateSnapshot": 5, "AttachDisks": 3, "DetachDisks": 3,
             "TerminateDisks": 9 if crowded else 1, "DeleteSnapshots": 2, "ModifySnapshotAttribute": 3,
             "ModifyDiskAttributes": 2, "CreateSnapshotGroup": 2, "ApplySnapshot": 2}  # fmt: skip
    seldom = {"CreateAccount": 0.05, "CreateAccessKey": 0.2, "CreateKey": 0.2, "SetAccountPassword": 0.1,
              "CreateInstance": 0.5, "ScrubStore": 0.2, "ImportDisk": 0.3, "ExportSnapshot": 0.3}  # fmt: skip
    lists = {"DescribeDisks": 2, "DescribeSnapshots": 2}
    weight = {**{name: 1.0 if one.changes else 0.5 for name, one in actions.items()}, **often, **seldom, **lists}
    if focus is not None:
        weight[focus] = FOCUS_WEIGHT
    return weight.__getitem__
