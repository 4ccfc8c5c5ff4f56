import os
import re
from dataclasses import fields, replace
from pathlib import Path

import msgspec
import pytest

from drystone.client_settings import ClientSettings, parse_credentials
from drystone.config import Config
from drystone.domain.errors import ConfigError
from drystone.objects.address import DirectoryAddress, S3Address
from drystone.objects.limited import Limits
from drystone.prove.machine import USERS_EACH
from drystone.server.store_place import store_place
from tests.house.configuration_page import page

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = ClientSettings(
    endpoint="http://127.0.0.1:8081",
    region="ap-local",
    zone="ap-local-1",
    secret_id="AKIDtest",
    secret_key="do-not-print",
    host_instance_id="ins-aaaaaaaa",
    nbd_instance_id="ins-bbbbbbbb",
)
KEYED = {"TENCENTCLOUD_SECRET_ID": "AKIDenv", "TENCENTCLOUD_SECRET_KEY": "k"}


def write(directory: Path, settings: ClientSettings = SETTINGS) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "credentials.env").write_text(settings.credentials())
    return directory


def test_credentials_round_trip_and_hide_the_secret(tmp_path: Path) -> None:
    assert ClientSettings.load(write(tmp_path / "d"), {}) == SETTINGS
    assert "do-not-print" not in repr(SETTINGS)


def test_credentials_accept_quotes_comments_and_export() -> None:
    text = "# a comment\n\nexport A='1 2'\nB=\"x\"\nC=a=b\nno equals sign\n"
    assert parse_credentials(text) == {"A": "1 2", "B": "x", "C": "a=b"}


def test_places_are_tried_in_order_and_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {**KEYED, "DRYSTONE_ENDPOINT": "http://example.test:1/"}
    assert ClientSettings.load(None, environment).endpoint == "http://example.test:1"
    # A key without a server is used only when no data directory is found.
    assert ClientSettings.load(None, KEYED).endpoint == "http://127.0.0.1:8080"
    write(tmp_path / "data")
    assert ClientSettings.load(None, KEYED) == SETTINGS
    assert ClientSettings.load(None, environment).host_instance_id is None
    other = write(tmp_path / "other", ClientSettings.load(None, environment))
    assert ClientSettings.load(None, {"DRYSTONE_DATA": str(other)}).secret_id == "AKIDenv"
    assert ClientSettings.load(tmp_path / "data", environment) == SETTINGS


def test_a_directory_that_the_environment_overrides_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, other = write(tmp_path / "here"), write(tmp_path / "other", replace(SETTINGS, endpoint="http://[::1]:1"))
    sourced = parse_credentials((here / "credentials.env").read_text())

    def unused(named: str) -> str:
        return ClientSettings.load(None, {**sourced, "DRYSTONE_DATA": named}).unused or ""

    assert unused("") == unused(str(here)) == ""
    assert unused(str(other)).startswith(f"DRYSTONE_DATA={other} is not used")
    assert SETTINGS.endpoint in unused(str(tmp_path / "nowhere"))
    assert ClientSettings.load(other, {**sourced, "DRYSTONE_DATA": str(here)}).unused is None
    # Where the user may not look, nothing is known to differ.

    def refused(*_given: object, **_named: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)
    assert unused(str(other)) == ""


def test_client_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if not os.access("/var/lib/drystone/credentials.env", os.R_OK):
        with pytest.raises(ConfigError, match="give --data DIR"):
            ClientSettings.load(None, {})
    with pytest.raises(ConfigError, match=r"missing/credentials.env does not exist"):
        ClientSettings.load(Path("missing"), {})
    (tmp_path / "credentials.env").write_text("TENCENTCLOUD_SECRET_ID=x\n")
    with pytest.raises(ConfigError, match="TENCENTCLOUD_SECRET_KEY is missing"):
        ClientSettings.load(tmp_path, {})
    with pytest.raises(ConfigError, match="must begin with http"):
        ClientSettings.load(None, {**KEYED, "DRYSTONE_ENDPOINT": "127.0.0.1:8080"})


def test_server_defaults_and_file(tmp_path: Path) -> None:
    assert Config.load(tmp_path) == Config(data=tmp_path)
    (tmp_path / "drystone.toml").write_text('workers = 4\nport = 1\nthrottle = false\nlog_level = "debug"\n')
    config = Config.load(tmp_path, port=9000)
    assert (config.workers, config.port, config.throttle, config.log_level) == (4, 9000, False, "debug")
    assert Config.load(tmp_path).port == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker = 1", "unknown key 'worker'"),
        ('data = "x"', "unknown key 'data'"),
        ("workers = true", "workers must be of type int"),
        ("workers = 0", "from 1 to 256"),
        ("throttle = 1", "throttle must be of type bool"),
        ('log_level = "loud"', "log_level is 'loud'"),
        ('zone = "a b"', "zone is 'a b'"),
        ('host = ""', "host must not be empty"),
        ("workers = ", "cannot read"),
        ('experimental = ["mysql"]', "experimental has 'mysql'"),
        ("store_sealed = true", 'experimental = \\["sealed"\\]'),
        ('catalog_url = "postgresql+psycopg://u@h/d"', 'experimental = \\["postgresql"\\]'),
    ],
)
def test_server_file_is_checked(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "drystone.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Config.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('store_url = "https://x/y"', "must be s3://BUCKET"),
        ('store_url = "s3://B"', "must be s3://BUCKET"),
        ('store_url = "s3://bucket/../x"', "must be s3://BUCKET"),
        ('store_url = "s3://bucket/a b"', "letters A-Z and a-z"),
        ('store_url = "s3://bucket"\nstore_endpoint = "http://key:secret@x"', "no keys in it"),
        ('store_endpoint = "http://x:1"', "store_url"),
        ('store_mb_per_s_at = ["22:00-06:00"]', "no stretch of a day"),
        ('store_mb_per_s_at = ["24:00-06:00 5"]', "no stretch of a day"),
        ('store_mb_per_s_at = ["22:00-06:00 5", "05:59-07:00 6"]', "another entry is about"),
        ('store_mb_per_s_at = "22:00-06:00 5"', "list of strings"),
        ('store_time_zone = "Mars/Base"', "no such time zone"),
        ('store_time_zone = "../etc/passwd"', "no such time zone"),
    ],
)
def test_where_the_bucket_is_is_checked(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "drystone.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Config.load(tmp_path)


def test_the_place_of_the_store_follows_the_configuration(tmp_path: Path) -> None:
    assert store_place(Config.load(tmp_path), environment={}) == DirectoryAddress(root=str(tmp_path / "store"))
    (tmp_path / "drystone.toml").write_text(
        'store_url = "s3://bucket/a/b/"\nstore_endpoint = "https://s3.example"\nstore_region = "eu-1"\n'
        "store_path_style = false\nstore_mb_per_s = 5\n"
    )
    config = Config.load(tmp_path)
    with pytest.raises(ConfigError, match="there are no keys for s3://bucket/a/b"):
        store_place(config, environment={})
    place = store_place(config, environment={"AWS_ACCESS_KEY_ID": "a"})
    assert isinstance(place, S3Address)
    assert (place.bucket, place.prefix, place.keys_file, place.region) == ("bucket", "a/b", None, "eu-1")
    assert (place.endpoint, place.path_style, place.limits) == (
        "https://s3.example",
        False,
        Limits(bytes_per_s=5_000_000),
    )
    keys = tmp_path / "store.env"
    keys.write_text("AWS_ACCESS_KEY_ID=hidden-id\nAWS_SECRET_ACCESS_KEY=hidden\n")
    keys.chmod(0o644)
    with pytest.raises(ConfigError, match=r"chmod 600 .*: it has keys, and others may read it"):
        store_place(config, environment={})
    keys.chmod(0o600)
    found = store_place(config, environment={})
    assert isinstance(found, S3Address)
    assert found.keys_file == str(keys)
    assert "hidden" not in msgspec.json.encode(found).decode() + repr(found) + str(found)


def test_the_page_of_the_configuration_is_up_to_date() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == page(), "run ./dev docs"


def test_the_page_tells_all_of_each_key(tmp_path: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \| (.+) \|$", page(), re.MULTILINE)
    assert [name for name, *_ in rows] == [field.name for field in fields(Config) if field.name != "data"]
    for name, default, unit, values, reason in rows:
        assert (unit == "\u2013") == (" to " not in values), name
        assert reason.endswith("."), name
        if default != "\u2013":
            # As it is written, a file may hold it.
            (tmp_path / "drystone.toml").write_text(f"{name} = {default.strip('`')}\n")
            assert Config.load(tmp_path) == Config(data=tmp_path)


def test_every_machine_of_a_proof_has_a_user(tmp_path: Path) -> None:
    """S191 lets one more run than `prove_at_once`, and one that was ended may still be there."""
    (tmp_path / "drystone.toml").write_text(f"prove_at_once = {USERS_EACH - 2}")
    assert Config.load(tmp_path).prove_at_once == USERS_EACH - 2
    (tmp_path / "drystone.toml").write_text(f"prove_at_once = {USERS_EACH - 1}")
    with pytest.raises(ConfigError, match="prove_at_once"):
        Config.load(tmp_path)
