"""The stand-alone reader: its image is the disk, and what is damaged never gives an image that looks whole."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drystone.domain.blocks import BLOCK_BYTES
from drystone.objects.local import LocalStore
from drystone.snapstore import standalone_reader
from drystone.snapstore.manifests import Attributes, write_attributes
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.reader_copy import NAME, PARTS, SOURCE, keep_reader, reader
from tests.s3_server import s3_server
from tests.sealed_stores import reopen
from tests.snapstore.model_snapshots import ACCOUNT, STORE_ID, new_store, take

BLOCKS = 700
WINDOW = 128
"""Of blocks, so that small disks have several."""
FIRST, SECOND = "snap-00000001", "snap-00000002"


class Made:
    """A store in a directory: a full snapshot and a scattered delta over it, each with what the disk held."""

    def __init__(self, root: Path) -> None:
        rng = random.Random(3)
        self.objects = LocalStore(root, 0)
        self.store = new_store(self.objects)
        self.directory = root / STORE_ID
        disk = bytearray(BLOCKS * BLOCK_BYTES)
        for start in (0, 70, 3 * WINDOW - 40, BLOCKS - 65):
            disk[start * BLOCK_BYTES : (start + 64) * BLOCK_BYTES] = rng.randbytes(16 * BLOCK_BYTES) * 4
        self.disks = {FIRST: bytes(disk)}
        first = take(self.store, rng, FIRST, disk, [(0, BLOCKS)])
        changed = sorted(rng.sample(range(BLOCKS), 100))
        for block in changed:
            disk[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = rng.randbytes(64) * 64
        disk[80 * BLOCK_BYTES : 90 * BLOCK_BYTES] = bytes(10 * BLOCK_BYTES)
        changed = [block for block in changed if not 80 <= block < 90]
        self.disks[SECOND] = bytes(disk)
        take(self.store, rng, SECOND, disk, [(block, block + 1) for block in changed], first, zeros=[(80, 90)])
        keep_reader(self.store)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("store"))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_it_runs_alone_from_the_store_and_its_images_are_the_disks(made: Made, tmp_path: Path) -> None:
    # -I: neither the working directory nor PYTHONPATH can lend it Drystone's packages.
    copy = tmp_path / "bucket"
    shutil.copytree(made.directory, copy)
    write_attributes(reopen(made.objects, STORE_ID), SnapshotReader.open(made.store, FIRST).manifest.snapshot,
                     Attributes(name="before the flood"), ACCOUNT)  # fmt: skip
    command = [sys.executable, "-I", str(copy / NAME)]
    listed = subprocess.run([*command, str(made.directory), "list"], capture_output=True, text=True, check=True).stdout
    assert FIRST in listed
    assert SECOND in listed
    assert "before the flood" in listed
    image = tmp_path / "disk.raw"
    subprocess.run([*command, str(copy), "write", SECOND, str(image)], check=True, capture_output=True)
    assert digest(image.read_bytes()) == digest(made.disks[SECOND])
    assert image.stat().st_blocks * 512 < 3 * len(made.disks[SECOND]) // 4, "zeros are holes"
    again = subprocess.run([*command, str(copy), "write", SECOND, str(image)], check=False, capture_output=True)
    assert again.returncode == 1, "an existing file is never overwritten"
    assert digest(image.read_bytes()) == digest(made.disks[SECOND])


@pytest.mark.versitygw
def test_it_reads_a_bucket_too(made: Made, tmp_path: Path) -> None:
    with s3_server(tmp_path / "s3") as server:
        shutil.copytree(made.directory, server.bucket("backups") / "site" / STORE_ID)
        place = f"s3://backups/site/{STORE_ID}"
        command = [sys.executable, "-I", str(made.directory / NAME), place]
        environment = {
            "AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret,
            "AWS_ENDPOINT_URL": server.endpoint,
        }  # fmt: skip

        def run(*arguments: str, **changed: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                [*command, *arguments], capture_output=True, text=True, check=False, env={**environment, **changed}
            )

        listed = run("list")
        assert listed.returncode == 0, listed.stderr
        assert FIRST in listed.stdout
        assert SECOND in listed.stdout
        image = tmp_path / "disk.raw"
        assert run("write", SECOND, str(image)).returncode == 0
        assert digest(image.read_bytes()) == digest(made.disks[SECOND])
        root = server.buckets / "backups"
        manifest = next(root.rglob(f"{FIRST}/*.manifest")).relative_to(root)
        image = tmp_path / "first.raw"
        assert run("write", str(manifest), str(image)).returncode == 0
        assert digest(image.read_bytes()) == digest(made.disks[FIRST])
        # What is not there, or not allowed, gives no image.
        refused = run("list", AWS_SECRET_ACCESS_KEY="wrong")
        assert (refused.returncode, "SignatureDoesNotMatch" in refused.stderr) == (1, True), refused.stderr
        assert "AWS_SECRET_ACCESS_KEY" in run("list", AWS_SECRET_ACCESS_KEY="").stderr
        pack = max(root.rglob("packs/*/*"), key=lambda path: path.stat().st_size)
        with pack.open("r+b") as file:
            file.seek(200)
            file.write(bytes(64))
        assert run("write", FIRST, str(tmp_path / "damaged.raw")).returncode == 1


def test_both_readers_agree(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone_reader, "WINDOW", WINDOW)
    for snapshot, disk in made.disks.items():
        image = tmp_path / snapshot
        assert standalone_reader.main([str(made.directory), "write", snapshot, str(image)]) == 0
        reader = SnapshotReader.open(made.store, snapshot)
        assert digest(image.read_bytes()) == digest(disk) == digest(bytes(reader.read(0, reader.size_bytes)))


def test_a_manifest_with_a_tombstone_is_no_snapshot(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S210: it landed late, after its snapshot was deleted."""
    copy = tmp_path / "store"
    shutil.copytree(made.directory, copy)
    (manifest,) = (copy / "snapshots" / FIRST).glob("*.manifest")
    manifest.with_suffix(".deleted").write_bytes(b'{"format":1}')
    assert standalone_reader.main([str(copy), "list"]) == 0
    told = capsys.readouterr().out
    assert FIRST not in told
    assert SECOND in told
    assert standalone_reader.main([str(copy), "write", FIRST, str(tmp_path / "x")]) == 1
    assert "there is no snapshot" in capsys.readouterr().err
    # Whoever names the manifest itself knows what he does.
    assert standalone_reader.main([str(copy), "write", str(manifest), str(tmp_path / "x")]) == 0


def test_the_old_format_is_read(tmp_path: Path) -> None:
    fixture = Path(__file__).with_name("format-1")
    expected = json.loads((fixture / "expected.json").read_text())
    for name, runs in expected.items():
        image = tmp_path / name
        assert standalone_reader.main([str(fixture / "store" / STORE_ID), "write", name, str(image)]) == 0
        assert image.read_bytes() == b"".join(bytes.fromhex(pattern) * (BLOCK_BYTES // 16) for pattern in runs)


@pytest.mark.parametrize("kind", ["packs", "maps", "snapshots"])
def test_a_flipped_byte_is_told_or_harmless(made: Made, tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    told = 0
    for number in range(12):
        copy = tmp_path / str(number)
        shutil.copytree(made.directory, copy)
        suffix = "*.manifest" if kind == "snapshots" else "*"
        victim = rng.choice(sorted(path for path in (copy / kind).glob(f"*/{suffix}") if path.is_file()))
        data = bytearray(victim.read_bytes())
        # Behind the header, which is for people only.
        data[rng.randrange(96 if kind != "snapshots" else 0, len(data))] ^= 1 << rng.randrange(8)
        victim.write_bytes(data)
        image = copy / "image"
        if standalone_reader.main([str(copy), "write", SECOND, str(image)]):
            told += 1
        else:
            assert digest(image.read_bytes()) == digest(made.disks[SECOND])
    assert told >= 4


@pytest.mark.parametrize("kind", ["packs", "maps"])
def test_what_is_missing_is_told(made: Made, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.directory, copy)
    victim = next(path for path in sorted((copy / kind).glob("*/*")) if path.is_file())
    victim.unlink()
    assert standalone_reader.main([str(copy), "write", SECOND, str(tmp_path / "image")]) == 1
    assert "not complete" in capsys.readouterr().err


def test_a_damaged_key_is_not_used(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.directory, copy)
    key = copy / "keys" / "store"
    key.chmod(0o600)
    whole = json.loads(key.read_bytes())
    key.write_text(json.dumps({**whole, "key": whole["key"][:-1] + ("1" if whole["key"][-1] == "0" else "0")}))
    assert standalone_reader.main([str(copy), "list"]) == 1
    assert "its key is damaged" in capsys.readouterr().err
    (copy / "keys" / "copy").write_text(json.dumps(whole))
    assert standalone_reader.main([str(copy), "list"]) == 0
    assert FIRST in capsys.readouterr().out


def test_bad_arguments_are_told(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert standalone_reader.main([str(tmp_path), "list"]) == 1
    assert "is not the directory of a store" in capsys.readouterr().err
    assert standalone_reader.main([str(made.directory), "write", "snap-zzzzzzzz", str(tmp_path / "x")]) == 1
    assert "there is no snapshot" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_it_imports_nothing_of_drystone_and_is_short(made: Made) -> None:
    text = reader()
    assert all(len(part.read_text().splitlines()) <= 500 for part in (SOURCE, *PARTS))
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in imports if "drystone" in line]
    assert (made.directory / NAME).read_text() == text
    assert not keep_reader(made.store), "it is there already"
    made.objects.replace(made.store.name(NAME), b"older")
    assert keep_reader(made.store)
    assert (made.directory / NAME).read_text() == text
