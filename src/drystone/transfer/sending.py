"""What an upload left in the spool, into the store."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drystone.objects.spooling import SpooledObject, send
from drystone.snapstore.puts import Puts
from drystone.snapstore.store import Store
from drystone.transfer.jobs import SendJob, SendResult


def send_spooled(job: SendJob, store: Store, report: Callable[[int, int], None]) -> SendResult:
    """Send all: several packs at once, and the maps that name them when all of these are there (I1, S230).

    Raises:
        IntegrityError: Something in the spool is not what was written.
        DrystoneError: It could not be done now; the same job may be done again.
    """
    total_bytes, sent_bytes = sum(one.bytes for one in job.objects), 0
    counting = threading.Lock()

    def sent(one: SpooledObject) -> None:
        nonlocal sent_bytes
        send(Path(job.directory), one, store.objects)
        with counting:
            sent_bytes += one.bytes

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
    return SendResult(sent_bytes=sent_bytes)
