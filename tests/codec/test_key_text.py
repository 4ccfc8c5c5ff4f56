"""Keys as text, on paper: what is typed in wrong is found and named."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.codec.key_text import KeyEncryptionKey, key_text, parse_key
from drystone.codec.sealed import SecretKey
from drystone.domain.errors import ProtocolError
from drystone.domain.ids import KeyId

KEK = KeyEncryptionKey(
    key=SecretKey(key_id=KeyId("ab" * 16), secret=bytes(range(100, 132))), name="installation",
    made="2026-11-30T12:00:00Z",
)  # fmt: skip
TEXT = """# Keep it.
drystone key 1
id    abababababababababababababababab
name  installation
made  2026-11-30T12:00:00Z
1     6465 6667 6869 6a6b  6537
2     6c6d 6e6f 7071 7273  50cc
3     7475 7677 7879 7a7b  8555
4     7c7d 7e7f 8081 8283  6f16
check 0e6834f99c7eca82
"""


def test_the_form_is_fixed() -> None:
    assert key_text(KEK, "Keep it.") == TEXT
    assert parse_key(TEXT) == KEK


def test_typing_is_forgiving() -> None:
    typed = "\n\n  # a remark\n" + TEXT.upper().replace("  ", "      ").replace("6465 6667", "64656667")
    assert parse_key(typed.replace("\n", "\r\n")) == KEK


def test_each_typing_error_is_found_and_nothing_secret_is_told() -> None:
    rng = random.Random(3)
    for _ in range(3000):
        at = rng.randrange(TEXT.index("id"), len(TEXT) - 1)
        if TEXT[at] in " \n":
            continue
        other = rng.choice([one for one in "0123456789abcdef" if one != TEXT[at]])
        with pytest.raises(ProtocolError) as caught:
            parse_key(TEXT[:at] + other + TEXT[at + 1 :])
        assert "6465" not in str(caught.value)
    swapped = TEXT.replace("1     6465 6667 6869 6a6b  6537", "1     6465 6667 6a6b 6869  6537")
    assert swapped != TEXT
    with pytest.raises(ProtocolError, match="line 1 of the key"):
        parse_key(swapped)


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_line_that_is_not_there_is_missed(cut: int) -> None:
    lines = TEXT.splitlines()
    for bad in (lines[:cut] + lines[cut + 1 :], [*lines, lines[cut]]):
        with pytest.raises(ProtocolError):
            parse_key("\n".join(bad))


@given(st.text(max_size=300), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_is_refused(text: str, headed: bool) -> None:  # noqa: FBT001
    with pytest.raises(ProtocolError):
        parse_key(("drystone key 1\n" if headed else "") + text)


def test_the_secret_is_not_shown() -> None:
    assert KEK.key.secret.hex() not in repr(KEK)
    assert str(KEK.key.secret) not in repr(KEK)
