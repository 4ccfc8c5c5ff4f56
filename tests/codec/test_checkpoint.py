"""Checkpoint files: golden bytes, round trips, and that no damage passes."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.codec import checkpoint as codec
from drystone.domain.blocks import normalize
from drystone.domain.errors import ProtocolError
from drystone.domain.ids import DiskId
from drystone.domain.tracking import FileIdentity

IDENTITY = FileIdentity(device=2049, inode=77, size=1 << 20, mtime_ns=1, ctime_ns=2)
DISK = DiskId("disk-abcd1234")
RANGES = normalize([(0, 3), (10, 11)])


def encoded() -> bytes:
    return codec.encode(codec.head(DISK, 5, IDENTITY, RANGES), RANGES)


def test_layout() -> None:
    line, _, body = encoded().partition(b"\n")
    text, _, checksum = line.rpartition(b" ")
    assert text == (
        b'{"disk":"disk-abcd1234","epoch":5,"format":1,"identity":[2049,77,1048576,1,2],"sha256":"'
        + hashlib.sha256(body).hexdigest().encode()
        + b'"}'
    )
    assert len(checksum) == 64
    assert body == b"".join(number.to_bytes(8, "little") for number in (0, 3, 10, 11))


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=20),
    st.integers(0, 1 << 40),
)
def test_round_trip(rows: list[tuple[int, int]], epoch: int) -> None:
    ranges = normalize([(min(row), max(row)) for row in rows])
    head = codec.head(DISK, epoch, IDENTITY, ranges)
    found, back = codec.decode(codec.encode(head, ranges))
    assert found == head
    assert back.tolist() == ranges.tolist()
    assert (head.extents is None) == (len(ranges) == 0)


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_every_flipped_byte_is_refused(flip: int) -> None:
    data = encoded()
    for index in range(len(data)):
        damaged = bytearray(data)
        damaged[index] ^= flip
        with pytest.raises(ProtocolError):
            codec.decode(bytes(damaged))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(data)


def test_two_disks_never_share_an_extent_map() -> None:
    assert codec.extents_name(DISK, 1, RANGES) != codec.extents_name(DiskId("disk-zzzz1234"), 1, RANGES)
    assert codec.extents_name(DISK, 1, RANGES) != codec.extents_name(DISK, 2, RANGES)
