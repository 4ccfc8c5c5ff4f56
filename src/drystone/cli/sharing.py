"""The commands on what is shared: snapshots that other accounts make disks from."""

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.lists import Record
from drystone.cli.lookup import SNAPSHOT
from drystone.cli.naming import SnapshotName
from drystone.cli.session import NO_LIST_OPTIONS, NO_OPTIONS, Commands, CommonOptions, ListOptions, Session

SHARE_COLUMNS = ("account_id", "shared_at")


class SharingCommands(Commands):
    """See `Commands`."""

    def share(self, snapshot: SnapshotName, /, *account: str, common: CommonOptions = NO_OPTIONS) -> None:
        """Let other accounts make disks from a snapshot, and do nothing else with it.

        They see its name, its size, its disk's id and its times once they name its id, or list what is shared with
        them. While it is shared it cannot be deleted.

        Args:
            snapshot: Id, name, or DISK@NAME.
            account: Ids of accounts of this server.
            common: Options that every command takes.
        """
        self._set(snapshot, account, "SHARE", common)

    def unshare(self, snapshot: SnapshotName, /, *account: str, common: CommonOptions = NO_OPTIONS) -> None:
        """End sharing a snapshot. Disks that were made from it stay.

        Args:
            snapshot: Id, name, or DISK@NAME.
            account: Ids of accounts; without one, all that it is shared with.
            common: Options that every command takes.
        """
        self._set(snapshot, account, "CANCEL", common)

    def shares(self, snapshot: SnapshotName, /, *, common: ListOptions = NO_LIST_OPTIONS) -> None:
        """List the accounts that a snapshot is shared with.

        Args:
            snapshot: Id, name, or DISK@NAME.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        session.out.records(_shares(session, lookup.id_of(session, SNAPSHOT, snapshot)), SHARE_COLUMNS)

    def _set(self, snapshot: str, accounts: tuple[str, ...], permission: str, common: CommonOptions) -> None:
        if not accounts and permission == "SHARE":
            raise CliError(Exit.USAGE, "give the ids of the accounts that are to have it")
        session = self._outside.session(common)
        identity = lookup.id_of(session, SNAPSHOT, snapshot)
        wanted = list(accounts) or [str(one["account_id"]) for one in _shares(session, identity)]
        if wanted:
            session.service.cbs(
                f"{'share' if permission == 'SHARE' else 'unshare'} {identity}",
                "ModifySnapshotsSharePermission",
                SnapshotIds=[identity],
                AccountIds=wanted,
                Permission=permission,
            )
        session.out.result([identity], _shares(session, identity))


def _shares(session: Session, snapshot: str) -> list[Record]:
    answer = session.service.cbs("list shares", "DescribeSnapshotSharePermission", SnapshotId=snapshot)
    return [{"account_id": one["AccountId"], "shared_at": one["CreatedTime"]} for one in answer["SharePermissionSet"]]
