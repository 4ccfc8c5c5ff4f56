"""A key-encryption key as text: the file in which it is kept, and the sheet to print and to type in again.

Both are one form. Lines that begin with `#` are for people. Each line of the key has a check of its own, so that a
typing error is found and named.
"""

import re
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from drystone.codec.sealed import SecretKey
from drystone.domain.errors import ProtocolError
from drystone.domain.ids import KeyId

TEXT_BYTES_MAX: Final = 64 << 10
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
"""What a key may be called."""
_FIRST = "drystone key 1"
_LINES, _LINE_BYTES = 4, 8
_MADE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEncryptionKey:
    """A key that seals data keys.

    Attributes:
        key: It and its id.
        name: What people call it.
        made: When, as `2026-11-30T12:00:00Z`.
    """

    key: SecretKey
    name: str
    made: str

    @property
    def check(self) -> str:
        """Return what tells it from a damaged one: 16 hex digits that follow from all of it."""
        raw = f"{self.key.key_id} {self.name} {self.made} ".encode() + self.key.secret
        return blake3(raw, derive_key_context="drystone 1 check of a key").digest(8).hex()


def key_text(kek: KeyEncryptionKey, remarks: str = "") -> str:
    """Return a key as text; `remarks` stand above it."""
    secret = kek.key.secret
    assert NAME.fullmatch(kek.name)
    assert _MADE.fullmatch(kek.made)
    lines = [*(f"# {line}".rstrip() for line in remarks.splitlines()), _FIRST]
    lines += [f"id    {kek.key.key_id}", f"name  {kek.name}", f"made  {kek.made}"]
    for number in range(1, _LINES + 1):
        part = secret[(number - 1) * _LINE_BYTES : number * _LINE_BYTES]
        digits = part.hex()
        groups = " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))
        lines.append(f"{number}     {groups}  {_line_check(kek.key.key_id, number, part)}")
    return "\n".join([*lines, f"check {kek.check}", ""])


def parse_key(text: str) -> KeyEncryptionKey:
    """Return the key of a text; spaces, empty lines and upper case do not matter.

    Raises:
        ProtocolError: It is none, or holds a typing error. The message says in which line, and never what stands there.
    """
    fields: dict[str, str] = {}
    lines: dict[int, tuple[bytes, str]] = {}
    rows = [" ".join(line.lower().split()) for line in text[:TEXT_BYTES_MAX].splitlines()]
    rows = [row for row in rows if row and not row.startswith("#")]
    if not rows or rows[0] != _FIRST:
        raise ProtocolError(f"this is no key of Drystone: its first line is not {_FIRST!r}")
    for row in rows[1:]:
        word, _, rest = row.partition(" ")
        if word in ("id", "name", "made", "check") and word not in fields:
            fields[word] = rest
        elif re.fullmatch(f"[1-{_LINES}]", word) and int(word) not in lines:
            digits = re.fullmatch(r"((?:[0-9a-f] ?){16}) ?((?:[0-9a-f] ?){4})", rest)
            if digits is None:
                raise ProtocolError(f"line {word} of the key has not 16 hex digits and a check of 4")
            lines[int(word)] = (bytes.fromhex(digits[1].replace(" ", "")), digits[2].replace(" ", ""))
        else:
            raise ProtocolError("the key has a line that is none of it, or one twice")
    key_id, name, made = (fields.get(word, "") for word in ("id", "name", "made"))
    if not re.fullmatch("[0-9a-f]{32}", key_id) or not NAME.fullmatch(name) or not _MADE.fullmatch(made.upper()):
        raise ProtocolError("id, name or made of the key is not there, or misspelt")
    for number in range(1, _LINES + 1):
        part, check = lines.get(number, (b"", ""))
        if _line_check(KeyId(key_id), number, part) != check:
            raise ProtocolError(f"line {number} of the key, or its id, has a typing error")
    secret = b"".join(lines[number][0] for number in range(1, _LINES + 1))
    kek = KeyEncryptionKey(key=SecretKey(key_id=KeyId(key_id), secret=secret), name=name, made=made.upper())
    if fields.get("check") != kek.check:
        raise ProtocolError("the check of the key does not fit")
    return kek


def _line_check(key_id: KeyId, number: int, part: bytes) -> str:
    if len(part) != _LINE_BYTES:
        return "none"
    return blake3(f"{key_id} {number} ".encode() + part, derive_key_context="drystone 1 line of a key").hexdigest()[:4]
