"""Configuration: what the server is told. It is read once and frozen."""

import os
import re
import tomllib
import typing
from dataclasses import dataclass, field, fields
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from drystone.domain.errors import ConfigError
from drystone.objects.limited import parse_hours

GIB = 1 << 30
SERVER_FILE = "drystone.toml"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)/?")
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/?")
TLS_KINDS = ("off", "self")
LOG_LEVELS = ("debug", "info", "warning", "error")
EXPERIMENTAL = ("postgresql", "sealed")
"""What may be asked for although it is not finished."""


def environment_of_store() -> dict[str, str]:
    """Return the variables by which a process reaches a bucket: keys as AWS's programs have them, and proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AWS_") or name.upper() in {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """Smallest and largest value that a number may have."""

    least: int
    most: int


def _number(default: int, *, unit: str, least: int, most: int) -> int:
    return field(default=default, metadata={"bounds": _Bounds(least=least, most=most), "unit": unit})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the server is told, from `DIR/drystone.toml` and the command line.

    Attributes:
        data: Directory under which everything lives.
        port: TCP port; 0 takes a free one.
        host: Address to listen on. Off this machine only with TLS, or where `plain_http` allows it.
        host_names: Names that clients may use besides the address listened on and localhost: `storage.example`, or
            `*.storage.example` for all below it. Also the names, and addresses, of a proxy in front.
        tls: `self` makes a certificate under `DIR/tls` at the first start; `off` serves plain HTTP, or `tls_cert`.
        tls_cert: PEM file of the certificate and those between it and its authority; taken anew when it changes.
        tls_key: PEM file of its private key.
        tls_ca: PEM file of the authority, for the command line on this machine; if it is not a public one.
        plain_http: Whether plain HTTP may be served off this machine: whoever is on the way can read, and can send
            a call again as another one from the client's own address. For a TLS proxy on a network of one's own.
        connections_max: Connections at a time; beyond it the least proven is closed. Each is a file descriptor.
        connections_per_address: How many of these one address may have; this machine's own have no such limit.
        region: Name of the only region; requests must name it.
        zone: Name of the only zone.
        snapshots_per_disk: Most snapshots of one disk; CBS has 64.
        snapshots_per_region: Most snapshots of one account; 0: 64 + 64 for each disk, as CBS has it.
        snapshot_gib_per_region: Most stored GiB of one account's snapshots; 0: no limit.
        disks_per_account: Most disks of one account, unless the administrator sets another number for it; 0: no limit.
        disk_gib_per_account: Most GiB of one account's disks together, likewise. Images grow with what is written: this
            bounds what an account may ever write; 0: no limit.
        disks_per_instance: Most disks attached to one instance; CBS has 20.
        disks_per_call: Most disks that one CreateDisks makes.
        rate_limits: Whether calls are limited per account and action.
        rate_per_action: Calls per second of one account and action; CBS has 20.
        rate_describe_disks: Calls per second of DescribeDisks of one account; CBS has 100.
        rate_per_account: Calls per second of one account, of all actions together.
        free_quota_gib: Shown by DescribeSnapshotOverview; nothing is billed.
        throttle: Whether disks are held to the IOPS and throughput of their type and size.
        scratch_bytes_max: Bytes that all snapshots being taken may hold back for overwritten blocks;
            beyond it a snapshot fails, never a guest.
        floor_bytes_max: Free space that belongs to the guests' disks alone, or `floor_percent` if that is less:
            near it snapshots are broken, so that guests can go on writing.
        floor_percent: The same, as a share of the file system.
        workers: Processes that move data; about one per core that snapshots may use.
        hydration_bytes_per_s: Rate at which one new disk is filled from its snapshot; 0: no limit.
        compaction_dead_percent: A pack is written again when at least this share of it is dead; 101 never does.
        time_zone_offset_hours: Zone of the API's times that carry none; clients of CBS expect Beijing's, 8.
        expiry_percent_per_hour: Most of an account's snapshots that deadlines may delete in an hour (ten at least), so
            that a clock that is wrong for long cannot delete them all; an account at its quota is not held back.
        backup_minutes: Minutes between two copies of the catalog in `DIR/backups`; 0: none.
        backups_kept: How many of these copies stay.
        rescan_after_s: How long a disk's tracking must have been lost before disk and parent are compared in the
            background; 0: at once.
        scrub_days: Days within which everything in the store is read and proven; 0: only when asked for.
        scrub_mb_per_s: Most MB per second that are read for it; 0: no limit.
        console_idle_minutes: Minutes after which a browser that is not used is logged out.
        console_session_hours: Hours after which a browser is logged out however much it is used.
        history_days: How long the hourly figures for the console's charts are kept.
        audit_entries_max: Most entries of the audit trail: a year of 700 changes a day. Beyond it refused calls go
            first, then changes, of the account that has most the oldest. Each backup of the catalog has the trail, too.
        audit_mb_max: Most MB of the audit trail, likewise.
        prove: Whether snapshots may be opened to prove that they open, in a virtual machine that is thrown away.
        prove_minutes: Longest time of one proof; what was not opened by then is not proven.
        prove_idle_minutes: Longest time in which a proof ends no step and reads and writes nothing; then it hangs.
        prove_memory_mib: Memory of one proof's machine: checkers of large file systems need it.
        prove_at_once: Proofs that run at once, each with a machine and one processor; and one more of an account that
            has none running.
        prove_kvm: Whether the processor's virtualisation is tried; emulation, which is some ten times slower, takes
            its place.
        prove_kernels: Directory below which `boot` and `lib/modules` of the machine's kernel are.
        prove_images: Directory of the image of programs; `auto` is `DIR/prove`. Several servers may share one.
        store_url: Bucket in which snapshots are, `s3://BUCKET`, or what is below a prefix of it, `s3://BUCKET/PREFIX`;
            without it they are in the directory `DIR/store`. Keys are in `DIR/store.env`, which only the server's user
            may read, or in the environment, as AWS's programs have them (docs/use/s3.md).
        store_endpoint: URL of an S3 service that is not AWS.
        store_region: Region of the bucket, as the service calls it.
        store_ca_file: PEM file of authorities that the service's certificate may be of, beside the system's.
        store_path_style: Whether the bucket's name is part of the path of requests, and not of the host's name.
        store_mb_per_s: Most MB per second that go to the bucket and come from it, of snapshots and upkeep. What
            disks read, and are filled with, counts and is not held back, for guests wait for it; 0: no limit.
        store_mb_per_s_at: Other limits at some hours, as `["22:00-06:00 100", "12:00-13:00 5"]`, in MB per second.
        store_time_zone: In which these hours are, as `Europe/Berlin`; without it, this machine's.
        store_spool_bytes_max: Bytes that snapshots may keep in `DIR/store-spool`, written and not yet in the bucket,
            so that frozen disks are let go at the speed of this machine; beyond it they wait for the bucket; 0: none.
        store_sealed: Whether a store that the first start makes is sealed: encrypted, with keys in `DIR/keys`, without
            which no snapshot can be restored. It changes nothing of a store that is there.
        store_wait_minutes: How long a disk that is still being filled from a snapshot waits for a bucket that does not
            answer, before its guest is told that it cannot be read.
        log_level: debug, info, warning or error.
        catalog_url: Database of PostgreSQL that the catalog is in, `postgresql+psycopg://USER@HOST/DATABASE`, with
            libpq's parameters; without it, it is the file `DIR/catalog.db`. Only with the experiment `postgresql`.
        experimental: What is asked for although it is not finished: `postgresql` (docs/understand/catalog.md), `sealed`
            (docs/format.md).
    """

    data: Path
    port: int = _number(8080, unit="port", least=0, most=65535)
    host: str = "127.0.0.1"
    host_names: tuple[str, ...] = ()
    tls: str = "off"
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca: str | None = None
    plain_http: bool = False
    connections_max: int = _number(4096, unit="connections", least=64, most=1_000_000)
    connections_per_address: int = _number(1024, unit="connections", least=16, most=1_000_000)
    region: str = "ap-local"
    zone: str = "ap-local-1"
    snapshots_per_disk: int = _number(64, unit="snapshots", least=1, most=100_000)
    snapshots_per_region: int = _number(0, unit="snapshots", least=0, most=10_000_000)
    snapshot_gib_per_region: int = _number(0, unit="GiB", least=0, most=1 << 40)
    disks_per_account: int = _number(500, unit="disks", least=0, most=10_000_000)
    disk_gib_per_account: int = _number(262_144, unit="GiB", least=0, most=1 << 40)
    disks_per_instance: int = _number(20, unit="disks", least=1, most=1000)
    disks_per_call: int = _number(50, unit="disks", least=1, most=100)
    rate_limits: bool = True
    rate_per_action: int = _number(20, unit="calls/s", least=1, most=1_000_000)
    rate_describe_disks: int = _number(100, unit="calls/s", least=1, most=1_000_000)
    rate_per_account: int = _number(400, unit="calls/s", least=1, most=1_000_000)
    free_quota_gib: int = _number(0, unit="GiB", least=0, most=1 << 40)
    throttle: bool = True
    scratch_bytes_max: int = _number(64 * GIB, unit="bytes", least=1 << 20, most=1 << 50)
    floor_bytes_max: int = _number(4 * GIB, unit="bytes", least=0, most=1 << 50)
    floor_percent: int = _number(2, unit="percent", least=0, most=50)
    workers: int = _number(2, unit="processes", least=1, most=256)
    hydration_bytes_per_s: int = _number(0, unit="bytes/s", least=0, most=1 << 50)
    compaction_dead_percent: int = _number(20, unit="percent", least=0, most=101)
    time_zone_offset_hours: int = _number(8, unit="hours", least=-12, most=14)
    expiry_percent_per_hour: int = _number(10, unit="percent/hour", least=1, most=100)
    backup_minutes: int = _number(60, unit="minutes", least=0, most=1_000_000)
    backups_kept: int = _number(48, unit="copies", least=1, most=100_000)
    rescan_after_s: int = _number(30, unit="seconds", least=0, most=1_000_000)
    scrub_days: int = _number(30, unit="days", least=0, most=3650)
    scrub_mb_per_s: int = _number(20, unit="MB/s", least=0, most=1_000_000)
    console_idle_minutes: int = _number(720, unit="minutes", least=1, most=525_600)
    console_session_hours: int = _number(168, unit="hours", least=1, most=8760)
    history_days: int = _number(90, unit="days", least=1, most=3650)
    audit_entries_max: int = _number(250_000, unit="entries", least=1000, most=100_000_000)
    audit_mb_max: int = _number(100, unit="MB", least=1, most=1_000_000)
    prove: bool = True
    prove_minutes: int = _number(60, unit="minutes", least=1, most=1440)
    prove_idle_minutes: int = _number(10, unit="minutes", least=1, most=1440)
    prove_memory_mib: int = _number(1024, unit="MiB", least=256, most=65_536)
    prove_at_once: int = _number(2, unit="proofs", least=1, most=14)
    prove_kvm: bool = True
    prove_kernels: str = "/"
    prove_images: str = "auto"
    store_url: str | None = None
    store_endpoint: str | None = None
    store_region: str = "us-east-1"
    store_ca_file: str | None = None
    store_path_style: bool = True
    store_mb_per_s: int = _number(0, unit="MB/s", least=0, most=1_000_000)
    store_spool_bytes_max: int = _number(16 * GIB, unit="bytes", least=0, most=1 << 50)
    store_mb_per_s_at: tuple[str, ...] = ()
    store_time_zone: str | None = None
    store_sealed: bool = False
    store_wait_minutes: int = _number(60, unit="minutes", least=0, most=100_000)
    log_level: str = "info"
    catalog_url: str | None = None
    experimental: tuple[str, ...] = ()

    @classmethod
    def load(cls, data: Path, *, port: int | None = None) -> "Config":
        """Read `data/drystone.toml` if it is there; `port` given on the command line wins.

        Raises:
            ConfigError: The file cannot be read, or a key is unknown, of the wrong type or out of bounds.
        """
        path = data / SERVER_FILE
        _check_path(data)
        values = {name: _checked(path, name, value) for name, value in _table(path).items()}
        if port is not None:
            values["port"] = _checked(Path("--port"), "port", port)
        config = cls(data=Path(os.path.realpath(data)), **values)  # type: ignore[arg-type]  # each was checked by its field
        if (config.tls_cert is None) != (config.tls_key is None):
            raise ConfigError(f"{path}: give tls_cert and tls_key, or neither")
        if config.catalog_url is not None and "postgresql" not in config.experimental:
            raise ConfigError(
                f"{path}: catalog_url is an experiment: nothing keeps a second server off the same catalog, nor takes "
                'a lost machine\'s place; who wants it all the same sets experimental = ["postgresql"]'
            )
        if config.store_sealed and "sealed" not in config.experimental:
            raise ConfigError(
                f"{path}: store_sealed is an experiment: disks have no keys of their own, and no key can be destroyed "
                'yet; who wants it all the same sets experimental = ["sealed"]'
            )
        if config.store_url is None and any((config.store_endpoint, config.store_ca_file)):
            raise ConfigError(
                f'{path}: store_endpoint and store_ca_file are of a bucket; give store_url = "s3://..." too'
            )
        if config.tls == "self" and config.tls_cert is not None:
            raise ConfigError(f'{path}: tls = "self" makes a certificate; leave out tls_cert and tls_key, or tls')
        return config


def keys_in_file(data: Path) -> frozenset[str]:
    """Return the keys that `data/drystone.toml` has.

    Raises:
        ConfigError: The file cannot be read.
    """
    return frozenset(_table(data / SERVER_FILE))


def _table(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None


def _check_path(data: Path) -> None:
    """Refuse a directory whose path cannot be told to everybody: QEMU takes UTF-8, tables and logs have lines.

    Raises:
        ConfigError: It has bytes that are not UTF-8, or control characters.
    """
    path = os.path.realpath(data)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the path {path!r} is not UTF-8; choose another --data") from None
    if any(character < " " or character == "\x7f" for character in path):
        raise ConfigError(f"the path {path!r} has control characters; choose another --data")


def _checked(where: Path, name: str, value: object) -> object:
    known = {entry.name: entry for entry in fields(Config) if entry.name != "data"}
    entry = known.get(name)
    if entry is None:
        raise ConfigError(f"{where}: unknown key {name!r}; the keys are {', '.join(sorted(known))}")
    # Exact types: a TOML boolean is a Python integer too, and `workers = true` is a mistake.
    if entry.type == tuple[str, ...]:
        if type(value) is not list or not all(type(one) is str for one in value):
            raise ConfigError(f"{where}: {name} must be a list of strings, and is {value!r}")
        if name == "experimental":
            return _experiments(where, value)
        if name == "store_mb_per_s_at":
            try:
                parse_hours(value)
            except ValueError as error:
                raise ConfigError(f"{where}: {name}: {error}") from None
            return tuple(value)
        wrong = next((one for one in value if not _HOST_NAME.fullmatch(one)), None)
        if wrong is not None:
            raise ConfigError(f"{where}: {name} has {wrong!r}, which is no name such as storage.example")
        return tuple(value)
    if type(value) is not (str if entry.type == str | None else entry.type):
        wanted = "str" if entry.type == str | None else getattr(entry.type, "__name__", str(entry.type))
        raise ConfigError(f"{where}: {name} must be of type {wanted}, and is {value!r}")
    bounds = entry.metadata.get("bounds")
    if bounds is not None and not bounds.least <= typing.cast("int", value) <= bounds.most:
        raise ConfigError(f"{where}: {name} is {value}, and must be from {bounds.least} to {bounds.most}")
    if name == "log_level" and value not in LOG_LEVELS:
        raise ConfigError(f"{where}: log_level is {value!r}, and must be one of {', '.join(LOG_LEVELS)}")
    if name == "store_url" and not _BUCKET.fullmatch(str(value)):
        raise ConfigError(
            f"{where}: store_url is {value!r}, and must be s3://BUCKET or s3://BUCKET/PREFIX: a prefix has "
            "letters A-Z and a-z, digits, `_`, `-`, `.` and `/`, and no part of it begins with a dot"
        )
    if name == "store_endpoint" and not _ENDPOINT.fullmatch(str(value)):
        raise ConfigError(
            f"{where}: store_endpoint is {value!r}, and must be http://HOST:PORT or https://HOST, no keys in it"
        )
    if name == "tls" and value not in TLS_KINDS:
        raise ConfigError(f"{where}: tls is {value!r}, and must be one of {', '.join(TLS_KINDS)}")
    if name == "store_time_zone":
        try:
            ZoneInfo(str(value))
        except (ValueError, ZoneInfoNotFoundError):
            raise ConfigError(f"{where}: {name} is {value!r}, and this machine knows no such time zone") from None
    if name in {"region", "zone"} and not _NAME.fullmatch(str(value)):
        # They stand in ids, URLs and in a file that shells source.
        raise ConfigError(f"{where}: {name} is {value!r}, and may have a-z, 0-9 and '-', at most 40 in all")
    if value == "":
        raise ConfigError(f"{where}: {name} must not be empty")
    return value


def _experiments(where: Path, value: list[str]) -> tuple[str, ...]:
    wrong = next((one for one in value if one not in EXPERIMENTAL), None)
    if wrong is not None:
        raise ConfigError(f"{where}: experimental has {wrong!r}; the experiments are {', '.join(EXPERIMENTAL)}")
    return tuple(value)
