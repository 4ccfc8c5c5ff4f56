"""A snapshot as an image file, or on standard output."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.lookup import SNAPSHOT
from drystone.cli.session import Session
from drystone.cli.wait import wait_for_operation

STANDARD_OUTPUT: Final = Path("-")
COPY_BYTES: Final = 1 << 20
Format = Literal["qcow2", "raw"]


def _no_option(_kind: object, file: Path) -> None:
    if str(file).startswith("-") and file != STANDARD_OUTPUT:
        raise ValueError(f"{file} is no option, and as a file write ./{file}")


Target = Annotated[Path, Parameter(allow_leading_hyphen=True, validator=_no_option)]
"""A file, or `-`."""


def begin_export(session: Session, snapshot: str, path: str, image: Format | None) -> str:
    """Have the server write a snapshot into a new file of its host; return the operation that does."""
    answer = session.service.drystone(
        f"export {snapshot}", "ExportSnapshot", SnapshotId=snapshot, Path=path, Format=image
    )
    return str(answer["OperationId"])


def to_standard_output(session: Session, snapshot: str, image: Format | None, *, timeout_s: float) -> None:
    """Print a snapshot as an image, raw if no other form is asked for.

    An image is not made from the first to the last byte: the server writes a sparse file into a directory for temporary
    files, which is printed and removed. So server and command are on one machine.

    Raises:
        CliError: It would go to a terminal, or the export failed. What was begun is cancelled.
    """
    if sys.stdout.isatty():
        raise CliError(Exit.USAGE, "an image is nothing for a terminal: add `> FILE`, or `| zstd > FILE.zst`")
    with tempfile.TemporaryDirectory(prefix="drystone-export-") as directory:
        path = Path(directory) / f"{snapshot}.{image or 'raw'}"
        operation = begin_export(session, snapshot, str(path), image)
        try:
            wait_for_operation(session, operation, title=f"export of {snapshot}", timeout_s=timeout_s)
        except CliError:
            # Nobody is left to read what it would write.
            if lookup.one(session, lookup.OPERATION, operation)["state"] == "RUNNING":
                session.service.drystone(f"cancel {operation}", "CancelOperation", OperationId=operation)
            raise
        say_if_encrypted(session, snapshot, "what is printed")
        with path.open("rb") as made:
            shutil.copyfileobj(made, sys.stdout.buffer, COPY_BYTES)
        sys.stdout.buffer.flush()


def say_if_encrypted(session: Session, snapshot: str, what: str) -> None:
    """Say that a copy is not encrypted although the snapshot is."""
    if lookup.one(session, SNAPSHOT, snapshot)["encrypted"]:
        session.out.say(f"{snapshot} is encrypted; {what} is plain")
