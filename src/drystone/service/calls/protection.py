"""What there would be of each disk if it were lost now: its last good snapshot, and what is known of that."""

from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import disks, operations, proofs, snapshots
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.domain.promise import NOTHING
from drystone.service.caller import Caller
from drystone.service.calls.filters import check_filters, page, truths
from drystone.service.requests import ProtectionQuery
from drystone.service.rows.promises import promises
from drystone.service.transactions import Transactions
from drystone.service.views import Page, ProtectionView

_FILTERS = frozenset({"protected", "covered", "behind"})


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
        wanted = [(name, truths(name, values)) for name, values in query.filters]
        now = self.transactions.steady()
        ids = frozenset(query.disk_ids)

        def look(conn: Connection) -> list[ProtectionView]:
            return [
                one
                for one in _all(conn, caller, now)
                if (not ids or one.disk.id in ids) and all(_is(one, name) in allowed for name, allowed in wanted)
            ]

        found = await self.transactions.read_in_turn(caller.account_id, look)
        return Page(items=tuple(found[offset : offset + limit]), total=len(found))


def _is(one: ProtectionView, name: str) -> bool:
    return {"protected": one.protected, "covered": one.covered, "behind": one.promise.behind}[name]


def _all(conn: Connection, caller: Caller, now: float) -> list[ProtectionView]:
    mine = disks.of_account(conn, caller.account_id)
    good, newest = snapshots.newest_good(conn, caller.account_id), proofs.newest(conn, caller.account_id)
    promised = promises(conn, caller.account_id, good, now)
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
            promise=promised.get(disk.id, NOTHING),
        )
        for disk in mine
    ]  # fmt: skip
