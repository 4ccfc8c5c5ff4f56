"""The program `drystone`: the command line of the client, and the two commands of the server."""

import os
import random
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from drystone.cli.app import build_app, run, unwrap
from drystone.cli.failure import CliError, Exit
from drystone.cli.session import Common, Outside
from drystone.cli.watch import make_watchable
from drystone.client_settings import data_directory
from drystone.config import SERVER_FILE
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import Randomness
from drystone.offline.commands import DEFAULT_DATA, Data, Json, add_offline_commands
from drystone.offline.config_commands import config_app
from drystone.offline.key_commands import key_app


def serve_command(
    *,
    data: Data = DEFAULT_DATA,
    port: Annotated[
        int | None, Parameter(help="TCP port; 0 takes a free one. Default: drystone.toml's, else 8080.")
    ] = None,
    host: Annotated[str | None, Parameter(show=False)] = None,
) -> None:
    """Serve the API and this host's disks until SIGTERM. Disks stay served after it; the next start takes them over.

    Prints `ready http://127.0.0.1:PORT` when it is, and writes DATA/credentials.env at the first start.
    """
    if host is not None:
        # An address beyond this machine needs TLS with it, so it is no matter of one option.
        raise CliError(
            Exit.USAGE,
            f'the address is a setting: `host = "{host}"` in {data / SERVER_FILE}; off this machine it needs TLS, see '
            "docs/use/security.md",
        )
    from drystone.server.serve import serve  # noqa: PLC0415 - the client starts without the server's libraries

    try:
        serve(data, port)
    except DrystoneError as error:
        raise CliError(Exit.REFUSED, str(error)) from None


def build_program(outside: Outside, rng: Randomness) -> App:
    """Return all commands: those of the client, those of the server, and those on a data directory."""

    def stop(
        *,
        data: Data = DEFAULT_DATA,
        json: Json = False,
    ) -> None:
        """Stop the server if it runs, close all disks in order, and end their storage daemons.

        Disks stay attached: the next `drystone serve` serves them again.
        """
        from drystone.server import serve  # noqa: PLC0415 - as above

        try:
            serve.stop(data)
        except DrystoneError as error:
            raise CliError(Exit.REFUSED, str(error)) from None
        outside.output(Common(json=json)).result(
            [f"stopped: all disks are closed; `drystone serve --data {data}` serves them again"], {"stopped": str(data)}
        )

    def doctor(
        *,
        data: Annotated[
            Path | None,
            Parameter(help="The server's data directory. Default: $DRYSTONE_DATA, ./data, then /var/lib/drystone."),
        ] = None,
        json: Json = False,
    ) -> None:
        """Check this machine and installation: one line each, what was found, and what to do.

        With the server running or not; nothing is changed. The exit code is 1 if anything fails.
        """
        from drystone.offline.doctor import Machine, examine  # noqa: PLC0415 - as above

        findings = examine((data or data_directory()).absolute(), Machine(clock=outside.clock))
        output = outside.output(Common(json=json))
        lines = [f"{one.state:4}  {one.name}: {one.found}" + (f". {one.do}" if one.do else "") for one in findings]
        output.result(lines, [asdict(one) for one in findings])
        failed = [one.name for one in findings if one.state == "fail"]
        if failed:
            raise CliError(Exit.REFUSED, f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")

    def show_version(*, json: Json = False) -> None:
        """Print the version."""
        found = version("drystone")
        outside.output(Common(json=json)).result([found], {"version": found})

    app = build_app(outside)
    app.command(
        serve_command, name="serve", help_epilogue="Example:\n  drystone serve --data /var/lib/drystone --port 8080"
    )
    app["host"].command(stop, help_epilogue="Example:\n  drystone host stop --data /var/lib/drystone")
    add_offline_commands(app["store"], outside, rng)
    app.command(
        doctor,
        help_epilogue="Example:\n  drystone doctor --data /var/lib/drystone\n  drystone doctor --json",
    )
    app.command(key_app(outside, rng))
    app.command(config_app(outside))
    app.command(show_version, name="version", help_epilogue="Example:\n  drystone version")
    make_watchable(app, outside)
    unwrap(app)
    return app


def main() -> None:
    """Run one command and exit with its code."""
    if not __debug__:
        sys.exit("drystone: python -O is refused: assertions guard the data")
    # Whatever this process and those that it starts make is its user's alone: disks, snapshots, keys (S152).
    os.umask(0o077)
    outside = Outside(clock=time.time, monotonic=time.monotonic, sleep=time.sleep)
    sys.exit(run(build_program(outside, random.SystemRandom())))
