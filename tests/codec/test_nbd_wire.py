"""The NBD wire format: golden bytes from the specification; any input gives a value or `ProtocolError`."""

import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.codec import nbd_wire as wire
from drystone.domain.errors import ProtocolError


def test_golden_greeting() -> None:
    assert wire.greeting().hex() == "4e42444d4147494349484156454f50540003"


def test_golden_option_replies() -> None:
    assert (
        wire.option_reply(wire.Option.GO, wire.OptionReply.ACK).hex()
        == "0003e889045565a9" + "00000007" + "00000001" + "00000000"
    )
    assert (
        wire.option_reply(wire.Option.LIST, wire.OptionReply.SERVER, wire.server_payload("ab")).hex()
        == "0003e889045565a9" + "00000003" + "00000002" + "00000006" + "00000002" + "6162"
    )
    assert wire.export_info(4096).hex() == "0000" + "0000000000001000" + "0107"
    assert (
        wire.block_size_info(smallest=1, preferred=4096, largest=1 << 25).hex()
        == "0003" + "00000001" + "00001000" + "02000000"
    )
    assert wire.meta_context_payload(1, "base:allocation") == b"\0\0\0\1base:allocation"
    assert wire.export_name_reply(1, no_zeroes=True).hex() == "0000000000000001" + "0107"
    assert len(wire.export_name_reply(1, no_zeroes=False)) == 134


def test_golden_replies() -> None:
    assert wire.simple_reply(7, wire.Error.EIO).hex() == "67446698" + "00000005" + "0000000000000007"
    assert wire.done_chunk(7).hex() == "668e33ef" + "0001" + "0000" + "0000000000000007" + "00000000"
    assert (
        wire.data_chunk_header(7, 512, 4).hex()
        == "668e33ef" + "0001" + "0001" + "0000000000000007" + "0000000c" + "0000000000000200"
    )
    assert (
        wire.status_chunk(7, 1, [(4096, 3), (8192, 0)]).hex()
        == "668e33ef0001" + "0005" + "0000000000000007" + "0000001400000001" + "0000100000000003" + "0000200000000000"
    )
    assert (
        wire.error_chunk(7, wire.Error.EINVAL, "no").hex()
        == "668e33ef" + "0001" + "8001" + "0000000000000007" + "00000008" + "00000016" + "0002" + "6e6f"
    )


def test_golden_requests() -> None:
    request = bytes.fromhex("25609513" + "0004" + "0000" + "0102030405060708" + "0000000000001000" + "00000200")
    assert wire.parse_request(request) == wire.Request(
        flags=4, command=wire.Command.READ, cookie=0x0102030405060708, offset=4096, length=512
    )
    header = b"IHAVEOPT" + bytes.fromhex("00000007" + "00000006")
    assert wire.parse_option_header(header) == wire.OptionHeader(option=wire.Option.GO, length=6)
    assert wire.parse_client_flags(b"\0\0\0\3") is True
    assert wire.parse_client_flags(b"\0\0\0\1") is False


@settings(deadline=None)
@given(name=st.text(max_size=40), infos=st.lists(st.integers(0, 0xFFFF), max_size=8))
def test_go_round_trip(name: str, infos: list[int]) -> None:
    text = name.encode()
    data = struct.pack(">I", len(text)) + text + struct.pack(f">H{len(infos)}H", len(infos), *infos)
    assert wire.parse_go(data) == wire.GoOption(export=name, infos=tuple(infos))
    with pytest.raises(ProtocolError):
        wire.parse_go(data + b"\0")
    with pytest.raises(ProtocolError):
        wire.parse_go(data[:-1])


@settings(deadline=None)
@given(name=st.text(max_size=20), queries=st.lists(st.text(max_size=20), max_size=6))
def test_meta_context_round_trip(name: str, queries: list[str]) -> None:
    parts = [name.encode(), *(query.encode() for query in queries)]
    strings = [struct.pack(">I", len(part)) + part for part in parts]
    data = strings[0] + struct.pack(">I", len(queries)) + b"".join(strings[1:])
    assert wire.parse_meta_context(data) == wire.MetaContextOption(export=name, queries=tuple(queries))
    with pytest.raises(ProtocolError):
        wire.parse_meta_context(data + b"\0")


@pytest.mark.parametrize(
    "parse",
    [
        wire.parse_client_flags,
        wire.parse_option_header,
        wire.parse_name,
        wire.parse_go,
        wire.parse_meta_context,
        wire.parse_request,
    ],
)
@settings(deadline=None)
@given(data=st.binary(max_size=64) | st.binary(min_size=28, max_size=28) | st.binary(min_size=16, max_size=16))
def test_any_input_is_a_value_or_a_protocol_error(parse: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parse(data)


def test_limits() -> None:
    with pytest.raises(ProtocolError, match="at most 4096"):
        wire.parse_name(b"a" * 4097)
    many = struct.pack(">II", 0, 65)
    with pytest.raises(ProtocolError, match="65 metadata queries"):
        wire.parse_meta_context(many)
    with pytest.raises(ProtocolError, match="not offered"):
        wire.parse_client_flags(b"\0\0\0\7")
