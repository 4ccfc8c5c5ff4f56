"""Opens what is on the clone, and says what it saw: a line for each step, then `end`, on a channel that only talks.

It is the machine's first process. When it has said `end` the host takes the machine away.
"""

import functools
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from drystone.prove.guest import databases, files
from drystone.prove.guest.databases import PLACES, Place
from drystone.prove.guest.trial import Owner, Trials, not_proven
from drystone.prove.guest.volumes import Volume, load, logical_volumes, partitions
from drystone.prove.wire import END, HELLO, WORKING, WORKING_SECONDS, encode_step

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SWAP, LVM = "swap", "LVM2_member"
UNKNOWN = "what cannot be told"
DISKS = ("vda", "vdb")
ENDED_FIELDS = (3, 7, 14, 18)
"""Of a line of `/proc/diskstats`: reads, writes, discards and flushes that have ended."""
OPENERS: dict[str, Callable[[Trials, Path, Owner], str]] = {
    "mariadb": databases.open_mariadb,
    "postgresql": databases.open_postgresql,
}


def main() -> None:
    """Do what the kernel's command line asks for; never return."""
    channel = _channel()
    os.write(channel, HELLO)
    try:
        asked = dict(re.findall(r"drystone\.(\w+)=(\S*)", Path("/proc/cmdline").read_text()))
        user = Path("/etc/passwd").read_text().rpartition("prover:x:")[2].split(":")[0]
        trials = Trials(float(asked["seconds"]), PATH, lambda step: _say(channel, encode_step(step)))
        threading.Thread(target=_tell_of_work, args=(channel,), daemon=True).start()
        Prover(trials, asked, Owner(int(user), int(user))).run()
        _say(channel, END)
    except BaseException:  # noqa: BLE001 - the console is the only place left to say it; the host hears the last line
        traceback.print_exc()
        sys.stderr.flush()
    while True:
        signal.pause()


def _channel() -> int:
    (name,) = Path("/sys/class/virtio-ports").glob("*/name")
    return os.open(f"/dev/{name.parent.name}", os.O_WRONLY | os.O_CLOEXEC)


_SPEAKING = threading.Lock()


def _say(channel: int, line: bytes) -> None:
    with _SPEAKING:
        while line:
            line = line[os.write(channel, line) :]


def _tell_of_work(channel: int) -> None:
    """Say now and then that something was read or written, so that a long step is not taken for one that hangs."""
    before = ended_requests(Path("/proc/diskstats").read_text())
    while True:
        time.sleep(WORKING_SECONDS)
        now = ended_requests(Path("/proc/diskstats").read_text())
        if now != before:
            _say(channel, WORKING)
        before = now


def ended_requests(statistics: str) -> int:
    """Return how many requests the machine's two disks have answered: one that is under way may be for ever.

    Source: linux/Documentation/admin-guide/iostats.rst.
    """
    lines = [line.split() for line in statistics.splitlines()]
    return sum(int(words[at]) for words in lines if words[2] in DISKS for at in ENDED_FIELDS)


class Prover:
    """Goes through the volumes, then the databases on them."""

    def __init__(self, trials: Trials, asked: Mapping[str, str], owner: Owner) -> None:
        self._trials = trials
        self._kinds = [kind for kind in asked.get("databases", "").split(",") if kind]
        self._owner = owner
        self._roots: list[Path] = []
        self._count = 0

    def run(self) -> None:
        """Do everything; each step is told when it has ended."""
        volumes: list[Volume] = []
        if not self._trials.step("partitions", lambda: _found(volumes, partitions())):
            return
        kinds = [self._volume(volume) for volume in volumes]
        if LVM in kinds:
            logical: list[Volume] = []
            self._trials.step("logical volumes", lambda: _found(logical, logical_volumes(self._trials)))
            volumes += logical
            kinds += [self._volume(volume) for volume in logical]
        if not set(kinds) - {"", SWAP, LVM}:
            self._trials.step("content", _nothing_known)
            volumes = []
        for volume, kind in zip(volumes, kinds, strict=False):
            # A file system beside it that opens says nothing of what may have been one.
            if kind == "" and not files.is_blank(volume.device):
                self._trials.step(f"{volume.title}: content", _not_recognised)
        for kind in self._kinds:
            self._databases(PLACES[kind])

    def _volume(self, volume: Volume) -> str:
        """Open one volume; return what was found on it, empty if that is nothing known."""
        trials, device, title = self._trials, volume.device, volume.title
        found: list[str] = []

        def look() -> str:
            found.append(files.look(trials, device))
            return found[0] or "nothing known is on it"

        if not trials.step(f"{title}: look", look):
            return UNKNOWN
        (kind,) = found
        if kind in {"", SWAP, LVM}:
            return kind
        if kind not in files.OPTIONS:
            trials.step(f"{title}: {kind}", lambda: _unknown(kind))
            return kind
        load("ext4" if kind in files.EXT else kind)
        where = Path("/disk") / str(self._count)
        self._count += 1

        def replay() -> str:
            files.mount(trials, device, kind, where)
            files.unmount(trials, where)
            return "mounted on the clone and unmounted"

        # A checker that changes nothing calls a journal that was not replayed an error.
        replayed = trials.step(f"{title}: replay the journal of {kind}", replay)
        checked = trials.step(f"{title}: check {kind}", lambda: files.check(trials, device, kind))
        if replayed and checked:
            mounted = trials.step(f"{title}: mount", lambda: files.mount(trials, device, kind, where))
            self._roots += [where] if mounted else []
        return kind

    def _databases(self, place: Place) -> None:
        found = [(root, directory) for root in self._roots for directory in databases.find(root, place)]
        if not found:
            self._trials.step(place.title, lambda: _missing(place))
        for root, directory in found:
            title = f"{place.title} in /{directory.relative_to(root)}"
            opener = OPENERS[place.kind]
            self._trials.step(title, functools.partial(opener, self._trials, directory, self._owner))


def _found(volumes: list[Volume], found: list[Volume]) -> str:
    volumes += found
    return ", ".join(volume.title for volume in found)


def _nothing_known() -> str:
    raise not_proven("there is no file system that is known here, nor a table of partitions")


def _not_recognised() -> str:
    raise not_proven("something is on it, which is not known here")


def _unknown(kind: str) -> str:
    raise not_proven(f"what is inside of {kind} is not looked at")


def _missing(place: Place) -> str:
    raise not_proven(f"the profile names it, and no data directory ({', '.join(place.marks)}) was found")
