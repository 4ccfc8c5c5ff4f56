"""What clients may send to the actions of the second service, 2026-11-01."""

from typing import Annotated

from msgspec import field

from drystone.api.cbs_parameters import Filter
from drystone.api.parameters import (
    MANY,
    Arguments,
    Hours,
    Id,
    Ids,
    Parameters,
    PathText,
    Seconds,
    Text,
    Time,
    Unsigned,
    Word,
)


class Paged(Parameters, frozen=True, kw_only=True):
    """A list is answered in pages: 20 rows unless told, 100 at most."""

    offset: Unsigned | None = None
    limit: Unsigned | None = None


class AuditDisk(Parameters, frozen=True, kw_only=True):
    """Parameters of AuditDisk."""

    disk_id: Id


class RewriteDisk(Parameters, frozen=True, kw_only=True):
    """Parameters of RewriteDisk."""

    disk_id: Id


class DescribeInstances(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeInstances."""

    instance_ids: Ids | None = None


class CreateInstance(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateInstance."""

    kind: Word
    instance_name: Text | None = None


class DeleteInstance(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteInstance."""

    instance_id: Id


class DescribeDiskDetails(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeDiskDetails."""

    disk_ids: Ids | None = None


class QuiesceStep(Parameters, frozen=True, kw_only=True):
    """One step of a profile; which fields it needs is said by its kind."""

    kind: Word
    seconds_max: Seconds | None = None
    mount: PathText | None = None
    freeze: Arguments | None = None
    thaw: Arguments | None = None
    option_file: PathText | None = None
    connection: Text | None = None
    socket: PathText | None = None
    domain: Text | None = None


class SetQuiesceProfile(Parameters, frozen=True, kw_only=True):
    """Parameters of SetQuiesceProfile; the resource is a disk or an instance."""

    resource_id: Id
    steps: Annotated[tuple[QuiesceStep, ...], MANY]
    mode: Word | None = None
    freeze_seconds_max: Seconds | None = None
    prove_every_h: Hours | None = None


class DeleteQuiesceProfile(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteQuiesceProfile."""

    resource_id: Id


class DescribeQuiesceProfiles(Paged, frozen=True, kw_only=True):
    """DescribeQuiesceProfiles takes a page only."""


class DescribeSnapshotGroupRecords(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotGroupRecords."""

    snapshot_group_ids: Ids | None = None


class ProveSnapshot(Parameters, frozen=True, kw_only=True):
    """Parameters of ProveSnapshot."""

    snapshot_id: Id


class DescribeSnapshotRecords(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotRecords."""

    snapshot_ids: Ids | None = None


class DescribeOperations(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeOperations; filters are resource-id, state and kind."""

    operation_ids: Ids | None = None
    filters: Annotated[tuple[Filter, ...], MANY] | None = None


class DescribeStoreHealth(Parameters, frozen=True, kw_only=True):
    """DescribeStoreHealth takes no parameters."""


class ScrubStore(Parameters, frozen=True, kw_only=True):
    """ScrubStore takes no parameters."""


class DescribeSnapshotSpace(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotSpace: a set that is looked at alone and together, at most 1,000."""

    snapshot_ids: Ids


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

    account_name: Text


class SetAccountQuota(Parameters, frozen=True, kw_only=True):
    """Parameters of SetAccountQuota: what is not given is as configured, 0 is no limit."""

    account_id: Id
    disks: Unsigned | None = None
    disk_gib: Unsigned | None = None


class DescribeAccounts(Paged, frozen=True, kw_only=True):
    """DescribeAccounts takes a page only."""


class CreateAccessKey(Parameters, frozen=True, kw_only=True):
    """Parameters of CreateAccessKey."""

    account_id: Id


class DeleteAccessKey(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteAccessKey."""

    secret_id: Id


class DescribeAccessKeys(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeAccessKeys."""

    account_id: Id


class ConfirmClock(Parameters, frozen=True, kw_only=True):
    """ConfirmClock takes no parameters."""


class ConfirmStore(Parameters, frozen=True, kw_only=True):
    """ConfirmStore takes no parameters."""


class ExportSnapshot(Parameters, frozen=True, kw_only=True):
    """Parameters of ExportSnapshot; the path is one of the server's host."""

    snapshot_id: Id
    path: PathText
    format: Word | None = None


class ImportDisk(Parameters, frozen=True, kw_only=True):
    """Parameters of ImportDisk; the path is one of the server's host, the size in GiB.

    `Force` with the format `raw` takes a file for a raw disk that looks like another format's.
    """

    path: PathText
    format: Word | None = None
    force: bool | None = None
    disk_name: Text | None = None
    disk_type: Word | None = None
    disk_size: Unsigned | None = None


class DescribeKeys(Parameters, frozen=True, kw_only=True):
    """DescribeKeys takes no parameters: the keys are those of the caller's account."""


class CreateKey(Parameters, frozen=True, kw_only=True):
    """CreateKey takes no parameters: the key is one of the caller's account."""


class DeleteKey(Parameters, frozen=True, kw_only=True):
    """Parameters of DeleteKey; `Force` allows for the last key, and for the one that the call is signed with."""

    secret_id: Id
    force: bool | None = None


class SetAccountPassword(Parameters, frozen=True, kw_only=True):
    """Parameters of SetAccountPassword; one of id and name says whose, without a password one is made."""

    account_id: Id | None = None
    account_name: Text | None = None
    password: Text | None = None


class DescribeOverview(Parameters, frozen=True, kw_only=True):
    """DescribeOverview takes no parameters."""


class DescribeHistory(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeHistory: a week of hours unless told."""

    hours: Unsigned | None = None


class DescribeSnapshotDifference(Parameters, frozen=True, kw_only=True):
    """Parameters of DescribeSnapshotDifference; without the first, what the second holds."""

    to: Id
    older: Id | None = field(default=None, name="From")


class DescribeQuotas(Parameters, frozen=True, kw_only=True):
    """DescribeQuotas takes no parameters."""


class DescribeAuditTrail(Paged, frozen=True, kw_only=True):
    """Parameters of DescribeAuditTrail; filters are account-id, action, code, outcome (OK, REFUSED) and resource-id.

    Times are ISO 8601 with an offset; the end is the first moment that is not meant.
    """

    filters: Annotated[tuple[Filter, ...], MANY] | None = None
    begin_time: Time | None = None
    end_time: Time | None = None
