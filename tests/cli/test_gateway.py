"""How long the command line waits for an answer."""

from typing import Any

import pytest
import requests

from drystone.cli.gateway import HOLDING_TIMEOUT_S, REQUEST_TIMEOUT_S
from drystone.domain import quiesce
from drystone.quiesce import hold
from drystone.service.calls import snapshot_lifecycle

from .conftest import Command


def test_a_snapshot_may_take_as_long_as_its_profile_allows(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    held = hold.START_SECONDS_MAX + quiesce.FREEZE_SECONDS_MAX + hold.THAW_SECONDS_MAX
    assert held + 2 * snapshot_lifecycle.FREEZE_SECONDS_MAX < HOLDING_TIMEOUT_S
    request = requests.Session.request
    limits: list[tuple[str, float]] = []

    def noted(session: requests.Session, *args: Any, **options: Any) -> Any:
        limits.append((options["headers"]["X-TC-Action"], options["timeout"]))
        return request(session, *args, **options)

    monkeypatch.setattr(requests.Session, "request", noted)
    assert command("snapshot", "create", "disk-aaaaaaaa", "--no-wait").code == 0
    assert command("snapshot-group", "create", "disk-aaaaaaaa", "--no-wait").code == 0
    slow = {"CreateSnapshot": HOLDING_TIMEOUT_S, "CreateSnapshotGroup": HOLDING_TIMEOUT_S}
    assert dict(limits).keys() > slow.keys()
    assert limits == [(action, slow.get(action, REQUEST_TIMEOUT_S)) for action, _ in limits]
