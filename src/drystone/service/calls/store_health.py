"""What people see of the scrub, and what they may ask of it."""

from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import damages, snapshots, verification
from drystone.catalog.damages import Damage
from drystone.service.caller import Caller
from drystone.service.transactions import Transactions
from drystone.service.upkeep.scrub import Scrub, requested
from drystone.service.views import DamageView, StoreHealthView

SHOWN_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """How far the scrub is, and what it has found."""

    transactions: Transactions
    scrub: Scrub

    async def request(self, caller: Caller) -> float:
        """Have everything that is stored now verified anew; return the time from which verification counts.

        Raises:
            RefusalError: `NOT_ALLOWED` for any but an administrator.
        """
        caller.require_admin()
        return await self.scrub.request()

    async def health(self, caller: Caller) -> StoreHealthView:
        """Return how far the scrub is and what is damaged or suspect.

        Raises:
            RefusalError: `NOT_ALLOWED` for any but an administrator.
        """
        caller.require_admin()
        return await self.transactions.read(self._view)

    def _view(self, conn: Connection) -> StoreHealthView:
        now, before = self.scrub.due(conn)
        totals = verification.totals(conn, before, now)
        found = damages.everything(conn)
        suspect = snapshots.suspect(conn)
        return StoreHealthView(
            packs=totals.packs, packs_due=totals.packs_due, oldest_proof_at=totals.oldest_at,
            snapshots=totals.snapshots, snapshots_due=totals.snapshots_due,
            requested_at=requested(conn, now) or None,
            damaged_snapshots=len({row.snapshot_id for row in found}),
            suspect_snapshots=len(suspect), suspect=tuple(row.id for row in suspect[:SHOWN_MAX]),
            damages=tuple(map(_damage, found[:SHOWN_MAX])),
        )  # fmt: skip


def _damage(row: Damage) -> DamageView:
    return DamageView(
        object=row.object, kind=row.kind, snapshot_id=row.snapshot_id, reason=row.reason, found_at=row.found_at,
        blocks=int((row.ranges[:, 1] - row.ranges[:, 0]).sum()),
        ranges=tuple((int(start), int(stop)) for start, stop in row.ranges[:SHOWN_MAX].tolist()),
    )  # fmt: skip
