"""What operations did, step by step: written by the database itself as rows change, and bounded."""

import pytest
from sqlalchemy import Connection, func, select

from drystone.catalog import operations, triggers
from drystone.catalog.database import Database
from drystone.catalog.schema import operation_step
from drystone.domain.ids import OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState, OperationStep, phase_spans
from tests.catalog.catalog_values import OWNER

OP = OperationId("op-00000001")
AT = 1_700_000_000.0


@pytest.fixture
def begun(db: Database) -> Database:
    row = Operation(
        id=OP, kind=OperationKind.REWRITE, account_id=OWNER, phase="COPYING", created_at=AT, updated_at=AT
    )  # fmt: skip
    db.write_sync(lambda conn: operations.insert(conn, row))
    return db


def change(db: Database, after_s: float, **values: object) -> None:
    db.write_sync(lambda conn: operations.update(conn, OP, updated_at=AT + after_s, **values))


def steps(db: Database) -> list[OperationStep]:
    return db.read_sync(lambda conn: operations.steps(conn, OP))


def test_each_change_that_people_are_shown_is_a_step_and_progress_is_none(begun: Database) -> None:
    change(begun, 1, attempts=1)
    change(begun, 2, percent=50)
    change(begun, 3, error="waits for the store")
    change(begun, 4, error="waits for the store")
    change(begun, 5, error="")
    change(begun, 6, phase="COMPARING")
    change(begun, 7, state=OperationState.DONE, percent=100)
    found = [(step.at - AT, step.phase, step.state, step.attempts, step.error) for step in steps(begun)]
    assert found == [
        (0, "COPYING", "RUNNING", 0, ""), (1, "COPYING", "RUNNING", 1, ""),
        (3, "COPYING", "RUNNING", 1, "waits for the store"), (6, "COMPARING", "RUNNING", 1, ""),
        (7, "COMPARING", "DONE", 1, ""),
    ]  # fmt: skip


def test_the_newest_are_kept_and_all_go_with_the_operation(begun: Database) -> None:
    for number in range(triggers.STEPS_MAX + 20):
        change(begun, number, phase=f"{number} packs written again")
    kept = steps(begun)
    assert len(kept) == triggers.STEPS_MAX
    assert kept[-1].phase == f"{triggers.STEPS_MAX + 19} packs written again"

    def count(conn: Connection) -> int:
        number: int = conn.execute(select(func.count()).select_from(operation_step)).scalar_one()
        return number

    change(begun, 1000, state=OperationState.DONE)
    assert begun.write_sync(lambda conn: operations.prune(conn, AT + 2000, 10)) == 1
    assert begun.read_sync(count) == 0


def test_phases_and_how_long_each_took() -> None:
    def step(at: float, phase: str, state: OperationState = OperationState.RUNNING) -> OperationStep:
        return OperationStep(at=AT + at, phase=phase, state=state, attempts=1, error="")

    def shown(*taken: OperationStep) -> list[tuple[str, float, bool]]:
        return [(span.phase, span.seconds, span.ended) for span in phase_spans(taken, AT + 100)]

    assert shown() == []
    assert shown(step(0, "COPYING")) == [("COPYING", 100, False)]
    way = (step(0, "COPYING"), step(1, "COPYING"), step(6, "COMPARING"))
    assert shown(*way) == [("COPYING", 6, True), ("COMPARING", 94, False)]
    assert shown(*way, step(7.25, "COMPARING", OperationState.DONE)) == [
        ("COPYING", 6, True),
        ("COMPARING", 1.25, True),
    ]
    # One that begins anew is there again, and a clock that was set back makes no negative time.
    assert shown(*way, step(5, "COPYING")) == [("COPYING", 6, True), ("COMPARING", 0, True), ("COPYING", 95, False)]
