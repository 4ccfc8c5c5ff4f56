"""Logging in, sessions, and what a request must have to be taken for a page's."""

import asyncio
import hashlib

import pytest
from structlog.testing import capture_logs

from drystone.catalog import logins
from drystone.console.limits import ACCOUNT_TRIES, ADDRESS_TRIES, TOLD_S
from drystone.domain.errors import Refusal, RefusalError
from drystone.service.calls import browser_sessions
from drystone.service.calls.password_hashing import LANES, MEMORY_KIB, NOBODY, TIME_COST, WAITING_MAX, PasswordHashing
from tests.api.signing import REGION
from tests.console.site import AGE_S, HOST, IDLE_S, PASSWORD, Browser, Site, refused, told
from tests.service.records_world import OTHER, OWNER, caller

WRONG = (401, "AuthFailure.PasswordWrong")
EXPIRED = (401, "AuthFailure.SessionExpired")
LIMITED = (429, "RequestLimitExceeded")


def test_a_session_from_log_in_to_log_out(site: Site) -> None:
    """S70."""
    browser = Browser(site)
    assert refused(browser.get("/console/api/session")) == EXPIRED
    answer = browser.log_in()
    assert answer.status == 200
    cookie = answer.headers[b"set-cookie"].decode()
    assert cookie.endswith(f"; Path=/console; Max-Age={int(AGE_S)}; HttpOnly; SameSite=Strict")
    assert browser.cookie is not None
    assert len(browser.cookie) == 64
    expected = {
        "AccountId": OWNER, "Name": "admin", "Admin": True, "CsrfToken": browser.csrf, "Region": REGION,
        "Zones": ["z-1"], "TimeZoneOffsetHours": 8, "Version": "1.2", "Languages": ["en", "zh"],
        "Proofs": True,
    }  # fmt: skip
    assert told(answer) == told(browser.get("/console/api/session")) == expected
    assert answer.headers[b"cache-control"] == b"no-store"
    # What the catalog holds cannot be used as a token, and tells neither it nor the other one.
    (row,) = site.world.db.read_sync(lambda conn: logins.sessions_of(conn, OWNER))
    assert row.token_hash == hashlib.sha256(browser.cookie.encode()).hexdigest()
    assert browser.csrf not in {row.token_hash, browser.cookie}
    ended = browser.post("logout")
    assert (ended.status, ended.headers[b"set-cookie"].split(b";")[0]) == (200, b"drystone_session=")
    assert site.world.db.read_sync(lambda conn: logins.sessions_of(conn, OWNER)) == []
    session = f"console-{row.token_hash[:16]}"
    trail = [(caller.account_id, caller.action, caller.secret_id, code) for caller, _, code in site.rig.trail.rows]
    assert trail == [(OWNER, "ConsoleLogin", session, "OK"), (OWNER, "ConsoleLogout", session, "OK")]


def test_a_cookie_over_https_stays_there(site: Site) -> None:
    assert Browser(site).log_in(x_forwarded_proto="https").headers[b"set-cookie"].endswith(b"; Secure")


@pytest.mark.parametrize(("account", "password"), [("admin", "wrong password"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_password_and_an_unknown_account_look_the_same(site: Site, account: str, password: str) -> None:
    browser = Browser(site)
    answer = browser.log_in(account, password)
    assert refused(answer) == WRONG
    assert told(answer)["Error"]["Message"] == "The account or its password is wrong."
    assert b"set-cookie" not in answer.headers
    # As much work for an account that is not there.
    assert site.hashing.verified == [f"plain:{PASSWORD}" if account == "admin" else None]
    assert [(row[0].account_id, row[1], row[2]) for row in site.rig.trail.rows] == [("", account, WRONG[1])]


def test_an_account_without_a_password_cannot_log_in(site: Site) -> None:
    site.world.db.write_sync(lambda conn: logins._passwords.delete(conn, OTHER))
    assert refused(Browser(site).log_in("other", "")) == WRONG


def test_the_real_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        hashing = PasswordHashing()
        hashed = await hashing.hash(PASSWORD)
        assert hashed.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={TIME_COST},p={LANES}$")
        assert hashed[:-40].rpartition("$")[0].rpartition("$")[0] == NOBODY[:-40].rpartition("$")[0].rpartition("$")[0]
        assert await hashing.verify(hashed, PASSWORD)
        assert not await hashing.verify(hashed, PASSWORD + " ")
        assert not await hashing.verify(None, PASSWORD)
        hashing._waiting = WAITING_MAX
        with pytest.raises(RefusalError) as caught:
            await hashing.verify(hashed, PASSWORD)
        assert caught.value.kind is Refusal.TOO_MUCH_AT_ONCE

    asyncio.run(check())


def test_forged_and_expired_sessions(site: Site) -> None:
    browser = Browser(site)
    browser.log_in()
    real = browser.cookie
    assert real is not None
    row = hashlib.sha256(real.encode()).hexdigest()
    for forged in (row, real[:-1], real + "0", real[:-1] + ("1" if real[-1] == "0" else "0"), "0" * 64, "\xe9" * 64):
        browser.cookie = forged
        assert refused(browser.get("/console/api/session")) == EXPIRED
        assert refused(browser.call()) == EXPIRED
    browser.cookie = real
    site.wait(IDLE_S - 1)
    assert browser.call().status == 200  # It was used, and lives as long again.
    site.wait(IDLE_S - 1)
    assert browser.call().status == 200
    site.wait(IDLE_S)
    assert refused(browser.call()) == EXPIRED
    browser.log_in()
    for _ in range(int(AGE_S / (IDLE_S - 1))):
        assert browser.call().status == 200
        site.wait(IDLE_S - 1)
    assert browser.call().status == 200
    site.wait(AGE_S % (IDLE_S - 1) + 1)  # Used a moment ago, and too old all the same.
    assert refused(browser.call()) == EXPIRED
    assert asyncio.run(site.sessions.prune()) == 1  # Logging in again has ended the first one.
    assert site.world.db.read_sync(lambda conn: logins.sessions_of(conn, OWNER)) == []


def test_sessions_survive_a_restart_and_are_few(site: Site) -> None:
    browsers = [Browser(site) for _ in range(browser_sessions.SESSIONS_MAX + 1)]
    for browser in browsers:
        assert browser.log_in().status == 200
        site.wait(1)
    site.restart()
    assert refused(browsers[0].call()) == EXPIRED
    assert all(browser.call().status == 200 for browser in browsers[1:])
    # A browser that logs in again gives its session up.
    old = browsers[5].cookie
    browsers[5].log_in()
    assert browsers[1].call().status == 200
    browsers[5].cookie = old
    assert refused(browsers[5].call()) == EXPIRED


def test_use_is_noted_once_a_minute(site: Site) -> None:
    browser = Browser(site)
    browser.log_in()
    began = site.world.now

    def used_at() -> float:
        return site.world.db.read_sync(lambda conn: logins.sessions_of(conn, OWNER))[0].used_at

    site.wait(59)
    browser.call()
    assert used_at() == began
    site.wait(1)
    browser.call()
    assert used_at() == began + 60


@pytest.mark.parametrize("path", ["call/cbs/TerminateDisks", "password", "logout"])
def test_a_change_needs_the_token_of_its_own_session(site: Site, path: str) -> None:
    browser, other = Browser(site), Browser(site)
    browser.log_in()
    other.log_in("other")
    for token in (None, "", "0" * 64, other.csrf, browser.cookie, "\xe9"):
        assert refused(browser.post(path, x_csrf_token=token)) == (403, "AuthFailure.CsrfTokenWrong")
    assert all(row[0].action == "ConsoleLogin" for row in site.rig.trail.rows)
    assert browser.get("/console/api/session").status == 200


@pytest.mark.parametrize("path", ["call/cbs/TerminateDisks", "password", "logout", "login"])
@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", f"http://{HOST}.evil.example", f"ftp://{HOST}", "http://console.example"],
)
def test_pages_of_other_servers_are_refused(site: Site, path: str, origin: str) -> None:
    browser = Browser(site)
    browser.log_in()
    body = {"Account": "admin", "Password": PASSWORD}
    assert refused(browser.post(path, body, origin=origin)) == (403, "AuthFailure.OriginNotAllowed")
    assert browser.call().status == 200


def test_a_client_without_origin_and_one_behind_https(site: Site) -> None:
    browser = Browser(site)
    assert browser.log_in(origin=None).status == 200
    assert browser.log_in(origin=f"https://{HOST.upper()}").status == 200


def test_tries_are_limited_by_account_from_wherever_they_come(site: Site) -> None:
    for number in range(ACCOUNT_TRIES):
        assert refused(Browser(site, f"192.0.2.{number}").log_in("admin", "wrong")) == WRONG
    answer = Browser(site, "198.51.100.1").log_in()
    assert refused(answer) == LIMITED
    assert answer.headers[b"retry-after"] == b"60"
    assert len(site.hashing.verified) == ACCOUNT_TRIES
    assert Browser(site, "198.51.100.1").log_in("other").status == 200
    site.wait(60)
    assert Browser(site, "198.51.100.1").log_in().status == 200


def test_tries_are_limited_by_address_whatever_the_account(site: Site) -> None:
    for number in range(ADDRESS_TRIES):
        assert refused(Browser(site).log_in(f"name {number}", "wrong")) == WRONG
    assert refused(Browser(site).log_in()) == LIMITED
    assert Browser(site, "192.0.2.8").log_in().status == 200
    for number in range(ADDRESS_TRIES):
        Browser(site, f"2001:db8:1:2::{number:x}").log_in(f"name {number}", "wrong")
    assert refused(Browser(site, "2001:db8:1:2:ffff::1").log_in("other")) == LIMITED


def test_tries_beyond_the_limits_cost_no_row(site: Site) -> None:
    with capture_logs() as lines:
        for _ in range(ACCOUNT_TRIES + 20):
            Browser(site).log_in("other", "wrong")
        site.wait(TOLD_S - 1)
        for _ in range(20):
            Browser(site).log_in("other", "wrong")
        site.wait(1)
        Browser(site).log_in("other", "wrong")
        Browser(site).log_in("other", "wrong")
    assert [code for _, _, code in site.rig.trail.rows] == ["AuthFailure.PasswordWrong"] * (ACCOUNT_TRIES + 1)
    assert [line["tries"] for line in lines if line["event"] == "console.logins_limited"] == [1, 40]


def test_tries_that_succeed_do_not_count(site: Site) -> None:
    browser = Browser(site)
    for _ in range(ADDRESS_TRIES + 1):
        assert browser.log_in().status == 200


def test_tries_are_kept_in_bounded_memory(site: Site) -> None:
    limits = site.app._limits
    for number in range(12_000):
        limits.begin(f"name {number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limits._accounts) == len(limits._addresses) == 10_000


def test_a_password_is_changed_by_who_knows_it(site: Site) -> None:
    """S71."""
    browser, elsewhere = Browser(site), Browser(site)
    browser.log_in()
    elsewhere.log_in()
    new = "a longer one than before"
    assert refused(browser.post("password", {"Old": "wrong", "New": new})) == (400, "AuthFailure.PasswordWrong")
    for bad in ("short", "x" * 257, "new\nline in a password"):
        assert refused(browser.post("password", {"Old": PASSWORD, "New": bad})) == (400, "InvalidParameterValue")
    assert refused(browser.post("password", {"Old": PASSWORD})) == (400, "MissingParameter")
    assert site.changes == 0
    assert elsewhere.call().status == 200
    assert browser.post("password", {"Old": PASSWORD, "New": new}).status == 200
    assert site.changes == 1
    assert browser.call().status == 200
    assert refused(elsewhere.call()) == EXPIRED
    assert refused(elsewhere.log_in()) == WRONG
    assert elsewhere.log_in(password=new).status == 200
    codes = [code for caller, _, code in site.rig.trail.rows if caller.action == "ConsolePassword"]
    assert codes == ["AuthFailure.PasswordWrong", *["InvalidParameterValue"] * 3, "OK"]
    # The trail and the log hold no password.
    assert not any(text in str(site.rig.trail.rows) for text in (PASSWORD, new))


def overtake(site: Site, monkeypatch: pytest.MonkeyPatch, new: str) -> None:
    """Have an administrator set the password of `other` while the next one is being verified."""
    verify = site.hashing.verify

    async def overtaken(hashed: str | None, password: str) -> bool:
        monkeypatch.setattr(site.hashing, "verify", verify)
        right = await verify(hashed, password)
        await site.passwords.set(caller(OWNER, admin=True), None, "other", new)
        return right

    monkeypatch.setattr(site.hashing, "verify", overtaken)


def test_a_log_in_that_a_new_password_overtakes_begins_no_session(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """S71."""
    browser = Browser(site)
    overtake(site, monkeypatch, "the new one of other")
    assert refused(browser.log_in("other")) == WRONG
    assert browser.cookie is None
    assert site.world.db.read_sync(lambda conn: logins.sessions_of(conn, OTHER)) == []
    # Nor does a change with the old one take the place of the new one.
    assert browser.log_in("other", "the new one of other").status == 200
    overtake(site, monkeypatch, "a newer one of other")
    change = {"Old": "the new one of other", "New": "what a thief would like"}
    assert refused(browser.post("password", change)) == (400, "AuthFailure.PasswordWrong")
    assert browser.log_in("other", "a newer one of other").status == 200


def test_old_passwords_are_not_guessed_through_a_session(site: Site) -> None:
    browser = Browser(site)
    browser.log_in()
    for _ in range(ACCOUNT_TRIES):
        browser.post("password", {"Old": "wrong", "New": "long enough to be one"})
    assert refused(browser.post("password", {"Old": PASSWORD, "New": "long enough to be one"})) == LIMITED


def test_the_first_password_is_kept_before_it_holds(site: Site) -> None:
    """S72."""
    site.world.db.write_sync(lambda conn: logins._passwords.delete(conn, OWNER))
    kept: list[str] = []

    async def lost(password: str) -> None:
        kept.append(password)
        raise OSError("disk full")

    async def keep(password: str) -> None:
        kept.append(password)

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(site.passwords.first(lost))
    assert refused(Browser(site).log_in(password=kept[0])) == WRONG
    assert asyncio.run(site.passwords.first(keep)) == kept[1] != kept[0]
    assert len(kept[1]) == 23
    assert asyncio.run(site.passwords.first(keep)) is None
    browser = Browser(site)
    assert browser.log_in(password=kept[1]).status == 200
    assert asyncio.run(site.passwords.first_holds())
    browser.post("password", {"Old": kept[1], "New": PASSWORD})
    assert not asyncio.run(site.passwords.first_holds())


def test_administrators_set_passwords(site: Site) -> None:
    admin, other = Browser(site), Browser(site)
    admin.log_in()
    other.log_in("other")
    by_key = caller(OWNER, admin=True)
    made = asyncio.run(site.passwords.set(by_key, None, "other", None))
    assert made is not None
    assert refused(other.call()) == EXPIRED
    assert other.log_in("other", made).status == 200
    assert asyncio.run(site.passwords.set(by_key, OTHER, None, PASSWORD)) is None
    assert other.log_in("other").status == 200

    def code(*arguments: str | None, admin: bool = True, browser: bool = False) -> str:
        asking = caller(OWNER, admin=admin)
        if browser:
            object.__setattr__(asking, "browser", True)
        with pytest.raises(RefusalError) as caught:
            asyncio.run(site.passwords.set(asking, *arguments))
        return caught.value.kind

    assert code(OTHER, None, None, admin=False) is Refusal.NOT_ALLOWED
    assert code(None, "admin", None, browser=True) is Refusal.NOT_ALLOWED
    assert code(None, "nobody", None) is Refusal.NO_SUCH_THING
    assert code(None, None, None) == code(OTHER, "other", None) == Refusal.MISSING
    assert code(None, "other", "short") is Refusal.BAD_VALUE
