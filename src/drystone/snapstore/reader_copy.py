"""The stand-alone reader that lies in every store, for the day when nothing else is left."""

import hashlib
from pathlib import Path

from drystone.objects import standalone_bucket
from drystone.objects.contract import NotFoundError
from drystone.snapstore import standalone_parts, standalone_seals
from drystone.snapstore.store import Store

NAME = "reader.py"
SOURCE = Path(__file__).with_name("standalone_reader.py")
PARTS = tuple(Path(str(part.__file__)) for part in (standalone_bucket, standalone_parts, standalone_seals))
"""In the order in which the source imports them."""


def reader() -> str:
    """Return the program in one file: in place of what it imports of Drystone stands that."""
    lines = SOURCE.read_text().splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.startswith("from drystone.")]
    future = "from __future__ import annotations\n"
    for at, part in zip(places, PARTS, strict=True):
        text = part.read_text()
        body = text[text.index(future) + len(future) :].splitlines(keepends=True)
        lines[at] = "".join(line for line in body if not line.startswith("from drystone."))
    return "".join(lines)


def reader_sha256() -> str:
    """Return what tells this version's program from any other."""
    return hashlib.sha256(reader().encode()).hexdigest()


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
