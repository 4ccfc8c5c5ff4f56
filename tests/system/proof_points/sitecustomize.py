"""Kills a server, or what one of its proofs has running, at a chosen step of a proof.

On PYTHONPATH of a server under test; the program itself knows nothing of it. In the directory that `PROOF_POINTS` names
`passed` gets a line for each step that the proof begins or has ended: its name, and the how manyth it is. `cuts` has a
line for each cut to come, a victim and such a step; the first is the next cut, and goes when it is made, before the
step is noted. `killed` gets the victims.
"""

import contextvars
import functools
import importlib
import inspect
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

STEPS = (
    # Tidying up, before, after, and at a start.
    "drystone.engine.throwaway:remove_clone", "drystone.engine.process:Detached.end",
    # The clone.
    "drystone.service.host.snapshot_server:SnapshotServer.serving", "drystone.engine.volume:Qcow2Volume.create",
    "drystone.engine.volume:Qcow2Volume._settle",
    "drystone.engine.process:_spawn", "os:posix_spawn", "drystone.engine.daemon:Daemon.start",
    "drystone.engine.live_disk:LiveDisk.open", "drystone.engine.live_disk:LiveDisk.export_nbd",
    # What the machine is started from.
    "drystone.prove.programs:_run", "drystone.prove.programs:_pack", "drystone.prove.programs:_fill", "os:fsync",
    "drystone.prove.appliance:initramfs",
    # The machine, and what it says.
    "asyncio:create_subprocess_exec", "drystone.prove.prover:_Conversation._line", "os:killpg",
    # What was found.
    "drystone.engine.daemon:Daemon.alive", "drystone.engine.daemon:Daemon.disconnect",
    "drystone.catalog.proofs:put", "drystone.service.jobs.prove:Prove._record",
)  # fmt: skip
ON_THREADS_OF_THEIR_OWN = ("put", "Prove._record")
WITHIN = ("drystone.service.jobs.prove:Prove.run", "drystone.engine.throwaway:remove_clones")
"""Only what these do is of a proof."""

_place = Path(os.environ["PROOF_POINTS"])
_within = contextvars.ContextVar("within", default=False)
_seen: Counter[str] = Counter()
_lock = threading.Lock()


def _pass(name: str) -> None:
    if not _within.get() and name.partition(" ")[2] not in ON_THREADS_OF_THEIR_OWN:
        return
    with _lock:
        _seen[name] += 1
        step = f"{name} {_seen[name]}"
        cuts = (_place / "cuts").read_text().splitlines()
        if cuts and cuts[0].partition(" ")[2] == step:
            (_place / "cuts").write_text("".join(f"{line}\n" for line in cuts[1:]))
            _kill(cuts[0].partition(" ")[0])
        with (_place / "passed").open("a") as file:
            file.write(f"{step}\n")


def _kill(victim: str) -> None:
    for pid in [os.getpid()] if victim == "server" else _running(victim):
        with (_place / "killed").open("a") as file:
            file.write(f"{victim}\n")
        os.kill(pid, signal.SIGKILL)
        while _runs(pid):
            time.sleep(0.001)


def _running(victim: str) -> list[int]:
    marks = {"machine": (b"drystone.seconds",), "daemon": (b"/proof-", b"--nbd-server")}[victim]
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        own = parent == os.getpid() if victim == "machine" else str(_place.parent).encode() in line + environment
        if all(mark in line for mark in marks) and own and _runs(int(entry.name)):
            found.append(int(entry.name))
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wrapped(target: Any, name: str) -> Any:
    if inspect.iscoroutinefunction(target):

        @functools.wraps(target)
        async def call(*arguments: Any, **named: Any) -> Any:
            _pass(f"before {name}")
            result = await target(*arguments, **named)
            _pass(f"after {name}")
            return result

        return call

    @functools.wraps(target)
    def plain(*arguments: Any, **named: Any) -> Any:
        _pass(f"before {name}")
        result = target(*arguments, **named)
        _pass(f"after {name}")
        return result

    return plain


def _entered(target: Any, _name: str) -> Any:
    @functools.wraps(target)
    async def call(*arguments: Any, **named: Any) -> Any:
        token = _within.set(True)
        _seen.clear()
        (_place / "passed").write_text("")
        try:
            return await target(*arguments, **named)
        finally:
            _within.reset(token)

    return call


def _replace(path: str, wrap: Any) -> None:
    module, _, words = path.partition(":")
    owner: Any = importlib.import_module(module)
    *between, name = words.split(".")
    for word in between:
        owner = getattr(owner, word)
    kept = inspect.getattr_static(owner, name)
    if isinstance(kept, classmethod):
        setattr(owner, name, classmethod(wrap(kept.__func__, words)))
    else:
        setattr(owner, name, wrap(kept, words))


if "serve" in sys.orig_argv:
    for each in STEPS:
        _replace(each, _wrapped)
    for each in WITHIN:
        _replace(each, _entered)
