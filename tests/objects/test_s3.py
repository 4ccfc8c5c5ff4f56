"""What is particular to objects in a bucket: answers that services give when something is wrong."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timezone, tzinfo
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.s3_server import SKEWED, S3Server, s3_server

from drystone.domain.errors import StoreUnavailableError, UnavailableError
from drystone.objects import s3
from drystone.objects.address import S3Address
from drystone.objects.contract import NotFoundError
from drystone.objects.retrying import Retrying
from drystone.objects.s3 import S3Store
from drystone.objects.s3_rules import RefusedError, S3Rules

HEAD = (
    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n"
    'Connection: close\r\nETag: "1"\r\nLast-Modified: Mon, 30 Nov 2026 00:00:00 GMT\r\n{more}\r\n'
)
SLOW = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Scripted:
    """An HTTP server that gives each connection the next of its answers, and closes it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.answers: list[bytes | None] = []
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def answer(self, status: str, body: str = "", *, length: int | None = None, head: str = "") -> None:
        first = HEAD.format(status=status, length=len(body) if length is None else length, more=head)
        self.answers.append((first + body).encode())

    def reset(self) -> None:
        """Close the next connection without an answer."""
        self.answers.append(None)

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                raw = connection.recv(1 << 16)
                while raw and b"\r\n\r\n" not in raw:
                    raw += connection.recv(1 << 16)
                head, _, body = raw.partition(b"\r\n\r\n")
                length = int((re.search(rb"(?i)content-length: (\d+)", head) or [0, 0])[1])
                while len(body) < length:
                    body += connection.recv(1 << 20)
                self.asked.append(raw.split(b"\r\n", 1)[0].decode())
                answer = self.answers.pop(0) if self.answers else None
                if answer is not None:
                    connection.sendall(answer)


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scripted, S3Address]:
    monkeypatch.setattr(s3, "FIRST_S", 2.0)
    server = Scripted()
    keys = tmp_path / "store.env"
    keys.touch(mode=0o600)
    keys.write_text("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
    return server, S3Address(bucket="b", endpoint=server.endpoint, keys_file=str(keys))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as started:
        yield started


def dated(ahead_s: float) -> str:
    """A header with the time of a service whose clock differs from this machine's."""
    return f"Date: {format_datetime(datetime.fromtimestamp(time.time() + ahead_s, UTC), usegmt=True)}\r\n"


@pytest.mark.parametrize(("ahead_s", "words"), [(3600, r"3[56]\d\d s behind"), (-7200, r"7[12]\d\d s ahead of")])
def test_history_4_a_clock_that_is_refused_is_told_from_keys_that_are(
    scripted: tuple[Scripted, S3Address], ahead_s: float, words: str
) -> None:
    """In one line, whose clock and by how much; the answers are a real service's (below)."""
    one, address = scripted
    objects = S3Store(address)
    for ask in (
        lambda: objects.put("a", b"1"), lambda: objects.get("a"), lambda: objects.delete("a"),
        lambda: list(objects.list("")),
    ):  # fmt: skip
        one.answer("403 Forbidden", SKEWED, head=dated(ahead_s))
        for _ in range(2):
            one.answer("403 Forbidden", head=dated(ahead_s))
        with pytest.raises(StoreUnavailableError, match=f"clock is {words} the clock of the bucket's") as caught:
            ask()
        assert "\n" not in str(caught.value)
        one.answers.clear()
    # It is right again: all goes on with the same store.
    one.answer("200 OK", "12345")
    assert objects.get("a") == b"12345"
    # A head has no body that would say why.
    for _ in range(3):
        one.answer("403 Forbidden", head=dated(ahead_s))
    with pytest.raises(StoreUnavailableError, match=words):
        objects.size("a")
    one.answers.clear()
    for _ in range(3):
        one.answer("403 Forbidden", head=dated(0))
    with pytest.raises(StoreUnavailableError, match="refuses the keys"):
        objects.size("a")


@pytest.mark.versitygw
def test_history_4_a_service_says_which_time_it_has_to_whom_it_refuses(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = S3Rules(server.address("skew", tmp_path / "store.env"))

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Ahead":
            return cls.fromtimestamp(time.time() + 3600, tz)

    with monkeypatch.context() as patched:
        clock = SimpleNamespace(datetime=Ahead, timezone=timezone)
        patched.setattr("drystone.objects.standalone_bucket.dt", clock)
        with pytest.raises(RefusedError) as caught:
            rules.versioned()
    assert (caught.value.status, caught.value.code) == (403, "RequestTimeTooSkewed")
    assert abs(rules.time() - time.time()) < 5


def fault(number: int) -> Callable[[Scripted], None]:
    return (
        lambda one: one.answer("503 Slow Down", SLOW),
        lambda one: one.answer("500 Internal Server Error"),
        lambda one: one.reset(),
        lambda one: one.answer("200 OK", "12", length=5),
    )[number]


@pytest.mark.parametrize("number", range(4), ids=["503", "500", "reset", "cut body"])
def test_history_2_a_failed_answer_is_asked_for_again(scripted: tuple[Scripted, S3Address], number: int) -> None:
    one, address = scripted
    fault(number)(one)
    fault(number)(one)
    one.answer("200 OK", "12345")
    objects = Retrying(inner=S3Store(address), pause=lambda _seconds: None)
    assert objects.get("a") == b"12345"
    assert len(one.asked) == 3
    fault(number)(one)
    with pytest.raises(UnavailableError, match="bucket b does not answer"):
        S3Store(address).get("a")


LISTED = (
    "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated><Contents><Key>s/a</Key><Size>3</Size>"
    "<LastModified>2026-11-30T00:00:00Z</LastModified><ETag>1</ETag></Contents></ListBucketResult>"
)
RANGE = "Content-Range: bytes 2-6/9\r\n"


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([("206 Partial Content", "23", 5, RANGE)], id="a range that is cut"),
        pytest.param([("206 Partial Content", "23", 2, RANGE)], id="a range that is shorter than it says"),
        pytest.param([("206 Partial Content", "", 0, RANGE)], id="a range without a body"),
        # The end of an object is looked at where a range was refused.
        pytest.param([("503 Slow Down", SLOW, None, ""), ("503 Slow Down", SLOW, None, "")], id="503"),
    ],
)
def test_history_2_a_range_that_is_not_whole_is_asked_for_again(
    scripted: tuple[Scripted, S3Address], answers: list[tuple[str, str, int | None, str]]
) -> None:
    one, address = scripted
    for _ in range(2):
        for status, body, length, head in answers:
            one.answer(status, body, length=length, head=head)
    one.answer("206 Partial Content", "23456", head=RANGE)
    objects = Retrying(inner=S3Store(address), pause=lambda _seconds: None)
    assert objects.get_range("a", 2, 7) == b"23456"
    assert len(one.asked) == 2 * len(answers) + 1


@pytest.mark.parametrize("cut", [1, 40, len(LISTED) - 5])
@pytest.mark.parametrize("said", [True, False], ids=["its length is said", "cut before its length"])
def test_history_2_a_listing_that_is_cut_is_asked_for_again(
    scripted: tuple[Scripted, S3Address], *, cut: int, said: bool
) -> None:
    one, address = scripted
    one.answer("200 OK", LISTED[:cut], length=cut if said else len(LISTED))
    one.answer("200 OK", LISTED)
    objects = Retrying(inner=S3Store(address), pause=lambda _seconds: None)
    assert [(entry.name, entry.size_bytes) for entry in objects.list("s/")] == [("s/a", 3)]
    assert len(one.asked) == 2


def test_the_answer_to_a_write_tells_its_version(scripted: tuple[Scripted, S3Address]) -> None:
    """S274: by no other request. Where versions are suspended it is called `null`, and is whatever came last."""
    one, address = scripted
    objects = S3Store(address)
    for write in (objects.put, objects.replace):
        for told, known in (("x-amz-version-id: v-1\r\n", "v-1"), ("x-amz-version-id: null\r\n", None), ("", None)):
            one.asked.clear()
            one.answer("200 OK", head=told)
            assert write("a", b"1") == known
            assert len(one.asked) == 1


@pytest.mark.parametrize("number", range(4), ids=["503", "500", "reset", "cut body"])
def test_history_2_writes_deletions_and_lengths_are_asked_for_again(
    scripted: tuple[Scripted, S3Address], number: int
) -> None:
    one, address = scripted
    objects = Retrying(inner=S3Store(address), pause=lambda _seconds: None)
    asks: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: objects.replace("m", b"1"), "200 OK"), (lambda: objects.put("p", b"1"), "200 OK"),
        (lambda: objects.delete("d"), "204 No Content"),
    )  # fmt: skip
    for ask, answer in asks:
        one.asked.clear()
        if number == 3 and answer == "204 No Content":
            continue  # It has no body.
        fault(number)(one)
        one.answer(answer)
        ask()
        # Of a write whose answer has come, the rest says nothing.
        assert len(one.asked) == (1 if number == 3 else 2)
        one.answers.clear()


def test_history_2_each_request_is_made_once_unless_we_make_it_again(scripted: tuple[Scripted, S3Address]) -> None:
    """Retries of the library would hide that a write was tried before."""
    one, address = scripted
    for _ in range(2):
        one.answer("503 Slow Down", SLOW)
    with pytest.raises(UnavailableError):
        S3Store(address).put("a", b"1")
    with pytest.raises(UnavailableError):
        S3Store(address).delete("a")
    assert [line.split()[0] for line in one.asked] == ["PUT", "DELETE"]


@pytest.mark.versitygw
def test_history_3_refused_keys_are_read_again(server: S3Server, tmp_path: Path) -> None:
    address = server.address("keys", tmp_path / "store.env")
    objects = S3Store(address)
    objects.put("a", b"1")
    (tmp_path / "store.env").write_text("AWS_ACCESS_KEY_ID=revoked\nAWS_SECRET_ACCESS_KEY=x\n")
    other = S3Store(address)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="refuses the keys"):
            other.get("a")
        with pytest.raises(UnavailableError, match="refuses the keys"):
            other.size("nothing")
    (tmp_path / "store.env").chmod(0o640)
    with pytest.raises(UnavailableError, match="others may read it"):
        S3Store(address).get("a")
    (tmp_path / "store.env").chmod(0o600)
    (tmp_path / "store.env").write_text("AWS_ACCESS_KEY_ID=none\n")
    with pytest.raises(UnavailableError, match="AWS_SECRET_ACCESS_KEY"):
        S3Store(address).get("a")
    server.keys_file(tmp_path / "store.env")
    assert other.get("a") == b"1"
    assert objects.get("a") == b"1"


@pytest.mark.versitygw
def test_history_5_a_bucket_that_is_gone_is_not_an_empty_one(server: S3Server, tmp_path: Path) -> None:
    address = server.address("gone", tmp_path / "store.env")
    (server.buckets / "gone").rmdir()
    objects = S3Store(address)
    for ask in (
        lambda: objects.get("a"), lambda: objects.put("a", b""), lambda: list(objects.list("")),
        lambda: objects.replace("a", b""), lambda: objects.get_range("a", 0, 1),
    ):  # fmt: skip
        with pytest.raises(UnavailableError, match="there is no bucket gone"):
            ask()


def test_a_write_of_more_than_the_least_part_is_one_request(scripted: tuple[Scripted, S3Address]) -> None:
    one, address = scripted
    one.answer("200 OK")
    S3Store(address).put("a", bytes(24 << 20))
    assert len(one.asked) == 1


@pytest.mark.versitygw
def test_the_bucket_bears_witness_of_the_time(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = S3Store(server.address("time", tmp_path / "store.env"))
    now = objects.clock()
    assert now is not None
    assert now.elsewhere
    assert abs(now.at - time.time()) < 5
    # It is asked for seldom, though the time goes on.
    monkeypatch.setattr(S3Rules, "time", None)
    later = objects.clock()
    assert later is not None
    assert now.at < later.at < now.at + 60
    assert list(objects.list("")) == [], "nothing is written for it"
    with pytest.raises(NotFoundError):
        objects.get("another")


@pytest.mark.versitygw
def test_a_listing_of_more_than_a_page_begins_where_it_is_asked_to(server: S3Server, tmp_path: Path) -> None:
    objects = S3Store(server.address("many", tmp_path / "store.env", prefix="p"))
    for number in range(1005):
        (server.buckets / "many" / "p" / "n").mkdir(parents=True, exist_ok=True)
        (server.buckets / "many" / "p" / "n" / f"{number:04}").write_bytes(b"1")
    assert [entry.name for entry in objects.list("n/")] == [f"n/{number:04}" for number in range(1005)]
    assert [entry.name for entry in objects.list("n/00")] == [f"n/{number:04}" for number in range(100)]
    assert [entry.name for entry in objects.list("n/100")] == [f"n/{number:04}" for number in range(1000, 1005)]
