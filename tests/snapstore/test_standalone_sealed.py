"""The stand-alone reader on sealed stores: with the key file it reads all, and believes nothing that is not sealed."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drystone.codec.key_text import KeyEncryptionKey, key_text
from drystone.codec.sealed import SecretKey
from drystone.domain.ids import KeyId, SessionId, SnapshotId
from drystone.objects.local import LocalStore
from drystone.snapstore import standalone_reader
from drystone.snapstore.deletion import put_tombstone
from drystone.snapstore.key_files import sheet
from drystone.snapstore.manifests import Attributes, write_attributes
from drystone.snapstore.reader_copy import reader, reader_sha256
from drystone.snapstore.standalone_seals import Seals
from drystone.snapstore.store import create_store
from tests.s3_server import s3_server
from tests.sealed_stores import KEK
from tests.snapstore.model_snapshots import ACCOUNT, KEY, STORE_ID, take
from tests.snapstore.test_standalone_reader import FIRST, SECOND, Made, digest

MADE_AT = "2026-11-30T12:00:00Z"


class Sealed(Made):
    def __init__(self, root: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DRYSTONE_TEST_SEALED", "1")
            super().__init__(root)
        write_attributes(self.store, SnapshotId(FIRST), Attributes(name="before the flood"), ACCOUNT)
        self.sheet = root / "sheet.txt"
        kek = KeyEncryptionKey(key=KEK, name="installation", made=MADE_AT)
        self.sheet.write_text(sheet(kek, "s3://b/p", reader_sha256(), "0.2.0"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return Sealed(tmp_path_factory.mktemp("sealed"))


def copied(made: Sealed, tmp_path: Path, name: str = STORE_ID) -> Path:
    return Path(shutil.copytree(made.directory, tmp_path / name))


def read(made: Sealed, store: Path, *words: str) -> int:
    return standalone_reader.main(["--keys", str(made.sheet), str(store), *words])


def test_it_runs_alone_and_its_images_are_the_disks(made: Sealed, tmp_path: Path) -> None:
    assert not (made.directory / "reader.py").exists()
    program = tmp_path / "reader.py"
    program.write_text(reader())
    command = [sys.executable, "-I", str(program), "--keys", str(made.sheet), str(made.directory)]
    listed = subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout
    assert SECOND in listed
    assert "before the flood" in listed
    for snapshot, disk in made.disks.items():
        image = tmp_path / snapshot
        subprocess.run([*command, "write", snapshot, str(image)], check=True, capture_output=True)
        assert digest(image.read_bytes()) == digest(disk)


@pytest.mark.versitygw
def test_it_reads_a_bucket(made: Sealed, tmp_path: Path) -> None:
    with s3_server(tmp_path / "s3") as server:
        shutil.copytree(made.directory, server.bucket("backups") / "site" / STORE_ID)
        program = tmp_path / "reader.py"
        program.write_text(reader())
        image = tmp_path / "image"
        place = f"s3://backups/site/{STORE_ID}"
        subprocess.run(
            [sys.executable, "-I", str(program), "--keys", str(made.sheet), place, "write", SECOND, str(image)],
            check=True, capture_output=True,
            env={"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret,
                 "AWS_ENDPOINT_URL": server.endpoint},
        )  # fmt: skip
        assert digest(image.read_bytes()) == digest(made.disks[SECOND])


@pytest.mark.parametrize("kind", ["packs", "maps", "snapshots", "keys"])
def test_a_flipped_byte_is_told(made: Sealed, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """S241."""
    rng = random.Random(kind)
    for number in range(12):
        copy = copied(made, tmp_path / str(number))
        for victim in sorted(one for one in (copy / kind).rglob("*") if one.is_file() and one.name != "attributes"):
            data = bytearray(victim.read_bytes())
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            victim.chmod(0o600)
            victim.write_bytes(data)
        assert read(made, copy, "write", SECOND, str(tmp_path / f"image{number}")) == 1
        assert "not complete" in capsys.readouterr().err


def test_what_is_not_sealed_is_refused(made: Sealed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S242: a whole store in clear, or single objects of one, under the right names."""
    clear = create_store(LocalStore(tmp_path / "clear", 0), STORE_ID, "0" * 32, KEY)
    disk = bytearray(made.disks[FIRST])
    take(clear, random.Random(3), FIRST, disk, [(0, 700)])
    assert read(made, tmp_path / "clear" / STORE_ID, "list") == 1
    assert "does not say that it is sealed" in capsys.readouterr().err
    assert standalone_reader.main([str(made.directory), "list"]) == 1
    assert "it is sealed: give --keys" in capsys.readouterr().err
    copy = copied(made, tmp_path)
    shutil.rmtree(copy / "snapshots" / FIRST)
    shutil.copytree(tmp_path / "clear" / STORE_ID / "snapshots" / FIRST, copy / "snapshots" / FIRST)
    assert read(made, copy, "list") == 1
    told = capsys.readouterr().out
    assert f"{FIRST:<16}damaged: " in told
    assert "is not sealed" in told
    assert SECOND in told


def test_a_tombstone_counts_if_it_was_sealed(made: Sealed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S210, S242."""
    copy = copied(made, tmp_path)
    (manifest,) = (copy / "snapshots" / FIRST).glob("*.manifest")
    manifest.with_suffix(".deleted").write_bytes(b'{"format":1}')
    assert read(made, copy, "list") == 0
    assert FIRST in capsys.readouterr().out
    put_tombstone(made.store, SnapshotId(FIRST), SessionId(manifest.stem))
    sealed = made.directory / "snapshots" / FIRST / f"{manifest.stem}.deleted"
    shutil.copy(sealed, manifest.with_suffix(".deleted"))
    sealed.unlink()
    assert read(made, copy, "list") == 0
    assert FIRST not in capsys.readouterr().out


def test_a_renamed_directory_needs_the_stores_id(
    made: Sealed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(made, tmp_path, "another-name")
    assert read(made, copy, "list") == 1
    assert "give --store-id" in capsys.readouterr().err
    assert read(made, copy, "--store-id", STORE_ID, "list") == 0


def test_a_key_that_does_not_fit_is_told(made: Sealed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = SecretKey(key_id=KeyId("dd" * 16), secret=bytes(32))
    wrong = SecretKey(key_id=KEK.key_id, secret=bytes(32))
    text = made.sheet.read_text()
    for name, content, told in (
        ("other", key_text(KeyEncryptionKey(key=other, name="a", made=MADE_AT)), f"it needs key {KEK.key_id}"),
        ("wrong", key_text(KeyEncryptionKey(key=wrong, name="a", made=MADE_AT)), "not sealed under this name"),
        ("typo", text.replace(KEK.secret.hex()[:4], "0f0f", 1), "typing error"),
        ("none", "x", "is no key"),
    ):
        file = tmp_path / name
        file.write_text(content)
        assert standalone_reader.main(["--keys", str(file), str(made.directory), "list"]) == 1
        error = capsys.readouterr().err
        assert told in error, name
        assert KEK.secret.hex() not in error
    (tmp_path / "keys").mkdir()
    assert standalone_reader.main(["--keys", str(tmp_path / "keys"), str(made.directory), "list"]) == 1
    assert "there is no key in" in capsys.readouterr().err
    (tmp_path / "keys" / f"{KEK.key_id}.key").write_text(text)
    assert standalone_reader.main(["--keys", str(tmp_path / "keys"), str(made.directory), "list"]) == 0


def test_a_manifest_is_of_what_its_key_is_for(
    made: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """S243."""
    real = Seals.whole

    def lie(self: object, path: Path, kind: str, raw: bytes | None = None) -> tuple[bytes, dict[str, str | None]]:
        body, _ = real(self, path, kind, raw)  # type: ignore[arg-type]
        return body, {"account": "100000000009"}

    monkeypatch.setattr(Seals, "whole", lie)
    assert read(made, made.directory, "write", FIRST, str(tmp_path / "x")) == 1
    assert "by the key of another account" in capsys.readouterr().err
