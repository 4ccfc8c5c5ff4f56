"""What an upload has left in the spool, into the store: some of it while more is written, the rest by a job."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from drystone.domain.errors import DrystoneError
from drystone.objects.contract import ObjectStore
from drystone.objects.spooling import SpooledObject, Spooling, send
from drystone.snapstore.puts import Puts
from drystone.snapstore.store import Store
from drystone.transfer.jobs import SendJob, SendResult

LOOK_S: Final = 0.02
PATIENCE_S: Final = 1.0
"""How long a frozen view is kept for what is on its way when all has been written."""
log = structlog.get_logger(__name__)


@contextmanager
def sent_ahead(spooling: Spooling, objects: ObjectStore) -> Iterator[None]:
    """Send packs while more are written: over a quick link little is left to be sent when the frozen view goes (S270).

    What has arrived is in `spooling.spooled` no more. What is still on its way at the end stays there, is sent again by
    whoever sends the rest, and may arrive late (S209). An error only ends the sending: the rest will meet it, too.
    """
    ended, left = threading.Event(), threading.Event()
    puts = Puts[None](far=True)
    begun: set[str] = set()

    def one_sent(one: SpooledObject) -> None:
        send(Path(spooling.place.directory), one, objects)
        spooling.spooled.remove(one)

    def send_packs() -> None:
        for one in [*spooling.spooled]:
            if spooling.apart(one.name) and one.name not in begun and not left.is_set():
                begun.add(one.name)
                puts.begin(partial(one_sent, one))

    def go_on() -> None:
        try:
            while not ended.wait(LOOK_S):
                send_packs()
            send_packs()
            puts.finish()
            # Every pack that a map names has arrived (I1).
            for one in [*spooling.spooled]:
                if not left.is_set():
                    one_sent(one)
        except DrystoneError as error:
            log.warning("sending.ended", error=str(error))
        finally:
            puts.leave()

    sender = threading.Thread(target=go_on, name="sender", daemon=True)
    sender.start()
    try:
        yield
    except BaseException:
        left.set()  # What was written is garbage.
        raise
    finally:
        ended.set()
        sender.join(PATIENCE_S)
        left.set()


def send_spooled(job: SendJob, store: Store, report: Callable[[int, int], None]) -> SendResult:
    """Send all: several packs at once, and the maps that name them when all of these are there (I1, S230).

    Raises:
        IntegrityError: Something in the spool is not what was written.
        DrystoneError: It could not be done now; the same job may be done again.
    """
    total_bytes, sent_bytes = sum(one.bytes for one in job.objects), 0
    counting = threading.Lock()
    versions: dict[str, str] = {}

    def sent(one: SpooledObject) -> None:
        nonlocal sent_bytes
        version = send(Path(job.directory), one, store.objects)
        with counting:
            sent_bytes += one.bytes
            if version is not None:
                versions[one.name] = version

    puts = Puts[None](far=store.far is not None)
    try:
        for one in job.objects:
            if not store.is_pack(one.name):
                puts.finish()
            puts.begin(partial(sent, one))
            report(sent_bytes, total_bytes)
        puts.finish()
    finally:
        puts.end()
    report(sent_bytes, total_bytes)
    return SendResult(sent_bytes=sent_bytes, versions=versions)
