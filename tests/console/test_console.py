"""Calls of pages, and the files of the console."""

import asyncio
import gzip
from pathlib import Path

import pytest

from drystone.api.settings import ApiSettings
from drystone.console import files
from drystone.console.files import Files
from drystone.domain.errors import DrystoneError
from drystone.service.calls.browser_sessions import BrowserSessions
from tests.api.asgi import ACCOUNT, check_envelope, send_signed
from tests.api.signing import REGION, sdk_request
from tests.console.site import Browser, Site, refused, told
from tests.service.records_world import OTHER, OWNER


def test_a_call_goes_the_way_of_every_call(site: Site) -> None:
    """S73."""
    browser = Browser(site)
    browser.log_in("other")
    answer = browser.call("TerminateDisks", DiskIds=["disk-1"])
    check_envelope(answer)
    assert answer.response["DiskIds"] == ["disk-1"]
    caller, resource, code = site.rig.trail.rows[-1]
    assert (caller.account_id, caller.admin, caller.browser, caller.source) == (OTHER, False, True, "192.0.2.7")
    assert (caller.action, resource, code) == ("TerminateDisks", "disk-1", "OK")
    assert caller.secret_id.startswith("console-")
    labels = {"action": "TerminateDisks", "code": "OK"}
    assert site.rig.registry.get_sample_value("drystone_api_requests_total", labels) == 1
    cases: tuple[tuple[str, str, dict[str, object], str], ...] = (
        ("cbs", "DescribeDisks", {"Count": "x"}, "InvalidParameter"),
        ("cbs", "DescribeDisks", {"Nonsense": 1}, "UnknownParameter"),
        ("cbs", "Nonsense", {}, "InvalidAction"),
        ("cbs", "CreateRemoteDisks", {}, "UnsupportedOperation"),
        ("drystone", "DescribeDisks", {}, "OK"),
    )
    for service, action, parameters, expected in cases:
        answer = browser.call(action, service, **parameters)
        check_envelope(answer)
        assert answer.code == expected
    assert refused(browser.call("DescribeDisks", "nonsense")) == (404, "InvalidRequest")


def test_pages_and_programs_share_one_rate(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Site(site.world, settings=ApiSettings(region=REGION, rate_per_action=2))
    browser = Browser(limited)
    browser.log_in()
    assert [browser.call().code for _ in range(3)] == ["OK", "OK", "RequestLimitExceeded"]
    other = Browser(limited)
    other.log_in("other")
    assert other.call().code == "OK"
    # The same bucket as a signed call of the account: tokens that pages took are gone for programs.
    identity = limited.rig.keys.keys.popitem()[1]
    limited.rig.keys.keys["AKIDtest"] = identity
    assert identity.account_id == ACCOUNT


def test_bad_requests_end_with_a_status(site: Site) -> None:
    browser = Browser(site)
    browser.log_in()
    assert refused(browser.get("/console/api/login")) == (405, "UnsupportedProtocol")
    assert refused(browser.send("PUT", "/console/api/call/cbs/DescribeDisks")) == (405, "UnsupportedProtocol")
    for path in ("", "nothing", "call", "call/cbs", "call/cbs/a/b", "session/", "../api/session"):
        assert refused(browser.post(path)) == (404, "InvalidRequest"), path
    for media_type in ("text/plain", "application/x-www-form-urlencoded", None):
        assert refused(browser.post("call/cbs/DescribeDisks", content_type=media_type)) == (415, "InvalidRequest")
    assert browser.post("call/cbs/DescribeDisks", content_type="application/json; charset=utf-8").status == 200
    for raw in (b"", b"[]", b"{", b"\xff", b'{"Account": 1, "Password": ""}', b'{"Account": "a"}', b"[" * 4000):
        assert browser.send("POST", "/console/api/login", raw).status == 400
    assert refused(browser.send("POST", "/console/api/login", b" " * 4097)) == (413, "RequestSizeLimitExceeded")
    long = browser.send("POST", "/console/api/call/cbs/DescribeDisks", b" " * 1_000_001)
    check_envelope(long)
    assert long.code == "RequestSizeLimitExceeded"


def test_a_failure_behind_a_page_is_told_without_details(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(site)
    browser.log_in()

    async def broken(_sessions: BrowserSessions, _token: str) -> None:
        raise ValueError("a secret")

    monkeypatch.setattr(BrowserSessions, "find", broken)
    answer = browser.call()
    assert refused(answer) == (500, "InternalError")
    assert b"a secret" not in answer.body


def test_the_root_is_a_page_for_browsers_and_the_api_for_programs(site: Site) -> None:
    browser = Browser(site)
    page = browser.get("/", accept="text/html,application/xhtml+xml")
    assert (page.status, page.headers[b"location"]) == (302, b"/console/")
    assert browser.get("/console").headers[b"location"] == b"/console/"
    for answer in (
        browser.get("/", accept="*/*"),
        browser.get("/", accept="text/html", query=b"Action=DescribeDisks"),
        browser.get("/", accept="text/html", authorization="TC3-HMAC-SHA256 x"),
        browser.send("POST", "/", headers={"accept": "text/html"}),
        browser.get("/other", accept="text/html"),
    ):
        check_envelope(answer)
    assert browser.get("/healthz").body == b'{"Status":"OK"}'


def test_a_signed_call_still_works(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.rig.clock[0] = 1_790_000_000.0
    request = sdk_request(monkeypatch, action="DescribeDisks", params={"DiskIds": ["disk-1"]})
    answer = asyncio.run(send_signed(site.app, request))
    assert answer.response["DiskIds"] == ["disk-1"]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "files"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_bytes(b"<!doctype html>")
    (root / "assets/main-1a2b.js").write_bytes(b"let a;")
    (root / "assets/main-1a2b.js.gz").write_bytes(gzip.compress(b"let a;"))
    (root / "icon.svg").write_bytes(b"<svg/>")
    (root / "assets/link.js").symlink_to(tmp_path / "secret")
    return root


def test_files_and_deep_links(site: Site, built: Path) -> None:
    browser = Browser(Site(site.world, files=Files.load(built)))
    page = browser.get("/console/")
    assert (page.status, page.body) == (200, b"<!doctype html>")
    assert page.headers[b"cache-control"] == b"no-store"
    assert page.headers[b"content-type"] == b"text/html; charset=utf-8"
    policy = page.headers[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'self'; ")
    assert "script-src" not in policy
    assert "unsafe-eval" not in policy
    assert page.headers[b"x-frame-options"] == b"DENY"
    assert page.headers[b"x-content-type-options"] == b"nosniff"
    assert page.headers[b"referrer-policy"] == b"no-referrer"
    script = browser.get("/console/assets/main-1a2b.js")
    assert (script.body, script.headers[b"content-type"]) == (b"let a;", b"text/javascript; charset=utf-8")
    assert b"immutable" in script.headers[b"cache-control"]
    packed = browser.get("/console/assets/main-1a2b.js", accept_encoding="br, gzip")
    assert (packed.headers[b"content-encoding"], gzip.decompress(packed.body)) == (b"gzip", b"let a;")
    assert packed.headers[b"vary"] == b"Accept-Encoding"
    plain = browser.get("/console/assets/main-1a2b.js", accept_encoding="gzip;q=0")
    assert b"content-encoding" not in plain.headers
    assert browser.get("/console/icon.svg").headers[b"content-type"] == b"image/svg+xml"
    for deep in ("disks", "snapshots/snap-1", "disks/disk-1?tab=a", "index.htm", "assets"):
        assert browser.get(f"/console/{deep}").body == b"<!doctype html>", deep
    assert browser.get("/console/assets/main-0000.js").status == 404
    assert browser.send("POST", "/console/").status == 405


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "assets/../../secret", "..%2fsecret", "%2e%2e/secret", "//etc/passwd", "/etc/passwd",
        "assets/link.js", "assets/..\\..\\secret", "index.html\0.js", "./../secret", "assets/", "files/../secret",
    ],
)  # fmt: skip
def test_there_is_nothing_outside(site: Site, built: Path, path: str) -> None:
    browser = Browser(Site(site.world, files=Files.load(built)))
    answer = browser.get(f"/console/{path}")
    assert (answer.status, answer.body) in {(200, b"<!doctype html>"), (404, b"There is no such file.\n")}


def test_a_console_that_is_not_built_says_how(site: Site, tmp_path: Path) -> None:
    browser = Browser(Site(site.world, files=Files.load(tmp_path / "nothing")))
    answer = browser.get("/console/disks")
    assert answer.status == 503
    assert b"./dev console" in answer.body
    assert browser.log_in().status == 200
    assert told(browser.get("/console/api/session"))["AccountId"] == OWNER


def test_files_are_bounded(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BYTES_MAX", 20)
    with pytest.raises(DrystoneError, match="is no console"):
        Files.load(built)
    monkeypatch.undo()
    monkeypatch.setattr(files, "FILES_MAX", 2)
    with pytest.raises(DrystoneError, match="is no console"):
        Files.load(built)
