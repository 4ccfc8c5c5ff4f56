"""Key-encryption keys in a directory of this machine, never in the store (S244)."""

import secrets
import stat
from pathlib import Path
from typing import Final

from drystone.codec.hashes import KEY_BYTES
from drystone.codec.key_text import TEXT_BYTES_MAX, KeyEncryptionKey, key_text, parse_key
from drystone.codec.sealed import SecretKey
from drystone.domain.errors import IntegrityError, ProtocolError, UnavailableError
from drystone.domain.ids import KeyId
from drystone.domain.times import moment
from drystone.durable_files import sync_file, write_durably
from drystone.objects.address import ObjectsAddress
from drystone.objects.contract import NotFoundError

_SUFFIX: Final = ".key"
_DEFAULT: Final = "default"
_REMARKS: Final = """Whoever has this key and the store reads all snapshots that it seals.
Without it nobody does: keep copies on paper or on another machine."""


class KeyFiles:
    """A directory of key files, one for each key, and the name of the one that wraps new data keys.

    Args:
        directory: Mode 0700; made by the first `create` or `add`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def all(self) -> tuple[list[KeyEncryptionKey], list[str]]:
        """Return the keys that are there, in order of their ids, and what is wrong with other files."""
        found, faults = [], []
        for path in sorted(self.directory.glob(f"*{_SUFFIX}")):
            try:
                found.append(self.get(KeyId(path.name.removesuffix(_SUFFIX))))
            except (ProtocolError, UnavailableError, NotFoundError) as error:
                faults.append(str(error))
        return found, faults

    def get(self, key_id: KeyId) -> KeyEncryptionKey:
        """Return a key.

        Raises:
            NotFoundError: There is no such file.
            UnavailableError: It cannot be read, or others than its owner may read it.
            ProtocolError: It is damaged, or holds another key than its name says.
        """
        path = self._path(key_id)
        try:
            for one in (self.directory, path):
                if stat.S_IMODE(one.stat().st_mode) & 0o077:
                    raise UnavailableError(f"others can read {one}, which holds keys: chmod go= {one}")
            with path.open("rb") as file:
                raw = file.read(TEXT_BYTES_MAX)
        except FileNotFoundError:
            raise NotFoundError(f"there is no key {key_id} in {self.directory}") from None
        except OSError as error:
            raise UnavailableError(f"{path}: {error.strerror}") from error
        try:
            kek = parse_key(raw.decode())
        except (UnicodeDecodeError, ProtocolError) as error:
            told = error if isinstance(error, ProtocolError) else "no text"
            raise ProtocolError(f"{path}: {told}") from None
        if kek.key.key_id != key_id:
            raise ProtocolError(f"{path} holds key {kek.key.key_id}")
        return kek

    def secret(self, key_id: KeyId) -> SecretKey:
        """Return a key alone; as `get`."""
        return self.get(key_id).key

    def add(self, kek: KeyEncryptionKey) -> bool:
        """Keep a key, durable on return; the first one becomes the default.

        Returns:
            Whether it had to be written: it was not there.

        Raises:
            IntegrityError: Another key of that id is there, or what is there cannot be read. It stays.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)
        sync_file(self.directory.parent)
        path = self._path(kek.key.key_id)
        written = False
        try:
            if self.get(kek.key.key_id).key != kek.key:
                raise IntegrityError(f"{path} is another key with the same id; it stays")
        except NotFoundError:
            write_durably(path, key_text(kek, _REMARKS).encode())
            written = True
        except ProtocolError as error:
            raise IntegrityError(f"{error}; move it away to import the key") from error
        if self.default_id() is None:
            self.make_default(kek.key.key_id)
        return written

    def chosen(self, word: str) -> KeyEncryptionKey:
        """Return the key of an id or a name.

        Raises:
            NotFoundError: There is none, or several have that name.
            ProtocolError, UnavailableError: As `get`.
        """
        if len(word) == 32 and not set(word) - set("0123456789abcdef"):
            return self.get(KeyId(word))
        named = [one for one in self.all()[0] if one.name == word]
        if not named:
            raise NotFoundError(f"there is no key {word} in {self.directory}")
        if len(named) > 1:
            raise NotFoundError(f"{len(named)} keys in {self.directory} have the name {word}: give the id of one")
        return named[0]

    def default(self) -> SecretKey:
        """Return the key that wraps new data keys.

        Raises:
            UnavailableError: There is none, or it cannot be read.
            ProtocolError: It is damaged.
        """
        key_id = self.default_id()
        if key_id is None:
            raise UnavailableError(f"there is no key in {self.directory} to wrap new data keys with")
        try:
            return self.secret(key_id)
        except NotFoundError as error:
            raise UnavailableError(str(error)) from error

    def default_id(self) -> KeyId | None:
        """Return the id of the key that wraps new data keys; None if there is none yet.

        Raises:
            ProtocolError: The file that says so is damaged.
        """
        path = self.directory / _DEFAULT
        try:
            text = path.read_text().strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ProtocolError(f"{path}: {error}") from error
        if len(text) != 32 or set(text) - set("0123456789abcdef"):
            raise ProtocolError(f"{path} holds no id of a key")
        return KeyId(text)

    def make_default(self, key_id: KeyId) -> None:
        """Have a key that is there wrap new data keys from now on; durable on return.

        Raises:
            NotFoundError, ProtocolError, UnavailableError: As `get`; nothing changed.
        """
        self.get(key_id)
        write_durably(self.directory / _DEFAULT, f"{key_id}\n".encode())

    def remove(self, key_id: KeyId) -> None:
        """Forget a key for good. Who calls this has seen that no data key needs it (S245).

        Raises:
            IntegrityError: It is the default.
        """
        if self.default_id() == key_id:
            raise IntegrityError(f"key {key_id} wraps new data keys: make another one the default first")
        self._path(key_id).unlink(missing_ok=True)
        sync_file(self.directory)

    def _path(self, key_id: KeyId) -> Path:
        assert len(key_id) == 32
        return self.directory / f"{key_id}{_SUFFIX}"


FIRST_NAME: Final = "installation"
"""Of the key that wraps what no other key is named for."""


def new_key(at: float, name: str = FIRST_NAME) -> KeyEncryptionKey:
    """Return a new key of an installation; at a time since the epoch, UTC."""
    key = SecretKey(key_id=KeyId(secrets.token_hex(16)), secret=secrets.token_bytes(KEY_BYTES))
    return KeyEncryptionKey(key=key, name=name, made=moment(at).strftime("%Y-%m-%dT%H:%M:%SZ"))


def make_first_key(files: KeyFiles, at: float) -> None:
    """Make the first key of an installation, durable on return, if there is none; at a time since the epoch, UTC."""
    if files.default_id() is None:
        files.add(new_key(at))


def keks_from(address: ObjectsAddress) -> KeyFiles | None:
    """Return the keys of the sealed store at an address; None for one in clear."""
    return KeyFiles(Path(address.seal_keys)) if address.seal_keys else None


def sheet(kek: KeyEncryptionKey, store: str, reader_sha256: str, version: str) -> str:
    """Return a key as a sheet to print.

    Args:
        kek: The key.
        store: Where what it seals is.
        reader_sha256: Of the stand-alone reader, which is never run from a sealed store.
        version: Of Drystone, which has that reader.
    """
    return key_text(kek, "\n".join((
        "Recovery sheet of Drystone. Print it, and keep it away from the store.", "", *_REMARKS.splitlines(), "",
        f"Store: {store}", "", "To use the key again: drystone key import FILE, with this page scanned or typed in.",
        "Without Drystone: python3 reader.py --keys FILE STORE list. Never run a reader.py that lies in the store, but",
        f"that of Drystone {version}, sha256 {reader_sha256}.",
    )))  # fmt: skip
