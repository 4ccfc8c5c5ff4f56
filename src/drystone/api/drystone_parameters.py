"""What clients may send to the actions of the second service, 2026-11-01."""

from msgspec import field

from drystone.api.cbs_parameters import Filter
from drystone.api.parameters import Parameters, Unsigned


class Paged(Parameters, frozen=True, kw_only=True):
    """A list is answered in pages: 20 rows unless told, 100 at most."""

    offset: Unsigned | None = None
    limit: Unsigned | None = None


class AuditDisk(Parameters, frozen=True, kw_only=True):
    """Parameters of AuditDisk."""

    disk_id: str


class DescribeInstances(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeInstances."""

    instance_ids: tuple[str, ...] | None = None


class CreateInstance(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateInstance."""

    kind: str
    instance_name: str | None = None


class DeleteInstance(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteInstance."""

    instance_id: str


class DescribeDiskDetails(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeDiskDetails."""

    disk_ids: tuple[str, ...] | None = None


class QuiesceStep(Parameters, frozen=True, kw_only=True):
    """One step of a profile; which fields it needs is said by its kind."""

    kind: str
    seconds_max: float | None = None
    mount: str | None = None
    freeze: tuple[str, ...] | None = None
    thaw: tuple[str, ...] | None = None
    option_file: str | None = None
    connection: str | None = None
    socket: str | None = None
    domain: str | None = None


class SetQuiesceProfile(Parameters, frozen=True, kw_only=True):
    """Parameters of SetQuiesceProfile; the resource is a disk or an instance."""

    resource_id: str
    steps: tuple[QuiesceStep, ...]
    mode: str | None = None
    freeze_seconds_max: float | None = None
    prove_every_h: float | None = None


class DeleteQuiesceProfile(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteQuiesceProfile."""

    resource_id: str


class DescribeQuiesceProfiles(Paged, frozen=True, kw_only=True):
    """DescribeQuiesceProfiles takes a page only."""


class DescribeSnapshotGroupRecords(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotGroupRecords."""

    snapshot_group_ids: tuple[str, ...] | None = None


class ProveSnapshot(Parameters, frozen=True, kw_only=True):
    """Parameters of ProveSnapshot."""

    snapshot_id: str


class DescribeSnapshotRecords(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotRecords."""

    snapshot_ids: tuple[str, ...] | None = None


class DescribeOperations(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeOperations; filters are resource-id, state and kind."""

    operation_ids: tuple[str, ...] | None = None
    filters: tuple[Filter, ...] | None = None


class DescribeStoreHealth(Parameters, frozen=True, kw_only=True):
    """DescribeStoreHealth takes no parameters."""


class ScrubStore(Parameters, frozen=True, kw_only=True):
    """ScrubStore takes no parameters."""


class DescribeSnapshotSpace(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotSpace: a set that is looked at alone and together, at most 1,000."""

    snapshot_ids: tuple[str, ...]


class DescribeStore(Parameters, frozen=True, kw_only=True):
    """DescribeStore takes no parameters."""


class CollectGarbage(Parameters, frozen=True, kw_only=True):
    """Parameters of CollectGarbage: the threshold is in percent of a pack's bytes."""

    dry_run: bool | None = None
    threshold: Unsigned | None = None


class DescribeHost(Parameters, frozen=True, kw_only=True):
    """DescribeHost takes no parameters."""


class CreateAccount(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateAccount."""

    account_name: str


class DescribeAccounts(Paged, frozen=True, kw_only=True):
    """DescribeAccounts takes a page only."""


class CreateAccessKey(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateAccessKey."""

    account_id: str


class DeleteAccessKey(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteAccessKey."""

    secret_id: str


class DescribeAccessKeys(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeAccessKeys."""

    account_id: str


class ConfirmStore(Parameters, frozen=True, kw_only=True):
    """ConfirmStore takes no parameters."""


class ExportSnapshot(Parameters, frozen=True, kw_only=True):
    """Parameters of ExportSnapshot; the path is one of the server's host."""

    snapshot_id: str
    path: str
    format: str | None = None


class ImportDisk(Parameters, frozen=True, kw_only=True):
    """Parameters of ImportDisk; the path is one of the server's host, the size in GiB.

    `Force` with the format `raw` takes a file for a raw disk that looks like another format's.
    """

    path: str
    format: str | None = None
    force: bool | None = None
    disk_name: str | None = None
    disk_type: str | None = None
    disk_size: Unsigned | None = None


class DescribeKeys(Parameters, frozen=True, kw_only=True):
    """DescribeKeys takes no parameters: the keys are those of the caller's account."""


class CreateKey(Parameters, frozen=True, kw_only=True):
    """CreateKey takes no parameters: the key is one of the caller's account."""


class DeleteKey(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteKey; `Force` allows for the last key, and for the one that the call is signed with."""

    secret_id: str
    force: bool | None = None


class SetAccountPassword(Parameters, frozen=True, kw_only=True):
    """Parameters of SetAccountPassword; one of id and name says whose, without a password one is made."""

    account_id: str | None = None
    account_name: str | None = None
    password: str | None = None


class DescribeOverview(Parameters, frozen=True, kw_only=True):
    """DescribeOverview takes no parameters."""


class DescribeHistory(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeHistory: a week of hours unless told."""

    hours: Unsigned | None = None


class DescribeSnapshotDifference(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotDifference; without the first, what the second holds."""

    to: str
    older: str | None = field(default=None, name="From")


class DescribeQuotas(Parameters, frozen=True, kw_only=True):
    """DescribeQuotas takes no parameters."""
