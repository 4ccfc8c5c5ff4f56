"""What the database keeps by itself as rows change: sums, notes of what is not published yet, the epoch.

Triggers and not code, so that no way of changing rows can forget them, nor need read the rows that one statement
changes. They are described once, for both databases, and made anew after every migration: a migration need not know
them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Statements to run after each change of a row of a table; OLD and NEW are the row before and after."""

    name: str
    table: str
    event: str
    body: str
    when: str = "1 = 1"


_USAGE = """
UPDATE account_usage SET
    snapshots = snapshots {sign} CASE WHEN {row}.state IN ('CREATING', 'NORMAL') THEN 1 ELSE 0 END,
    normal_snapshots = normal_snapshots {sign} CASE WHEN {row}.state = 'NORMAL' THEN 1 ELSE 0 END,
    stored_bytes = stored_bytes {sign} CASE WHEN {row}.state = 'NORMAL' THEN {row}.stored_bytes ELSE 0 END
WHERE account_id = {row}.account_id AND {row}.backup_id IS NULL;
"""
"""What a snapshot adds to its account: nothing unless clients see it as one; bytes only when it is NORMAL."""
_SAVINGS = """
UPDATE account_savings SET
    size_gib = size_gib {sign} {row}.size_gib,
    changed_bytes = changed_bytes {sign} {changed}
WHERE account_id = {row}.account_id AND {row}.state = 'NORMAL' AND {row}.backup_id IS NULL;
"""
_HELD = """
INSERT INTO holding (owner_id, bytes) SELECT NEW.{owner}, NEW.bytes - NEW.dead_bytes WHERE NEW.{owner} IS NOT NULL
ON CONFLICT (owner_id) DO UPDATE SET bytes = holding.bytes + excluded.bytes;
"""
_LET_GO = "UPDATE holding SET bytes = bytes - (OLD.bytes - OLD.dead_bytes) WHERE owner_id = OLD.{owner};"
_REFUSED = "CASE WHEN {row}.code <> 'OK' THEN {count} ELSE 0 END"
_AUDITED = """
INSERT INTO audit_usage (account_id, entries, bytes, refused_entries, refused_bytes)
VALUES (NEW.account_id, 1, NEW.bytes, {entries}, {bytes})
ON CONFLICT (account_id) DO UPDATE SET
    entries = audit_usage.entries + excluded.entries, bytes = audit_usage.bytes + excluded.bytes,
    refused_entries = audit_usage.refused_entries + excluded.refused_entries,
    refused_bytes = audit_usage.refused_bytes + excluded.refused_bytes;
""".format(entries=_REFUSED.format(row="NEW", count="1"), bytes=_REFUSED.format(row="NEW", count="NEW.bytes"))
_PRUNED = """
UPDATE audit_usage SET
    entries = entries - 1, bytes = bytes - OLD.bytes,
    refused_entries = refused_entries - {entries}, refused_bytes = refused_bytes - {bytes}
WHERE account_id = OLD.account_id;
""".format(entries=_REFUSED.format(row="OLD", count="1"), bytes=_REFUSED.format(row="OLD", count="OLD.bytes"))
_NOTE = """
DELETE FROM unpublished WHERE kind = '{kind}' AND resource_id = {of};
INSERT INTO unpublished (kind, resource_id) VALUES ('{kind}', {of});
"""
"""A further change of a row is a note with another id: whoever publishes the one before does not remove it."""
_OF_DISK = "EXISTS (SELECT 1 FROM disk WHERE id = {row}.resource_id)"
_NOTE_MEMBERS = """
DELETE FROM unpublished WHERE kind = 'snapshot'
    AND resource_id IN (SELECT id FROM snapshot WHERE group_id = NEW.id AND state = 'NORMAL');
INSERT INTO unpublished (kind, resource_id)
    SELECT 'snapshot', id FROM snapshot WHERE group_id = NEW.id AND state = 'NORMAL';
"""
STEPS_MAX = 100
"""Of one operation; the newest stay."""
_STEP = """
INSERT INTO operation_step (operation_id, at, phase, state, attempts, error)
VALUES (NEW.id, NEW.updated_at, NEW.phase, NEW.state, NEW.attempts, NEW.error);
"""
_STEPS_KEPT = f"""
DELETE FROM operation_step WHERE operation_id = NEW.id AND id <= (
    SELECT id FROM operation_step WHERE operation_id = NEW.id ORDER BY id DESC LIMIT 1 OFFSET {STEPS_MAX});
"""  # noqa: S608 - a number of this file
_STEPPED = (
    "OLD.phase <> NEW.phase OR OLD.state <> NEW.state OR OLD.attempts <> NEW.attempts "
    "OR (NEW.error <> '' AND OLD.error <> NEW.error)"
)
_EPOCH = "UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE key = 'catalog_epoch';"
_SNAPSHOT = "name, deadline_at, permanent, tags, suspect, backup_id"
_DISK = (
    "name, size_gib, type, charge_type, project_id, portable, delete_with_instance, delete_snapshot, "
    "throughput_performance, burst_performance, tags"
)


def _sums(name: str, table: str, columns: str, plus: str, minus: str) -> Iterator[Trigger]:
    """Yield the triggers of sums over a table: what a row adds comes and goes with it."""
    yield Trigger(name=f"{name}_insert", table=table, event="INSERT", body=plus)
    yield Trigger(name=f"{name}_delete", table=table, event="DELETE", body=minus)
    yield Trigger(name=f"{name}_update", table=table, event=f"UPDATE OF {columns}", body=minus + plus)


def _all(changed_bytes: dict[str, str]) -> Iterator[Trigger]:
    """Yield all triggers; `changed_bytes` is the SQL of that number of the record of OLD and of NEW."""
    yield Trigger(
        name="account_usage_begins", table="account", event="INSERT",
        body="INSERT INTO account_usage (account_id, snapshots, normal_snapshots, stored_bytes) "
        "VALUES (NEW.id, 0, 0, 0);",
    )  # fmt: skip
    yield from _sums(
        "account_usage", "snapshot", "state, stored_bytes, account_id, backup_id",
        plus=_USAGE.format(sign="+", row="NEW"), minus=_USAGE.format(sign="-", row="OLD"),
    )  # fmt: skip
    yield Trigger(
        name="account_savings_begins", table="account", event="INSERT",
        body="INSERT INTO account_savings (account_id, size_gib, changed_bytes) VALUES (NEW.id, 0, 0);",
    )  # fmt: skip
    yield from _sums(
        "account_savings", "snapshot", "state, size_gib, record, account_id, backup_id",
        plus=_SAVINGS.format(sign="+", row="NEW", changed=changed_bytes["NEW"]),
        minus=_SAVINGS.format(sign="-", row="OLD", changed=changed_bytes["OLD"]),
    )  # fmt: skip
    yield from _sums(
        "holding", "pack", "bytes, dead_bytes, disk_id, account_id",
        plus="".join(_HELD.format(owner=owner) for owner in ("disk_id", "account_id")),
        minus="".join(_LET_GO.format(owner=owner) for owner in ("disk_id", "account_id")),
    )  # fmt: skip
    yield Trigger(name="audit_usage_insert", table="audit", event="INSERT", body=_AUDITED)
    yield Trigger(name="audit_usage_delete", table="audit", event="DELETE", body=_PRUNED)
    note = _NOTE.format(kind="snapshot", of="NEW.id")
    yield Trigger(
        name="unpublished_snapshot_normal", table="snapshot", event="UPDATE OF state", body=note,
        when="NEW.state = 'NORMAL' AND OLD.state = 'CREATING'",
    )  # fmt: skip
    yield Trigger(
        name="unpublished_snapshot", table="snapshot", event=f"UPDATE OF {_SNAPSHOT}", body=note,
        when="NEW.state = 'NORMAL'",
    )  # fmt: skip
    note = _NOTE.format(kind="disk", of="NEW.id")
    yield Trigger(name="unpublished_disk", table="disk", event=f"UPDATE OF {_DISK}", body=note)
    note = _NOTE.format(kind="account", of="NEW.id")
    yield Trigger(name="unpublished_account", table="account", event="INSERT", body=note)
    yield Trigger(
        name="unpublished_group", table="snapshot_group", event="UPDATE OF name, tags, state, pause_ms, taken_at",
        when="NEW.state = 'NORMAL'", body=_NOTE_MEMBERS,
    )  # fmt: skip
    for name, event, row in (("set", "INSERT", "NEW"), ("removed", "DELETE", "OLD")):
        yield Trigger(
            name=f"unpublished_quiesce_{name}", table="quiesce_profile", event=event,
            when=_OF_DISK.format(row=row),
            body=_NOTE.format(kind="disk", of=f"{row}.resource_id"),
        )  # fmt: skip
    yield Trigger(name="operation_step_first", table="operation", event="INSERT", body=_STEP)
    yield Trigger(
        name="operation_step_next", table="operation", event="UPDATE OF phase, state, attempts, error",
        body=_STEP + _STEPS_KEPT, when=_STEPPED,
    )  # fmt: skip
    yield Trigger(
        name="operation_steps_gone", table="operation", event="DELETE",
        body="DELETE FROM operation_step WHERE operation_id = OLD.id;",
    )  # fmt: skip
    for name, event, when in (
        ("gone", "DELETE", "1 = 1"), ("going", "UPDATE OF state", "NEW.state = 'TERMINATING'"),
    ):  # fmt: skip
        yield Trigger(
            name=f"unbound_disk_{name}", table="disk", event=event, when=when,
            body="DELETE FROM policy_disk WHERE disk_id = OLD.id;",
        )  # fmt: skip
    # Each change that an older copy of the catalog would undo: the server publishes the epoch (S80).
    for name, event, table in (
        ("epoch_disk_made", "INSERT", "disk"),
        ("epoch_disk_gone", "DELETE", "disk"),
        ("epoch_disk_resized", "UPDATE OF size_gib", "disk"),
        ("epoch_snapshot_kept", "UPDATE OF deadline_at, permanent", "snapshot"),
    ):
        yield Trigger(name=name, table=table, event=event, body=_EPOCH)


def renew(conn: Connection) -> None:
    """Put these triggers in the place of all that are there."""
    dialect.drop_triggers(conn)
    name = conn.dialect.name
    changed = {row: dialect.json_number(name, f"{row}.record", "changed_bytes") for row in ("OLD", "NEW")}
    for one in _all(changed):
        for statement in dialect.trigger(
            name, name=one.name, table=one.table, event=one.event, when=one.when, body=one.body
        ):
            conn.exec_driver_sql(statement)
