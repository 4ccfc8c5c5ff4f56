"""The commands `drystone store ...` that work on a data directory itself, without a server."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from drystone.cli.failure import CliError, Exit
from drystone.cli.session import Common
from drystone.cli.session import Outside as ClientOutside
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import Randomness

if TYPE_CHECKING:
    from drystone.service.upkeep.evidence import Report

Data = Annotated[
    Path,
    Parameter(
        env_var="DRYSTONE_DATA",
        # Empty is as good as not set, as for the commands of the client.
        env_var_split=lambda _kind, value, **_further: [value] if value else [],
        help="The server's data directory, under which everything lives.",
    ),
]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON on standard output.")]
DEFAULT_DATA = Path("data")
PROGRESS_STEP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """What `drystone.offline.maintenance` is given."""

    outside: ClientOutside
    rng: Randomness

    def clock(self) -> float:
        """Return seconds since the epoch."""
        return self.outside.clock()

    def on_progress(self, done: int, total: int) -> None:
        """Tell how many snapshots were looked at, now and then."""
        if total and (done % PROGRESS_STEP == 0 or done == total):
            print(f"{done} of {total} snapshots read", file=sys.stderr)  # noqa: T201 - a command talks


def add_offline_commands(app: App, outside: ClientOutside, rng: Randomness) -> None:
    """Add `check`, `recover`, `reconcile`, `backup`, `reader` and `discard` to the commands on the store."""
    world = _World(outside=outside, rng=rng)

    def recover(
        *,
        data: Data = DEFAULT_DATA,
        store: Annotated[
            Path | None,
            Parameter(
                help="Directory that holds STORE-ID/owner. Default: store_url of DATA/drystone.toml, or DATA/store."
            ),
        ] = None,
        store_id: Annotated[str | None, Parameter(help="Which store, if there are several.")] = None,
        json: Json = False,
    ) -> None:
        """Rebuild the catalog from an object store alone, and adopt the disks under DATA if there are any.

        DATA must have no catalog.db. Complete snapshots are restored; others are listed and left as they are. Nothing
        expires and nothing is deleted until `drystone store confirm`. The old catalog can no longer use the store.
        Access keys are new: each account's is printed only now; the administrator's is also in DATA/credentials.env
        after the next start.
        """
        from drystone.offline import maintenance  # noqa: PLC0415 - the client starts without the server's libraries

        try:
            report = maintenance.recover(data, store, store_id, world)
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        _print(report, as_json=json)

    def reconcile(
        *,
        data: Data = DEFAULT_DATA,
        force: Annotated[bool, Parameter(negative="", help="Also if the catalog is not older than its store.")] = False,
        json: Json = False,
    ) -> None:
        """Bring a catalog that was restored from a backup up to date with its store; stop the server first.

        Snapshots that it lacks are imported, rows of snapshots that the store lacks are removed, and change tracking of
        all disks is LOST: their next snapshot compares the whole disk. Nothing expires and nothing is deleted until
        `drystone store confirm`. A copy of the catalog as it was is kept in DATA/backups.
        """
        from drystone.offline import maintenance  # noqa: PLC0415 - as above

        try:
            report = maintenance.reconcile_catalog(data, world, force=force)
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        if report is None:
            print("the catalog is not older than its store; nothing was changed", file=sys.stderr)  # noqa: T201 - as above
        else:
            _print(report, as_json=json)

    def backup(*, data: Data = DEFAULT_DATA, json: Json = False) -> None:
        """Copy the catalog into DATA/backups, with the server running or not, and print the copy's path.

        The server does so by itself every `backup_minutes`. A copy has the secret keys of all accounts: only the
        server's user can read it.
        """
        from drystone.offline import maintenance  # noqa: PLC0415 - as above

        try:
            made = maintenance.back_up_catalog(data, at=world.clock())
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        outside.output(Common(json=json)).result([str(made)], {"path": str(made)})

    def check(*, data: Data = DEFAULT_DATA, json: Json = False) -> None:
        """Try everything that the snapshot store must do; say what is wrong, what that means and what to do.

        With the server running or not. It writes a few objects of its own, 4 MiB in all, and removes them. Of a bucket
        it also says what it does by itself: old versions, locks, a default retention, uploads that were not ended.
        """
        from drystone.offline import store_check  # noqa: PLC0415 - as above

        try:
            place, findings = store_check.check_store(data, rng)
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        output = outside.output(Common(json=json))
        output.say(f"the snapshot store is {place}")
        records = [{**asdict(one), "works": "yes" if one.works else "NO"} for one in findings]
        if json:
            output.result([], [asdict(one) for one in findings])
        else:
            output.records(records, ["name", "works", "ms"])
        for one in findings:
            if not one.works:
                output.say(f"{one.name}: {one.seen.rstrip('.')}. It means: {one.means}. What to do: {one.do}.")
            elif one.seen:
                output.say(f"{one.name}: {one.seen.rstrip('.')}.")
        if any(one.needed and not one.works for one in findings):
            raise CliError(Exit.REFUSED, f"{place} cannot keep snapshots")

    def discard(
        name: Annotated[str | None, Parameter(help="The manifest's object; none: list them.")] = None,
        /,
        *,
        data: Data = DEFAULT_DATA,
        yes: Annotated[bool, Parameter(negative="", help="Do not ask.")] = False,
        json: Json = False,
    ) -> None:
        """Remove a manifest that is incomplete, or a second one of a snapshot, from the store; stop the server first.

        While there is such a manifest, no space is freed. Without a name they are listed, with what would be lost. A
        copy is kept in DATA/backups.
        """
        from drystone.offline import maintenance  # noqa: PLC0415 - as above

        try:
            found = maintenance.stray_manifests(data, world)
            if name is not None:
                found = [one for one in found if one.object == name]
                if found:
                    question = f"This discards {name}: {found[0].reason}. Lost for good: {found[0].lost}."
                    outside.output(Common(json=json)).confirm(question, yes=yes)
                found = [maintenance.discard_manifest(data, name, world)]
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        rows = [{**asdict(one), "kept_as": str(one.kept_as) if name is not None else None} for one in found]
        if json:
            print(json_text(rows))  # noqa: T201 - as above
            return
        for one in found:
            print(f"{one.object}: {one.reason}; lost with it: {one.lost}")  # noqa: T201 - as above
            if name is not None:
                print(f"a copy is in {one.kept_as}")  # noqa: T201 - as above

    def reader(*, json: Json = False) -> None:
        """Print the program that reads a store without Drystone, `reader.py`. Its sha256 goes to standard error.

        A store has it, too, unless it is sealed: keep this one with the sheet of the key, and run no other.
        """
        from drystone.snapstore import reader_copy  # noqa: PLC0415 - as above

        digest = reader_copy.reader_sha256()
        output = outside.output(Common(json=json))
        output.say(f"sha256 {digest}")
        if json:
            output.result([], {"program": reader_copy.reader(), "sha256": digest})
        else:
            sys.stdout.write(reader_copy.reader())  # As it is, to the byte.

    app.command(
        discard,
        help_epilogue="Example:\n  drystone store discard --data /var/lib/drystone\n"
        "  drystone store discard store-1/snapshots/snap-1a2b3c4d/0123.manifest --yes",
    )
    app.command(check, help_epilogue="Example:\n  drystone store check --data /var/lib/drystone")
    app.command(
        recover, help_epilogue="Example:\n  drystone store recover --data /var/lib/drystone --store /mnt/bucket"
    )
    app.command(reconcile, help_epilogue="Example:\n  drystone store reconcile --data /var/lib/drystone")
    app.command(reader, help_epilogue="Example:\n  drystone store reader > reader.py")
    app.command(backup, help_epilogue="Example:\n  drystone store backup --data /var/lib/drystone")


def json_text(value: object) -> str:
    """Return a value as the commands print it."""
    return json.dumps(value, indent=2)


def _print(report: "Report", *, as_json: bool) -> None:
    fields = asdict(report)
    keys = [
        {"account_id": key.account_id, "secret_id": key.secret_id, "secret_key": key.secret_key} for key in report.keys
    ]
    if as_json:
        print(json.dumps({**fields, "keys": keys}, indent=2))  # noqa: T201 - as above
        return
    for name, rows in fields.items():
        if name != "keys" and rows:
            print(f"{name.replace('_', ' ')}: {len(rows)}")  # noqa: T201 - as above
            for row in rows:
                print(f"  {row}")  # noqa: T201 - as above
    for key in keys:
        print(f"key of {key['account_id']}: {key['secret_id']} {key['secret_key']}")  # noqa: T201 - as above
    print(  # noqa: T201 - as above
        "Start the server, look at what came back, then run `drystone store confirm`: until then nothing expires and "
        "nothing is deleted.",
        file=sys.stderr,
    )
