"""The stand-alone reader that lies in every store, for the day when nothing else is left."""

from pathlib import Path

from drystone.objects import standalone_bucket
from drystone.objects.contract import NotFoundError
from drystone.snapstore.store import Store

NAME = "reader.py"
SOURCE = Path(__file__).with_name("standalone_reader.py")
BUCKET = Path(standalone_bucket.__file__)


def reader() -> str:
    """Return the program in one file: in place of what it imports of Drystone stands that."""
    lines = SOURCE.read_text().splitlines(keepends=True)
    (at,) = (number for number, line in enumerate(lines) if line.startswith("from drystone."))
    bucket = BUCKET.read_text()
    future = "from __future__ import annotations\n"
    lines[at] = bucket[bucket.index(future) + len(future) :]
    return "".join(lines)


def keep_reader(store: Store) -> bool:
    """Have the store hold this version's stand-alone reader; durable on return.

    Returns:
        Whether it had to be written.

    Raises:
        UnavailableError, SpaceError: It could not be read or written; the store is as it was.
    """
    if store.seals is not None:
        # Who can write to the bucket would have his own program run beside the keys.
        return False
    wanted = reader().encode()
    name = store.name(NAME)
    try:
        if store.objects.get(name) == wanted:
            return False
    except NotFoundError:
        pass
    store.objects.replace(name, wanted)
    return True
