"""The commands `drystone key ...`, which work on a data directory itself; for whoever runs the host."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from drystone.cli.failure import CliError, Exit
from drystone.cli.session import Common
from drystone.cli.session import Outside as ClientOutside
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import Randomness
from drystone.offline.commands import DEFAULT_DATA, Data, Json

TEXT_BYTES_MAX = 64 << 10
Named = Annotated[str, Parameter(help="What to call it: up to 40 small letters, digits and -.")]
Chosen = Annotated[str | None, Parameter(help="Its id or name; none: the one that wraps new data keys.")]


def key_app(outside: ClientOutside, rng: Randomness) -> App:
    """Return the commands on keys of a sealed store."""
    app = App(name="key", help="Keys of a sealed store (an experiment); with access to the server's data directory.")

    def list_(*, data: Data = DEFAULT_DATA, json: Json = False) -> None:
        """List the keys of a data directory, and how many data keys of its store each opens.

        The exit code is 1 if one is missing or damaged. Nothing secret is shown.
        """
        from drystone.offline import store_keys  # noqa: PLC0415 - the client starts without the server's libraries

        try:
            facts, faults = store_keys.list_keys(data)
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        output = outside.output(Common(json=json))
        if json:
            output.result([], {"keys": [asdict(one) for one in facts], "faults": faults})
        else:
            output.records([asdict(one) for one in facts], ["id", "name", "made", "default", "data_keys"])
        for one in faults:
            output.say(one)
        if faults:
            raise CliError(Exit.REFUSED, "keys are missing or damaged")

    def create(name: Named, /, *, data: Data = DEFAULT_DATA, json: Json = False) -> None:
        """Make a key for encrypted disks that name it (KmsKeyId); the one that wraps all other data keys stays so.

        Print it at once (`key export NAME`): without it nobody reads these disks, nor their snapshots.
        """
        from drystone.offline import store_keys  # noqa: PLC0415 - as above

        try:
            made = store_keys.create_key(data, name, at=outside.clock())
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        outside.output(Common(json=json)).result([made.key.key_id], {"id": made.key.key_id, "name": made.name})

    def export(
        key: Chosen = None,
        /,
        *,
        data: Data = DEFAULT_DATA,
        json: Json = False,
    ) -> None:
        """Print a key as a sheet to keep away from the store. Whoever has it and the store reads all snapshots."""
        from drystone.offline import store_keys  # noqa: PLC0415 - as above

        try:
            sheet = store_keys.export_key(data, key)
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        outside.output(Common(json=json)).result(sheet.splitlines(), {"sheet": sheet})

    def import_(
        file: Annotated[Path, Parameter(help="The sheet, or a key file.")],
        /,
        *,
        data: Data = DEFAULT_DATA,
        json: Json = False,
    ) -> None:
        """Take a key that was exported into a data directory, so that its store can be opened or recovered."""
        from drystone.offline import store_keys  # noqa: PLC0415 - as above

        try:
            with file.open("rb") as opened:
                raw = opened.read(TEXT_BYTES_MAX)
            kek, new = store_keys.import_key(data, raw.decode())
        except UnicodeDecodeError:
            raise CliError(Exit.REFUSED, f"{file} is no text") from None
        except OSError as error:
            raise CliError(Exit.REFUSED, f"{file}: {error.strerror}") from None
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        outside.output(Common(json=json)).result([kek.key.key_id], {"id": kek.key.key_id, "new": new})

    def rotate(key: Chosen = None, /, *, data: Data = DEFAULT_DATA, json: Json = False) -> None:
        """Have a new key of the same name wrap what one wraps, and remove that one; stop the server first.

        No snapshot is written anew. Sheets of the key before open nothing any more: export the new one. After a theft
        of a key this is not enough, for the thief may have opened the data keys.
        """
        from drystone.offline import store_keys  # noqa: PLC0415 - as above

        try:
            done = store_keys.rotate_key(data, key, at=outside.clock())
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        outside.output(Common(json=json)).result([done.key], asdict(done))

    def destroy(
        disk: Annotated[str, Parameter(help="The id of an encrypted disk; it may be gone.")],
        /,
        *,
        data: Data = DEFAULT_DATA,
        yes: Annotated[bool, Parameter(negative="", help="Do not ask.")] = False,
        json: Json = False,
    ) -> None:
        """Make all snapshots of an encrypted disk unreadable for ever; stop the server first.

        Its next start deletes them, then each wrap of their data key, then what it sealed. The disk itself stays; its
        next snapshot is full, with a new key. This is refused while another disk, or its snapshot, may show the blocks;
        all of these are named. What a bucket with versions keeps of wraps opens the key until it is gone.
        """
        from drystone.offline import store_keys  # noqa: PLC0415 - as above

        output = outside.output(Common(json=json))
        output.confirm(f"Nobody can read any snapshot of {disk} after this. Go on?", yes=yes)
        try:
            begun = store_keys.destroy_key(data, disk, at=outside.clock(), rng=rng)
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        output.result([*begun.keys], asdict(begun))
        output.say(f"{len(begun.snapshots)} snapshots are deleted, and the key after them, once the server is started")

    app.command(create, help_epilogue="Example:\n  drystone key create payroll --data /var/lib/drystone")
    app.command(list_, name="list", help_epilogue="Example:\n  drystone key list --data /var/lib/drystone")
    app.command(export, help_epilogue="Example:\n  drystone key export --data /var/lib/drystone | lp")
    app.command(
        import_, name="import", help_epilogue="Example:\n  drystone key import sheet.txt --data /var/lib/drystone"
    )
    app.command(destroy, help_epilogue="Example:\n  drystone key destroy disk-1a2b3c4d --data /var/lib/drystone")
    app.command(rotate, help_epilogue="Example:\n  drystone key rotate --data /var/lib/drystone")
    return app
