"""A local store across power cuts: at every system call, with everything that was not flushed lost in every way."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.objects.power_cut import Recorder

from drystone.durable_files import sync_file
from drystone.objects import local
from drystone.objects.contract import Parts, parts_of
from drystone.objects.local import LocalStore

Content = dict[str, bytes]
Step = tuple[str, str, bytes]

SCRIPT: tuple[Step, ...] = (
    ("put", "s/packs/x/one", b"1" * 5000),
    ("put", "s/packs/x/two", b"22"),
    ("put", "s/maps/x/map", b"3"),
    ("replace", "s/epoch", b"epoch 1"),
    ("replace", "s/epoch", b"epoch 22"),
    ("delete", "s/packs/x/one", b""),
    ("delete", "s/packs/x/two", b""),
    ("put", "s/packs/x/three", b"4444"),
    ("delete", "s/maps/x/map", b""),
    ("delete", "s/maps/x/map", b""),
)


def after(content: Content, step: Step) -> Content:
    kind, name, raw = step
    left = {key: value for key, value in content.items() if key != name}
    return left if kind == "delete" else {**left, name: raw}


def run(root: Path, kind: type[LocalStore] = LocalStore) -> int:
    """Run the script; at every cut the store holds what the ended calls left, and the current one happened or not.

    Returns:
        How many contents were looked at.
    """
    root.mkdir()
    with Recorder(root) as recorder:
        objects = kind(root, floor_bytes=0)
        for name, key, raw in SCRIPT:
            getattr(objects, name)(key, *([raw] if name != "delete" else []))
            recorder.ended += 1
            # What is there a moment after the call has returned.
            recorder._note()
    contents: list[Content] = [{}]
    for step in SCRIPT:
        contents.append(after(contents[-1], step))
    looked_at = 0
    for state, ended in recorder.states:
        allowed = contents[ended : ended + 2]
        for found in state.survivors():
            looked_at += 1
            assert found in allowed, f"after {ended} steps a power cut leaves {found}, expected one of {allowed}"
    return looked_at


def test_a_power_cut_at_any_system_call_leaves_what_was_promised(tmp_path: Path) -> None:
    """P5."""
    assert run(tmp_path / "store") > 100


def is_directory(file: int) -> bool:
    return Path(f"/proc/self/fd/{file}").is_dir()


def no_flush_of_files(patched: pytest.MonkeyPatch) -> type[LocalStore]:
    class Unflushed(LocalStore):
        def put(self, name: str, data: Parts) -> None:
            noted = os.fsync
            with patched.context() as inner:
                inner.setattr(os, "fsync", lambda file: noted(file) if is_directory(file) else None)
                super().put(name, data)

    return Unflushed


def no_flush_of_directories(patched: pytest.MonkeyPatch) -> type[LocalStore]:
    patched.setattr(local, "sync_file", lambda _folder: None)
    return LocalStore


def parents_are_not_flushed(patched: pytest.MonkeyPatch) -> type[LocalStore]:
    patched.setattr(LocalStore, "_make_durable", lambda _self, folder: folder.mkdir(parents=True, exist_ok=True))
    return LocalStore


def a_removed_directory_is_taken_for_durable(patched: pytest.MonkeyPatch) -> type[LocalStore]:
    class Remembering(LocalStore):
        def _make_durable(self, folder: Path) -> None:
            if folder in self._durable:
                folder.mkdir(parents=True, exist_ok=True)
            super()._make_durable(folder)

        def _forget(self, folder: Path) -> None:
            pass

    del patched
    return Remembering


def the_name_before_the_bytes(patched: pytest.MonkeyPatch) -> type[LocalStore]:
    class InPlace(LocalStore):
        def put(self, name: str, data: Parts) -> None:
            path = self._path(name)
            self._make_durable(path.parent)
            write_in_place(path, data)

    del patched
    return InPlace


def replaced_in_place(patched: pytest.MonkeyPatch) -> type[LocalStore]:
    class InPlace(LocalStore):
        def replace(self, name: str, data: Parts) -> None:
            path = self._path(name)
            self._make_durable(path.parent)
            write_in_place(path, data)

    del patched
    return InPlace


def write_in_place(path: Path, data: Parts) -> None:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    local._write_all(file, parts_of(data))
    os.fsync(file)
    os.close(file)
    sync_file(path.parent)


def a_deletion_that_is_not_flushed(patched: pytest.MonkeyPatch) -> type[LocalStore]:
    class Forgetful(LocalStore):
        def delete(self, name: str) -> None:
            path = self._path(name)
            if path.exists():
                path.unlink()

    del patched
    return Forgetful


@pytest.mark.parametrize(
    "plant",
    [
        no_flush_of_files, no_flush_of_directories, parents_are_not_flushed, a_removed_directory_is_taken_for_durable,
        the_name_before_the_bytes, replaced_in_place, a_deletion_that_is_not_flushed,
    ],
)  # fmt: skip
def test_planted_bugs_are_found(
    plant: Callable[[pytest.MonkeyPatch], type[LocalStore]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = plant(monkeypatch)
    with pytest.raises(AssertionError, match="a power cut leaves"):
        run(tmp_path / "store", kind)
