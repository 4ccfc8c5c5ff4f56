"""`python -m drystone.quiesce.watchdog`: holds what a plan says, and lets go of it whatever dies (S42).

Two processes. The *freezer* (the child) does the steps in order and, when told to, undoes them in reverse. The
*watchdog* (the parent) tells it so when Drystone says so, when Drystone has gone, or when the time is up; and if the
freezer hangs or has died, it ends it, which ends the sessions that hold locks, and thaws the rest itself. If the
watchdog dies, the freezer sees its pipe end and undoes everything. Only if both are killed at once does anything stay
frozen; the kernel is told to spare them.

Standard input: a line with the plan, later `thaw`. Its end means that Drystone has died. Standard output: events.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from drystone.domain.quiesce import StepKind
from drystone.quiesce.actions import Action, action_of
from drystone.quiesce.guest_agent import GuestAgent, Libvirt
from drystone.quiesce.plan import (
    LINE_BYTES_MAX,
    THAW,
    Event,
    Plan,
    decode_event,
    decode_plan,
    encode_event,
)
from drystone.quiesce.program import StepError

UNDO_SECONDS_MAX = 3.0
"""How long the freezer is given to undo its steps before the watchdog does it."""
LATE_SECONDS_MAX = 3600.0
"""How long a guest is told to thaw that does not answer: a freeze that it began may end as late as that."""
LATE_PAUSE_S = 1.0
OOM_SCORE = -1000
PR_SET_CHILD_SUBREAPER = 36
"""Source: linux/include/uapi/linux/prctl.h."""
DEATH_SECONDS = 0.5


def main() -> int:
    """Run one plan."""
    # Whoever ends Drystone's process group means Drystone, not the one who cleans up after it.
    with contextlib.suppress(OSError):
        os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # What the freezer leaves behind becomes ours, to be ended.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    plan = decode_plan(_read_line(0))
    actions = [_prepared(plan, index) for index in range(len(plan.steps))]
    to_freezer, freezer_end = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(to_freezer[1])
        os.close(freezer_end[0])
        os.close(0)
        _freezer(plan, actions, commands=to_freezer[0], events=freezer_end[1])
    os.close(to_freezer[0])
    os.close(freezer_end[1])
    return Watchdog(plan, actions, child, commands=to_freezer[1], events=freezer_end[0]).run()


def _prepared(plan: Plan, index: int) -> Action | str:
    try:
        return action_of(plan.steps[index], plan)
    except StepError as error:
        return str(error)


def _read_line(descriptor: int) -> bytes:
    """Read the plan byte for byte: what follows it belongs to the loop."""
    line = b""
    while not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
        part = os.read(descriptor, 1)
        if not part:
            break
        line += part
    return line


def _say(descriptor: int, event: Event) -> None:
    """Write an event; that nobody reads it any more changes nothing."""
    with contextlib.suppress(OSError):
        os.write(descriptor, encode_event(event))


# --- the freezer ----------------------------------------------------------------------------------------------------


def _freezer(plan: Plan, actions: Sequence[Action | str], *, commands: int, events: int) -> NoReturn:
    """Do the steps, wait for a command or for the watchdog's end, undo them."""
    code = 1
    try:
        done: list[int] = []
        for index, action in enumerate(actions):
            if _ready(commands):
                break  # The time was up, or the watchdog has died, while the last step was done.
            done.append(index)
            if not _do(action, "freeze", index, events) and plan.stop_at_failure:
                break
        _say(events, Event(name="held"))
        os.read(commands, len(THAW))
        for index in reversed(done):
            _do(actions[index], "thaw", index, events)
        code = 0
    finally:
        os._exit(code)


def _ready(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


def _do(action: Action | str, name: str, index: int, events: int) -> bool:
    began = time.monotonic()
    ok, detail = True, ""
    try:
        if isinstance(action, str):
            raise StepError(action)  # noqa: TRY301 - a step that was refused beforehand fails in its turn
        detail = action.freeze() if name == "freeze" else action.thaw()
    except StepError as error:
        if isinstance(action, str) and name == "thaw":
            return True
        ok, detail = False, str(error)
    ms = round((time.monotonic() - began) * 1000, 3)
    _say(events, Event(name=name, step=index, ok=ok, ms=ms, detail=detail))
    return ok


# --- the watchdog ---------------------------------------------------------------------------------------------------


class Watchdog:
    """The parent. It never does anything that can hang before the freezer has been given up."""

    def __init__(self, plan: Plan, actions: Sequence[Action | str], child: int, *, commands: int, events: int) -> None:
        self._plan = plan
        self._actions = actions
        self._child = child
        self._commands = commands
        self._events = events
        self._began = time.monotonic()
        self._frozen: set[int] = set()
        self._thawed: set[int] = set()
        self._failed = False
        self._completed = False
        """The freezer undid everything itself: until then it lived, and so did the sessions that it held."""
        self._asked = False
        """Drystone asked for the thaw while everything was held."""

    def run(self) -> int:
        """Relay events until it is over; return the exit code."""
        self._wait_for_thaw()
        self._undo()
        held_ms = round((time.monotonic() - self._began) * 1000, 3)
        _say(1, Event(name="end", ok=self._asked and self._completed and not self._failed, ms=held_ms))
        late = [
            index
            for index, action in enumerate(self._actions)
            if isinstance(action, GuestAgent | Libvirt) and index not in self._thawed
        ]
        # In a process of its own: nobody waits for it, nor ends it.
        if late and os.fork() == 0:
            self._thaw_late(late)
        return 0

    def _wait_for_thaw(self) -> None:
        """Return when the thaw is asked for, Drystone has gone, the freezer has died or the time is up."""
        deadline = self._began + self._plan.seconds_max
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(self._events, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fd == 0:
                        self._asked = os.read(0, len(THAW)) == THAW
                        return
                    if not self._relay():
                        return

    def _relay(self) -> bool:
        """Pass on what the freezer said; return whether it lives."""
        text = os.read(self._events, 65536)
        while text and not text.endswith(b"\n"):
            text += os.read(self._events, 65536) or b"\n"
        for line in text.splitlines():
            event = decode_event(line)
            if event.name == "freeze" and event.ok:
                self._frozen.add(event.step)
            if event.name == "thaw":
                self._failed |= not event.ok
                if event.ok:
                    self._thawed.add(event.step)
            _say(1, event)
        return bool(text)

    def _undo(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._commands, THAW)
        # Once the time is up nobody is waited for: what hangs holds locks, which end with it.
        late = time.monotonic() - self._began >= self._plan.seconds_max
        deadline = time.monotonic() + (0.2 if late else UNDO_SECONDS_MAX)
        with selectors.DefaultSelector() as selector:
            selector.register(self._events, selectors.EVENT_READ)
            alive = True
            while alive and (left := deadline - time.monotonic()) > 0:
                if selector.select(left):
                    alive = self._relay()
        if not self._end_freezer():
            # It hangs in the kernel, freezing a file system: a thaw of that one would hang behind it, and all else
            # behind that. What it freezes yet must be thawed after that, and not before.
            kinds = [step.kind for step in self._plan.steps]
            hanging = {n for n, kind in enumerate(kinds) if kind is StepKind.FILESYSTEM} - self._frozen
            self._thaw_rest([n for n in range(len(kinds)) if n not in hanging])
            os.waitpid(self._child, 0)
        self._thaw_rest(range(len(self._actions)))

    def _thaw_rest(self, indexes: Sequence[int]) -> None:
        for index in reversed(indexes):
            action = self._actions[index]
            if index not in self._thawed and not isinstance(action, str) and _do(action, "thaw", index, 1):
                self._thawed.add(index)

    def _thaw_late(self, indexes: Sequence[int]) -> NoReturn:
        """Repeat the thaw of guests that have not said that they are thawed."""
        try:
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(nothing, descriptor)
            deadline = time.monotonic() + LATE_SECONDS_MAX
            while not self._thawed.issuperset(indexes) and time.monotonic() < deadline:
                time.sleep(LATE_PAUSE_S)
                self._thaw_rest(indexes)
        finally:
            os._exit(0)

    def _end_freezer(self) -> bool:
        """Kill the freezer with all that it runs; return whether it has died."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGSTOP)  # It starts nothing more while its children are looked for.
        # Commands and clients of databases have sessions of their own.
        for child in {*_children(self._child), *_children(os.getpid())} - {self._child}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        deadline = time.monotonic() + DEATH_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                found, status = os.waitpid(self._child, os.WNOHANG)
                if found == self._child:
                    self._completed = status == 0
                    return True
            time.sleep(0.005)
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
