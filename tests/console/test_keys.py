"""What a session makes that outlives it: the password is given again, and it goes with the password."""

import asyncio
from dataclasses import replace

import pytest

from drystone.api.services import SERVICES
from drystone.catalog import accounts as account_rows
from drystone.console.limits import ACCOUNT_TRIES
from drystone.domain.errors import Refusal, RefusalError
from drystone.service.caller import Caller
from tests.api.asgi import TerminateDisks, Toy
from tests.console.site import PASSWORD, Browser, Site, refused, told
from tests.service.records_world import OTHER, OWNER

CALLER = Caller(
    account_id=OWNER, admin=True, secret_id="console-0123456789abcdef", request_id="r", action="CreateKey", source="a",
    browser=True,
)  # fmt: skip


def confirmed(site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return what each call of the toy action was told."""
    seen: list[bool] = []

    async def behave(caller: Caller, parameters: Toy) -> dict[str, object]:
        seen.append(caller.confirmed)
        return {}

    site.rig.behaviour[:] = [behave]
    monkeypatch.setattr(TerminateDisks, "password_again", True)
    return seen


def test_the_password_is_good_for_one_call(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, other = Browser(site), Browser(site)
    browser.log_in()
    other.log_in()
    seen = confirmed(site, browser, monkeypatch)
    browser.call()
    assert browser.post("confirm", {"Password": PASSWORD}).status == 200
    other.call()
    # Another action does not use it up.
    browser.call("DescribeDisks")
    browser.call()
    browser.call()
    assert browser.post("confirm", {"Password": PASSWORD}).status == 200
    site.wait(61)
    browser.call()
    assert seen == [False, False, False, True, False, False]


def test_a_wrong_password_confirms_nothing_and_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(site)
    browser.log_in()
    seen = confirmed(site, browser, monkeypatch)
    for _ in range(ACCOUNT_TRIES):
        assert refused(browser.post("confirm", {"Password": "wrong"})) == (400, "AuthFailure.PasswordWrong")
    assert refused(browser.post("confirm", {"Password": PASSWORD})) == (429, "RequestLimitExceeded")
    browser.call()
    assert seen == [False]
    assert [code for caller, _, code in site.rig.trail.rows if caller.action == "ConsoleConfirm"] == (
        ["AuthFailure.PasswordWrong"] * ACCOUNT_TRIES
    )


def test_wrong_passwords_of_strangers_do_not_block_an_open_session(site: Site) -> None:
    """S189."""
    browser, neighbour = Browser(site), Browser(site)
    browser.log_in()
    for at in range(10 * ACCOUNT_TRIES):
        Browser(site, address=f"198.51.100.{at}").log_in("admin", "wrong password")
        neighbour.log_in("nobody", "wrong password")
    assert Browser(site, address="203.0.113.1").log_in().status == 429
    assert browser.post("confirm", {"Password": PASSWORD}).status == 200
    for _ in range(ACCOUNT_TRIES):
        assert refused(browser.post("password", {"Old": "wrong", "New": "another long password"}))[0] == 400
    assert browser.post("password", {"Old": PASSWORD, "New": "another long password"}).status == 429
    site.wait(61)
    assert browser.post("password", {"Old": PASSWORD, "New": "another long password"}).status == 200


def test_confirming_needs_a_session_and_its_page(site: Site) -> None:
    assert refused(Browser(site).post("confirm", {"Password": PASSWORD})) == (401, "AuthFailure.SessionExpired")
    browser = Browser(site)
    browser.log_in()
    assert refused(browser.post("confirm", {"Password": PASSWORD}, x_csrf_token="0" * 64)) == (
        403, "AuthFailure.CsrfTokenWrong",
    )  # fmt: skip
    assert browser.post("confirm", {"Password": PASSWORD}, origin="http://evil.example").status == 403


def test_what_outlives_a_session_needs_the_password(site: Site) -> None:
    """S153."""
    accounts, passwords = site.world.accounts, site.passwords
    for call in (
        accounts.create_own_key,
        lambda caller: accounts.create_key(caller, OWNER),
        lambda caller: accounts.create(caller, "web"),
        lambda caller: passwords.set(caller, None, "web", None),
    ):
        with pytest.raises(RefusalError) as refusal:
            asyncio.run(call(CALLER))
        assert refusal.value.kind is Refusal.PASSWORD_NEEDED
        asyncio.run(call(replace(CALLER, confirmed=True)))
    again = {name for service in SERVICES for name, action in service.actions.items() if action.password_again}
    assert again == {"CreateKey", "CreateAccessKey", "CreateAccount", "SetAccountPassword"}
    asyncio.run(accounts.create_own_key(replace(CALLER, browser=False, secret_id="AKIDx")))
    made = asyncio.run(accounts.describe_own_keys(CALLER))
    assert sorted(str(key.made_by) for key in made) == ["AKIDx", CALLER.secret_id, CALLER.secret_id]


def made_in(site: Site, browser: Browser) -> str:
    """Make a key as a session does; return its id."""
    assert browser.cookie is not None
    opened = asyncio.run(site.sessions.find(browser.cookie))
    assert opened is not None
    caller = replace(CALLER, account_id=opened.account.id, secret_id=opened.public_id, confirmed=True)
    return asyncio.run(site.world.accounts.create_own_key(caller)).secret_id


def made_with(site: Site, secret_id: str) -> str:
    """Make a key as the holder of another one does; return its id."""
    caller = replace(CALLER, browser=False, secret_id=secret_id)
    return asyncio.run(site.world.accounts.create_own_key(caller)).secret_id


def keys(site: Site) -> set[str]:
    return {key.secret_id for key in site.world.db.read_sync(lambda conn: account_rows.keys_of(conn, OWNER))}


def test_keys_of_sessions_end_with_the_password(site: Site) -> None:
    kept, gone = Browser(site), Browser(site)
    kept.log_in()
    gone.log_in()
    signed = asyncio.run(
        site.world.accounts.create_own_key(replace(CALLER, browser=False, secret_id="AKIDx"))
    ).secret_id
    mine, theirs = made_in(site, kept), made_in(site, gone)
    assert gone.post("logout").status == 200
    assert keys(site) == {signed, mine, theirs}
    # Who knew the password could have made the other one.
    assert kept.post("password", {"Old": PASSWORD, "New": "another long password"}).status == 200
    assert keys(site) == {signed, mine}
    asyncio.run(site.passwords._put(OWNER, PASSWORD, but_session=""))
    assert keys(site) == {signed}


@pytest.mark.parametrize("ended", ["password", "logout"])
def test_what_a_key_of_a_session_made_goes_with_it(site: Site, ended: str) -> None:
    """S188."""
    owner, thief = Browser(site), Browser(site)
    owner.log_in()
    thief.log_in()
    mine = made_in(site, owner)
    signed = made_with(site, "AKIDx")
    kept = {mine, signed, made_with(site, mine), made_with(site, signed)}
    first = made_in(site, thief)
    second = made_with(site, first)
    third = made_with(site, second)
    # The one in the middle is deleted, so that the last one's maker is not there.
    asyncio.run(site.world.accounts.delete_own_key(CALLER, second, force=False))
    assert keys(site) == {*kept, first, third}
    asyncio.run(site.world.accounts.delete_own_key(CALLER, first, force=False))
    again = made_with(site, third)
    assert keys(site) == {*kept, third, again}
    if ended == "logout":
        assert thief.post("logout", {"RevokeKeys": True}).status == 200
    else:
        assert owner.post("password", {"Old": PASSWORD, "New": "another long password"}).status == 200
    assert keys(site) == kept


def test_keys_end_with_their_session_where_that_is_asked_for(site: Site) -> None:
    browser, other = Browser(site), Browser(site)
    browser.log_in()
    other.log_in()
    mine, theirs = made_in(site, browser), made_in(site, other)
    assert refused(browser.post("logout", {"RevokeKeys": "yes"}))[0] == 400
    assert browser.post("logout", {"RevokeKeys": True}).status == 200
    assert keys(site) == {theirs}
    assert mine != theirs
    assert site.revoked == 1
    assert told(other.get("/console/api/session"))["AccountId"] == OWNER


def test_a_password_of_another_account_revokes_nothing(site: Site) -> None:
    browser = Browser(site)
    browser.log_in()
    mine = made_in(site, browser)
    asyncio.run(site.passwords._put(OTHER, PASSWORD, but_session=""))
    assert keys(site) == {mine}
