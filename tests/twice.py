"""Runs the transactions of Drystone's code twice, as a lost connection may: DRYSTONE_TEST_TWICE chooses how.

`rolled-back`: each is run, undone, and run again; both runs must say the same to the database, return the same, and
change nothing outside of it. `commit-lost` and `answer-lost`: each commit in PostgreSQL is lost, before or after it was
made; so with `answer-lost` what was committed must not be run again.
"""

import contextlib
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import OperationalError

from drystone.catalog.postgres import PostgresDatabase
from drystone.catalog.sqlite import SqliteDatabase

MODE = os.environ.get("DRYSTONE_TEST_TWICE", "")
found: Counter[str] = Counter()
"""Transactions that differ when they are run again, and how."""


def install(patched: pytest.MonkeyPatch) -> None:
    """Have the databases run transactions twice."""
    if MODE == "rolled-back":
        for kind in (SqliteDatabase, PostgresDatabase):
            patched.setattr(kind, "write_sync", _writing_twice(kind.write_sync))
    elif MODE in {"commit-lost", "answer-lost"}:
        real = RootTransaction.commit

        def commit(self: RootTransaction) -> None:
            writes = self.connection.engine.dialect.name == "postgresql" and self.connection.info.pop("written", False)
            if writes and MODE == "commit-lost":
                self.rollback()
            else:
                real(self)
            if writes:
                raise OperationalError("COMMIT", {}, Exception("lost by the test"), connection_invalidated=True)

        writing = PostgresDatabase.write_sync

        def write_sync(self: PostgresDatabase, fn: Callable[[Connection], Any]) -> Any:
            runs = 0

            def counted(conn: Connection) -> Any:
                nonlocal runs
                runs += 1
                result = fn(conn)
                conn.info["written"] = runs == 1
                return result

            result = writing(self, counted)
            assert runs == (1 if MODE == "answer-lost" else 2), f"{_name(fn)} was run {runs} times"
            return result

        patched.setattr(RootTransaction, "commit", commit)
        patched.setattr(PostgresDatabase, "write_sync", write_sync)
    else:
        assert not MODE, f"DRYSTONE_TEST_TWICE is {MODE}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that shows the summary what this one has found, if that is another (`-n`)."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["twice"] = dict(found)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what a process of `-n` has found."""
    del error
    found.update(getattr(node, "workeroutput", {}).get("twice", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which transactions differ when they are run again."""
    for what, count in sorted(found.items()):
        terminalreporter.write_line(f"twice: {count:6} {what}")


def undone_first(write: Callable[..., Any]) -> Callable[..., Any]:
    """Return a database's `write` that runs each transaction, undoes it, and runs it again."""

    def again(fn: Callable[[Connection], Any]) -> Any:
        def both(conn: Connection) -> Any:
            savepoint = conn.begin_nested()
            fn(conn)
            savepoint.rollback()
            return fn(conn)

        return write(both)

    return again


def _record(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a service's transaction records, without what gives it its time and ids."""
    code = getattr(fn, "__code__", None)
    if getattr(fn, "__module__", "") in {"drystone.service.transactions", "drystone.service.operations"} and code:
        for name, cell in zip(code.co_freevars, fn.__closure__ or (), strict=True):
            if name == "record":
                return _record(cell.cell_contents)
    return fn


def _name(fn: Callable[..., Any]) -> str:
    fn = _record(fn)
    inner = fn.func if isinstance(fn, functools.partial) else fn
    code = getattr(inner, "__code__", None)
    line = f":{code.co_firstlineno}" if code is not None else ""
    return f"{inner.__module__}{line} {getattr(inner, '__qualname__', inner)}"


def _writing_twice(write: Callable[..., Any]) -> Callable[..., Any]:
    def write_sync(self: Any, fn: Callable[[Connection], Any]) -> Any:
        record = _record(fn)
        inner = record.func if isinstance(record, functools.partial) else record
        # Those of the tests may count themselves, and a migration is made of statements that cannot be undone in part.
        if not inner.__module__.startswith("drystone.") or inner.__module__.startswith("drystone.catalog"):
            return write(self, fn)
        return write(self, functools.partial(_twice, fn=fn))

    return write_sync


def _twice(conn: Connection, fn: Callable[[Connection], Any]) -> Any:
    outside = _outside(_record(fn))
    before = {name: repr(value) for name, value in outside.items()}
    savepoint = conn.begin_nested()
    first: Any = None
    with _said(conn) as first_said:
        try:
            first = fn(conn)
        except Exception as error:  # noqa: BLE001 - it must be raised by the second run too
            first = type(error)
    savepoint.rollback()
    changed = [name for name, value in outside.items() if repr(value) != before[name]]
    with _said(conn) as second_said:
        second: Any
        try:
            second = result = fn(conn)
        except Exception as error:
            second = type(error)
            raise
        finally:
            _compare(fn, changed, first_said, second_said, first, second)
    return result


def _compare(
    fn: Callable[..., Any], changed: list[str], first_said: list[Any], second_said: list[Any], first: Any, second: Any
) -> None:
    name = _name(fn)
    if changed:
        found[f"{name} changes {', '.join(changed)}"] += 1
    if first_said != second_said:
        differing = next(
            (one for one, other in zip(first_said, second_said, strict=False) if one != other), "more statements"
        )
        found[f"{name} says other things: {str(differing)[:70]}"] += 1
    if repr(first) != repr(second):
        found[f"{name} returns another value"] += 1


def _outside(fn: Callable[..., Any]) -> dict[str, Any]:
    """Return the lists, sets and dictionaries that a function may change."""
    if isinstance(fn, functools.partial):
        given = {f"argument {place}": value for place, value in enumerate(fn.args)} | fn.keywords
        return {**_outside(fn.func), **{name: value for name, value in given.items() if _mutable(value)}}
    cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False) if hasattr(fn, "__code__") else ()
    outside = {}
    for name, cell in cells:
        with contextlib.suppress(ValueError):
            if _mutable(cell.cell_contents):
                outside[name] = cell.cell_contents
    return outside


def _mutable(value: Any) -> bool:
    return isinstance(value, list | set | dict)


@contextlib.contextmanager
def _said(conn: Connection) -> Iterator[list[Any]]:
    """Collect what is said to the database."""
    said: list[Any] = []

    def collect(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        plain = [bytes(value) if isinstance(value, memoryview) else value for value in values]
        said.append((statement, repr(plain)))

    event.listen(conn, "before_cursor_execute", collect)
    try:
        yield said
    finally:
        event.remove(conn, "before_cursor_execute", collect)
