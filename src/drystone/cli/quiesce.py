"""The commands on quiesce profiles."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from cyclopts import App

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.gateway import Wire
from drystone.cli.lists import Record
from drystone.cli.lookup import DISK, INSTANCE
from drystone.cli.naming import HeldName
from drystone.cli.options import LIST_LIMIT, Limit, add_command
from drystone.cli.records import QUIESCE_COLUMNS, quiesce_record
from drystone.cli.session import (
    NO_LIST_OPTIONS,
    NO_OPTIONS,
    NO_SHOW_OPTIONS,
    Commands,
    CommonOptions,
    ListOptions,
    Outside,
    Session,
    ShowOptions,
)

FILE_BYTES_MAX = 1 << 20
_PROFILE = {"mode": "Mode", "freeze_seconds_max": "FreezeSecondsMax", "steps": "Steps", "prove_every_h": "ProveEveryH"}
_STEP = {
    "kind": "Kind", "seconds_max": "SecondsMax", "mount": "Mount", "freeze": "Freeze", "thaw": "Thaw",
    "option_file": "OptionFile", "connection": "Connection", "socket": "Socket",
    "domain": "Domain",
}  # fmt: skip


def quiesce_app(outside: Outside) -> App:
    """Return the commands `drystone quiesce ...`."""
    app = App(name="quiesce", help="Quiesce profiles: application-consistent snapshots.")
    commands = QuiesceCommands(outside)
    add_command(
        app,
        commands.set_,
        "set",
        "drystone quiesce set disk-1a2b3c4d --file profile.toml",
        "drystone quiesce set host --file profile.toml",
    )
    add_command(app, commands.list_, "list", "drystone quiesce list")
    add_command(app, commands.show, "show", "drystone quiesce show disk-1a2b3c4d --json")
    add_command(app, commands.delete, "delete", "drystone quiesce delete disk-1a2b3c4d")
    return app


class QuiesceCommands(Commands):
    """See `Commands`."""

    def set_(self, resource: HeldName, /, *, file: Path, common: CommonOptions = NO_OPTIONS) -> None:
        """Set the quiesce profile of a disk, or of an instance and so of its disks.

        It replaces the profile that is there. A disk's own profile takes precedence over its instance's.

        Args:
            resource: A disk or an instance, by id or name; `host` and `nbd` stand for the two ready instances.
            file: A TOML file with `mode`, `freeze_seconds_max` and `[[steps]]`.
            common: Options that every command takes.
        """
        profile = _read(file)
        session = self._outside.session(common)
        identity = lookup.resource_of(session, resource, DISK, INSTANCE)
        session.service.drystone(f"set the profile of {identity}", "SetQuiesceProfile", ResourceId=identity, **profile)
        session.out.result([identity], _find(session, identity))

    def list_(self, *, limit: Limit = LIST_LIMIT, common: ListOptions = NO_LIST_OPTIONS) -> None:
        """List profiles.

        Args:
            limit: Maximum number of profiles to list.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        session.out.records(_profiles(session, limit), QUIESCE_COLUMNS)

    def show(self, resource: HeldName, /, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show the profile of a disk or an instance.

        Args:
            resource: A disk or an instance, by id or name.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.record(_find(session, lookup.resource_of(session, resource, DISK, INSTANCE)))

    def delete(self, resource: HeldName, /, *, common: CommonOptions = NO_OPTIONS) -> None:
        """Delete the quiesce profile of a disk or an instance.

        Args:
            resource: A disk or an instance, by id or name.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.resource_of(session, resource, DISK, INSTANCE)
        session.service.drystone(f"delete the profile of {identity}", "DeleteQuiesceProfile", ResourceId=identity)
        session.out.result([identity], {"deleted_profile_of": identity})


def _profiles(session: Session, limit: int) -> list[Record]:
    rows = session.service.drystone_rows(
        "list profiles", "DescribeQuiesceProfiles", "QuiesceProfileSet", "ResourceId", limit=limit
    )
    return [quiesce_record(row) for row in rows]


def _find(session: Session, identity: str) -> Record:
    for profile in _profiles(session, LIST_LIMIT):
        if profile["resource_id"] == identity:
            return profile
    raise CliError(Exit.NOT_FOUND, f"{identity} has no profile; `drystone quiesce list` shows them")


def _read(file: Path) -> Wire:
    """Return the wire's fields of a profile.

    Raises:
        CliError: The file cannot be read, or has a key that means nothing.
    """
    try:
        raw = file.read_bytes()
        if len(raw) > FILE_BYTES_MAX:
            raise CliError(Exit.USAGE, f"{file} has {len(raw)} bytes: it is no profile")
        given = tomllib.loads(raw.decode())
    except OSError as error:
        raise CliError(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CliError(Exit.USAGE, f"{file} is not TOML: {error}") from None
    steps = given.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CliError(Exit.USAGE, f"{file} has no [[steps]]")
    profile = _renamed(file, given, _PROFILE)
    return {**profile, "Steps": [_renamed(file, step, _STEP) for step in steps]}


def _renamed(file: Path, given: Mapping[str, object], names: Mapping[str, str]) -> Wire:
    for name in given:
        if name not in names:
            raise CliError(Exit.USAGE, f"{file}: `{name}` means nothing there; known are {', '.join(names)}")
    return {names[name]: value for name, value in given.items()}
