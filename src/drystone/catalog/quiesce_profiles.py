"""What to hold still before snapshots of a disk, or of the disks of an instance."""

from sqlalchemy import Connection, func, select

from drystone.catalog.rows import Rows
from drystone.catalog.schema import quiesce_profile
from drystone.domain.ids import AccountId
from drystone.domain.quiesce import QuiesceProfile

_rows = Rows(quiesce_profile, QuiesceProfile)

get = _rows.get
get_many = _rows.get_many
delete = _rows.delete


def put(conn: Connection, profile: QuiesceProfile) -> None:
    """Set the profile of its resource, in the place of one that it had."""
    _rows.delete(conn, profile.resource_id)
    _rows.insert(conn, profile)


def with_proofs(conn: Connection) -> list[QuiesceProfile]:
    """Return the profiles of all accounts that have snapshots opened by themselves, by resource."""
    wanted = select(quiesce_profile).where(quiesce_profile.c.prove_every_h.is_not(None))
    return _rows.all(conn, wanted.order_by(quiesce_profile.c.resource_id))


def find(conn: Connection, account_id: AccountId, *, offset: int, limit: int) -> tuple[list[QuiesceProfile], int]:
    """Return a page of an account's profiles, by resource, and the number of all."""
    wanted = quiesce_profile.c.account_id == account_id
    total: int = conn.execute(select(func.count()).select_from(quiesce_profile).where(wanted)).scalar_one()
    page = select(quiesce_profile).where(wanted).order_by(quiesce_profile.c.resource_id)
    return _rows.all(conn, page.offset(offset).limit(limit)), total
