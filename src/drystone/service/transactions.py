"""How the service reads and changes the catalog: each change with its time and its ids, so that it may be run twice.

A database that was lost at a commit has a transaction run again (R6). So what is changed is a function of the `Change`
alone: the time and the source of its ids are fixed before the first run, and the second run is given the same.
"""

import random  # noqa: TID251 - seeded by what the composition root gave
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from drystone.catalog import operations, sessions
from drystone.catalog.database import READERS, Database
from drystone.domain.ids import AccountId, DiskId, IdSource, InstanceId, Randomness, SessionId, SnapshotId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import Payload
from drystone.domain.session import Session
from drystone.transfer.places import Places

R = TypeVar("R")
NO_PAYLOAD = Payload()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One run of a transaction that changes the catalog."""

    conn: Connection
    at: float
    """When, by this machine's clock, in seconds since the epoch: what people are shown."""
    steady: float
    """When by the steady clock (`service/upkeep/clock.py`): what ages and deadlines go by (S115)."""
    ids: IdSource
    begun: list[Operation] = field(default_factory=list)
    """The operations that it has begun, to be taken up once it is committed."""

    def begin(
        self,
        kind: OperationKind,
        *,
        account_id: AccountId,
        request_id: str,
        disk_id: DiskId | None = None,
        snapshot_id: SnapshotId | None = None,
        instance_id: InstanceId | None = None,
        phase: str = "",
        payload: Payload = NO_PAYLOAD,
    ) -> Operation:
        """Record an operation that is RUNNING from now on, and return it."""
        operation = Operation(
            id=self.ids.operation(), kind=kind, account_id=account_id, disk_id=disk_id, snapshot_id=snapshot_id,
            instance_id=instance_id, phase=phase, payload=payload, request_id=request_id, created_at=self.at,
            updated_at=self.at,
        )  # fmt: skip
        operations.insert(self.conn, operation)
        self.begun.append(operation)
        return operation

    def open_session(self, kind: str, pinned: list[SnapshotId], *, snapshot_id: SnapshotId | None = None) -> SessionId:
        """Record a session that pins these snapshots (S8), and return its id; `snapshot_id` is what it writes."""
        session = Session(id=self.ids.session(), kind=kind, created_at=self.at, snapshot_id=snapshot_id)
        sessions.open(self.conn, session, pinned)
        return session.id


@dataclass(slots=True, kw_only=True, eq=False)
class Transactions:
    """The catalog's transactions."""

    db: Database
    clock: Callable[[], float]
    """This machine's clock, seconds since the epoch."""
    steady: Callable[[], float]
    """The steady clock, in the same unit."""
    rng: Randomness
    """Where ids come from."""
    long_reads: Places = field(init=False, default_factory=lambda: Places(READERS - 1, reserve=0))
    """Whose turn it is to read much: never on all readers, whoever asks."""

    async def read(self, fn: Callable[[Connection], R]) -> R:
        """Return what `fn` reads; errors as `Database.read`."""
        return await self.db.read(fn)

    async def read_in_turn(self, account_id: AccountId, fn: Callable[[Connection], R]) -> R:
        """Read what takes long, in turn with the other accounts (S183).

        The catalog's readers are few and serve who comes first: everybody's calls, and each look at a key, would stand
        behind such reads.
        """
        async with self.long_reads.hold(account_id):
            return await self.db.read(fn)

    async def change(self, record: Callable[[Change], R]) -> R:
        """Carry a change out and return what `record` returns; errors as `Database.write`.

        What `record` begins is left alone: whoever wants it taken up uses `Operations.begin`.
        """
        return await self.db.write(self._prepared(record))

    def change_sync(self, record: Callable[[Change], R]) -> R:
        """Do the same where no server runs."""
        return self.db.write_sync(self._prepared(record))

    def _prepared(self, record: Callable[[Change], R]) -> Callable[[Connection], R]:
        at, steady, seed = self.clock(), self.steady(), self.rng.getrandbits(128)

        def run(conn: Connection) -> R:
            ids = IdSource(random.Random(seed))  # noqa: S311 - they are no secrets
            return record(Change(conn=conn, at=at, steady=steady, ids=ids))

        return run
