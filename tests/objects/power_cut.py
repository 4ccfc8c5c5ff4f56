"""What a power cut may leave of a directory: every system call that changes it is noted, and everything that was not
flushed is lost in every combination that POSIX allows.

A file's bytes are durable when the file was flushed, an entry of a directory when that directory was, each entry by
itself and in no order; a rename is whole or did not happen.
"""

import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HIDDEN = ".temporary"
"""Entries of this directory are nobody's objects: whether they survive is not asked."""
PENDING_MAX = 12
"""More entries than this that are not flushed at once would be a bug of the test, not of the store."""


@dataclass(frozen=True)
class Entry:
    """One change of directories: names are (number of the directory, name); `number` is what the new one refers to."""

    removed: tuple[int, str] | None = None
    added: tuple[int, str] | None = None
    number: int = 0

    def touches(self, directory: int) -> bool:
        return any(one is not None and one[0] == directory for one in (self.removed, self.added))


@dataclass
class State:
    """What is durable at some moment, and what is not yet. Directories and files have numbers that never come back."""

    entries: dict[tuple[int, str], int] = field(default_factory=dict)
    pending: list[Entry] = field(default_factory=list)
    directories: set[int] = field(default_factory=lambda: {0})
    written: dict[int, bytes] = field(default_factory=dict)
    flushed: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> "State":
        return State(dict(self.entries), list(self.pending), set(self.directories), dict(self.written),
                     dict(self.flushed))  # fmt: skip

    def survivors(self) -> Iterator[dict[str, bytes]]:
        """Yield every content, by path, that a cut at this moment may leave."""
        assert len(self.pending) <= PENDING_MAX, self.pending
        for kept in itertools.product((False, True), repeat=len(self.pending)):
            entries = dict(self.entries)
            for entry, stays in zip(self.pending, kept, strict=True):
                if stays:
                    _apply(entries, entry)
            for lost in ("nothing", "bytes", "content"):
                yield dict(self._files(entries, 0, "", lost))
                if self.written == self.flushed:
                    break

    def _files(self, entries: dict[tuple[int, str], int], directory: int, path: str, lost: str) -> Iterator[Any]:
        for (parent, name), number in sorted(entries.items()):
            if parent != directory or name == HIDDEN:
                continue
            full = f"{path}/{name}" if path else name
            if number in self.directories:
                yield from self._files(entries, number, full, lost)
                continue
            durable, last = self.flushed.get(number, b""), self.written.get(number, b"")
            yield full, {"nothing": last, "bytes": durable, "content": durable.ljust(len(last), b"\0")}[lost]


def _apply(entries: dict[tuple[int, str], int], entry: Entry) -> None:
    if entry.removed is not None:
        entries.pop(entry.removed, None)
    if entry.added is not None:
        entries[entry.added] = entry.number


class Recorder(AbstractContextManager["Recorder"]):
    """Notes what this process does below `root`: real calls are made, and a state is kept after each."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = {name: getattr(os, name) for name in ("open", "writev", "fsync", "link", "unlink", "replace",
                                                           "mkdir", "rmdir")}  # fmt: skip
        self._numbers: dict[str, int] = {"": 0}
        self._count = 0
        self._now = State()
        self.states: list[tuple[State, int]] = []
        """The state after each call that changed something, and how many of the test's own steps had ended."""
        self.ended = 0

    def __enter__(self) -> Self:
        for name in self._real:
            setattr(os, name, getattr(self, "_" + name))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    # --- what is noted ---

    def _open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        new = not os.path.lexists(path)
        descriptor: int = self._real["open"](path, flags, mode, **more)
        relative = self._relative(path)
        if relative is not None and flags & os.O_CREAT and new:
            self._change(replace(self._added(relative), number=self._new(relative)))
        if relative is not None and flags & os.O_TRUNC:
            self._now.written[self._numbers[relative]] = b""
            self._note()
        return descriptor

    def _writev(self, file: int, buffers: Any) -> int:
        done: int = self._real["writev"](file, buffers)
        raw = b"".join(bytes(one) for one in buffers)[:done]
        relative = self._of(file)
        if relative is not None:
            number = self._numbers[relative]
            self._now.written[number] = self._now.written.get(number, b"") + raw
            self._note()
        return done

    def _fsync(self, file: int) -> None:
        self._real["fsync"](file)
        relative = self._of(file)
        if relative is None:
            return
        number = self._numbers[relative]
        if stat.S_ISDIR(os.fstat(file).st_mode):
            for entry in [one for one in self._now.pending if one.touches(number)]:
                _apply(self._now.entries, entry)
                self._now.pending.remove(entry)
        else:
            self._now.flushed[number] = self._now.written.get(number, b"")
        self._note()

    def _link(self, old: Any, new: Any, **more: Any) -> None:
        self._real["link"](old, new, **more)
        source, target = self._relative(old), self._relative(new)
        assert source is not None
        assert target is not None
        self._numbers[target] = self._numbers[source]
        self._change(replace(self._added(target), number=self._numbers[source]))

    def _unlink(self, path: Any, **more: Any) -> None:
        self._real["unlink"](path, **more)
        self._gone(path)

    def _replace(self, old: Any, new: Any, **more: Any) -> None:
        self._real["replace"](old, new, **more)
        source, target = self._relative(old), self._relative(new)
        assert source is not None
        assert target is not None
        number = self._numbers.pop(source)
        self._numbers[target] = number
        removed, added = self._added(source).added, self._added(target).added
        self._change(Entry(removed=removed, added=added, number=number))

    def _mkdir(self, path: Any, mode: int = 0o777, **more: Any) -> None:
        self._real["mkdir"](path, mode, **more)
        relative = self._relative(path)
        if relative is not None:
            number = self._new(relative)
            self._now.directories.add(number)
            self._change(replace(self._added(relative), number=number))

    def _rmdir(self, path: Any, **more: Any) -> None:
        self._real["rmdir"](path, **more)
        self._gone(path)

    # --- how ---

    def _gone(self, path: Any) -> None:
        relative = self._relative(path)
        if relative is not None:
            self._numbers.pop(relative, None)
            self._change(Entry(removed=self._added(relative).added))

    def _added(self, relative: str) -> Entry:
        folder, _, name = relative.rpartition("/")
        return Entry(added=(self._numbers[folder], name))

    def _new(self, relative: str) -> int:
        self._count += 1
        self._numbers[relative] = self._count
        return self._count

    def _relative(self, path: Any) -> str | None:
        try:
            found = Path(os.fspath(path)).relative_to(self._root)
        except ValueError:
            return None
        return "" if found == Path() else str(found)

    def _of(self, file: int) -> str | None:
        """Return the path that a descriptor was opened by; a file that has no name any more changes nothing."""
        relative = self._relative(Path(f"/proc/self/fd/{file}").readlink())
        return relative if relative in self._numbers else None

    def _change(self, entry: Entry) -> None:
        hidden = self._numbers.get(HIDDEN, -1)
        sides = [one for one in (entry.removed, entry.added) if one is not None]
        if all(directory == hidden for directory, _ in sides):
            _apply(self._now.entries, entry)
        else:
            self._now.pending.append(entry)
        self._note()

    def _note(self) -> None:
        self.states.append((self._now.copy(), self.ended))
