"""How much of the trail is whose, and entries that stand for many refused calls."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_TEXTS = ("account_id", "secret_id", "action", "request_id", "resource", "code", "source")
_BYTES = " + ".join(f"length(CAST({name} AS BLOB))" for name in _TEXTS)


def upgrade() -> None:
    """Count the bytes of each entry, and keep sums by account."""
    op.add_column("audit", sa.Column("calls", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("audit", sa.Column("bytes", sa.Integer(), nullable=False, server_default="0"))
    op.execute(f"UPDATE audit SET bytes = 100 + {_BYTES}")  # noqa: S608 - constants of this file
    op.create_index("ix_audit_refused", "audit", ["account_id", "id"], sqlite_where=sa.text("code != 'OK'"))
    op.create_table(
        "audit_usage",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("refused_entries", sa.Integer(), nullable=False),
        sa.Column("refused_bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_audit_usage"),
    )
    op.execute(
        "INSERT INTO audit_usage (account_id, entries, bytes, refused_entries, refused_bytes) "
        "SELECT account_id, COUNT(*), SUM(bytes), SUM(code != 'OK'), SUM((code != 'OK') * bytes) "
        "FROM audit GROUP BY account_id"
    )
    op.execute(
        "CREATE TRIGGER audit_usage_insert AFTER INSERT ON audit BEGIN "
        "INSERT INTO audit_usage (account_id, entries, bytes, refused_entries, refused_bytes) "
        "VALUES (NEW.account_id, 1, NEW.bytes, NEW.code != 'OK', (NEW.code != 'OK') * NEW.bytes) "
        "ON CONFLICT (account_id) DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes, "
        "refused_entries = refused_entries + excluded.refused_entries, "
        "refused_bytes = refused_bytes + excluded.refused_bytes; END"
    )
    op.execute(
        "CREATE TRIGGER audit_usage_delete AFTER DELETE ON audit BEGIN "
        "UPDATE audit_usage SET entries = entries - 1, bytes = bytes - OLD.bytes, "
        "refused_entries = refused_entries - (OLD.code != 'OK'), "
        "refused_bytes = refused_bytes - (OLD.code != 'OK') * OLD.bytes WHERE account_id = OLD.account_id; END"
    )
