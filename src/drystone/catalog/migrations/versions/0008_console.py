"""Passwords, browser sessions, and figures over time."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_CHANGED = "COALESCE(json_extract({row}.record, '$.changed_bytes'), 0)"
_MOVE = """
UPDATE account_savings SET
size_gib = size_gib {sign} {row}.size_gib,
changed_bytes = changed_bytes {sign} {changed}
WHERE account_id = {row}.account_id AND {row}.state = 'NORMAL';
"""
_PLUS = _MOVE.format(sign="+", row="NEW", changed=_CHANGED.format(row="NEW"))
_MINUS = _MOVE.format(sign="-", row="OLD", changed=_CHANGED.format(row="OLD"))


def upgrade() -> None:
    """Make the tables, and the triggers that keep `account_savings`."""
    op.create_table(
        "password",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("hashed", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_password_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_password"),
    )
    op.create_table(
        "browser_session",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_browser_session_account_id"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_browser_session"),
    )
    op.create_index("ix_browser_session_account", "browser_session", ["account_id", "created_at"])
    op.create_index("ix_browser_session_used", "browser_session", ["used_at"])
    op.create_table(
        "history_point",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("disks", sa.Integer(), nullable=False),
        sa.Column("disks_bytes", sa.Integer(), nullable=False),
        sa.Column("snapshots", sa.Integer(), nullable=False),
        sa.Column("stored_bytes", sa.Integer(), nullable=False),
        sa.Column("logical_bytes", sa.Integer(), nullable=False),
        sa.Column("changed_bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "at", name="pk_history_point"),
    )
    op.create_index("ix_history_point_at", "history_point", ["at"])
    op.create_table(
        "account_savings",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("changed_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_account_savings_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_account_savings"),
    )
    op.create_index(
        "ix_snapshot_doubtful", "snapshot", ["account_id", "created_at"], sqlite_where=sa.text("(suspect OR damaged)")
    )
    op.execute(
        "INSERT INTO account_savings (account_id, size_gib, changed_bytes) "  # noqa: S608 - constants of this file
        "SELECT account.id, COALESCE(SUM(snapshot.size_gib), 0), "
        f"COALESCE(SUM({_CHANGED.format(row='snapshot')}), 0) "
        "FROM account LEFT JOIN snapshot ON snapshot.account_id = account.id AND snapshot.state = 'NORMAL' "
        "GROUP BY account.id"
    )
    op.execute(
        "CREATE TRIGGER account_savings_begins AFTER INSERT ON account BEGIN "
        "INSERT INTO account_savings (account_id, size_gib, changed_bytes) VALUES (NEW.id, 0, 0); END"
    )
    op.execute(f"CREATE TRIGGER account_savings_insert AFTER INSERT ON snapshot BEGIN {_PLUS} END")
    op.execute(f"CREATE TRIGGER account_savings_delete AFTER DELETE ON snapshot BEGIN {_MINUS} END")
    op.execute(
        "CREATE TRIGGER account_savings_update AFTER UPDATE OF state, size_gib, record, account_id ON snapshot "
        f"BEGIN {_MINUS} {_PLUS} END"
    )
