"""What there would be of each disk if it were lost now: its last good snapshot, and what is known of that."""

from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import disks, operations, proofs, snapshots
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.service.caller import Caller
from drystone.service.calls.filters import check_filters, page, truths
from drystone.service.requests import ProtectionQuery
from drystone.service.transactions import Transactions
from drystone.service.views import Page, ProtectionView

_FILTERS = frozenset({"protected"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Looks at all disks of the caller's account at once: which are unprotected is known of all or of none."""

    transactions: Transactions

    async def describe(self, caller: Caller, query: ProtectionQuery) -> Page[ProtectionView]:
        """Return the disks that match, newest first; unknown ids only make fewer of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        check_filters(_FILTERS, query.disk_ids, query.filters)
        offset, limit = page(query.offset, query.limit)
        wanted = [truths(name, values) for name, values in query.filters]
        ids = frozenset(query.disk_ids)

        def look(conn: Connection) -> list[ProtectionView]:
            return [
                one
                for one in _all(conn, caller)
                if (not ids or one.disk.id in ids) and all(one.protected in allowed for allowed in wanted)
            ]

        found = await self.transactions.read_in_turn(caller.account_id, look)
        return Page(items=tuple(found[offset : offset + limit]), total=len(found))


def _all(conn: Connection, caller: Caller) -> list[ProtectionView]:
    mine = disks.of_account(conn, caller.account_id)
    good, newest = snapshots.newest_good(conn, caller.account_id), proofs.newest(conn, caller.account_id)
    totals = snapshots.totals(conn, [disk.id for disk in mine])
    failed: dict[DiskId, list[Operation]] = {}
    for one in operations.failed_snapshots(conn, caller.account_id):
        last = good.get(one.on_disk)
        if last is None or one.created_at > last.created_at:
            failed.setdefault(one.on_disk, []).append(one)
    return [
        ProtectionView(
            disk=disk, last=good.get(disk.id), proof=newest.get(disk.id), failed=tuple(failed.get(disk.id, ())),
            snapshot_count=totals[disk.id].count, stored_bytes=totals[disk.id].stored_bytes,
        )
        for disk in mine
    ]  # fmt: skip
