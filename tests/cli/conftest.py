import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drystone.cli.app import build_app, run
from drystone.cli.session import Outside
from drystone.cli.watch import make_watchable
from drystone.client_settings import ClientSettings

from .fake_service import FakeService, serving, standard

SECRET = "the-secret-that-nobody-sees"


@dataclass
class Time:
    """A clock that sleeping moves."""

    now: float = 1_800_000_000.0
    slept: list[float] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    """What happens while somebody sleeps."""

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds
        self.meanwhile()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = standard()
    with serving(fake) as url:
        fake.endpoint = url
        yield fake


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(
    service: FakeService,
    clock: Time,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """Run one command against the fake service; nothing it prints may contain the secret key."""
    monkeypatch.chdir(tmp_path)
    settings = ClientSettings(
        endpoint=service.endpoint,
        region="ap-local",
        zone="ap-local-1",
        secret_id="AKIDtest",
        secret_key=SECRET,
        host_instance_id="ins-aaaaaaaa",
        nbd_instance_id="ins-bbbbbbbb",
    )
    directory = tmp_path / "server"
    directory.mkdir()
    (directory / "credentials.env").write_text(settings.credentials())
    outside = Outside(clock=lambda: clock.now, monotonic=lambda: clock.now, sleep=clock.sleep)

    def call(*tokens: str, data: bool = True) -> Ended:
        app = build_app(outside)
        make_watchable(app, outside)
        code = run(app, [*tokens, *(["--data", str(directory)] if data else [])])
        captured = capsys.readouterr()
        assert SECRET not in captured.out + captured.err
        assert "Traceback" not in captured.err
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def real_time_outside() -> Outside:
    return Outside(clock=time.time, monotonic=time.monotonic, sleep=time.sleep)
