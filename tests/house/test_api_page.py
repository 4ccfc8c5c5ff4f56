"""docs/api.md says what is served, and nothing that is documented is left out of that."""

import pytest

from drystone.api.cbs import CBS
from drystone.api.cbs.service import NOT_SERVED
from tests.guides.pages import ROOT
from tests.house.api_page import API, absent, documented, page, served


def test_the_page_is_what_is_served() -> None:
    assert (ROOT / "docs/api.md").read_text() == page(), "run ./dev docs"


@pytest.mark.parametrize("action", sorted(CBS.actions))
def test_each_served_action_is_served_whole(action: str) -> None:
    assert not absent(action)
    assert not set(documented(f"{action}Request")) - set(served(action, "parameters"))


def test_nothing_is_unsupported_but_what_makes_or_prices_remote_disks() -> None:
    """Such hardware is not here, so that the documents let these be refused."""
    assert set(API["actions"]) == set(CBS.actions) | NOT_SERVED
    remote = {name for name in API["actions"] if "RemoteDisk" in name and not name.startswith("Describe")}
    assert remote == NOT_SERVED
