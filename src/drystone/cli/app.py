"""The command line as a whole: which commands there are, and how a run ends."""

import importlib.metadata
import inspect
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError, UnknownCommandError, UnusedCliTokensError

from drystone.cli.administration import account_app, host_app, instance_app, operation_app
from drystone.cli.audit import audit_app
from drystone.cli.completion import completion_app
from drystone.cli.disks import disk_app
from drystone.cli.events import events_app
from drystone.cli.failure import CliError, Exit, one_line
from drystone.cli.policies import policy_app
from drystone.cli.protection import protection_app
from drystone.cli.quiesce import quiesce_app
from drystone.cli.session import Common, Listed, Outside, Shown
from drystone.cli.snapshot_groups import snapshot_group_app
from drystone.cli.snapshots import snapshot_app
from drystone.cli.store import store_app

_CONTINUED = re.compile(r"\n {8,}(?=\S)")
"""Where the text on one argument goes on in the next line."""
_SECTION = re.compile(r"^(?:Args|Returns|Raises):$", re.MULTILINE)
EPILOGUE = """Example:
  drystone disk create --size 20 --name db
  drystone snapshot create db --name first
  drystone disk list --json

Exit codes: 0 done, 1 refused or failed, 2 usage, 3 not found, 4 busy or in a
wrong state, 5 key refused, 6 server not reached, 7 timed out waiting,
130 interrupted."""


def build_app(outside: Outside) -> App:
    """Return all commands that are a client's.

    The composition root adds those of the server: `app.command(serve)`, `app["host"].command(stop)`. When all are there
    it lets them be watched and mends their help: `make_watchable`, `unwrap`.

    Args:
        outside: The clock and what else comes from outside.
    """
    app = App(
        name="drystone",
        help="Cloud block storage that people run themselves.",
        help_format="plaintext",
        help_epilogue=EPILOGUE,
        version=lambda: importlib.metadata.version("drystone"),
        suppress_keyboard_interrupt=False,
    )
    groups = (
        disk_app, snapshot_app, snapshot_group_app, instance_app, operation_app, account_app, host_app, store_app,
        policy_app, quiesce_app, audit_app, events_app, protection_app,
    )  # fmt: skip
    for group in groups:
        app.command(group(outside))
    app.command(completion_app(app))
    return app


def unwrap(app: App) -> None:
    """Let each paragraph of every command's help be broken by the terminal alone, and not where its source is."""
    for options in (Common, Shown, Listed):
        _join_lines(options)
    for name in app:
        child = app[name]
        if child.default_command is not None and not name.startswith("-"):
            text = inspect.getdoc(child.default_command) or ""
            paragraphs = _SECTION.split(text, maxsplit=1)[0].strip().split("\n\n")
            child.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
            _join_lines(getattr(child.default_command, "__func__", child.default_command))
        elif not name.startswith("-"):
            unwrap(child)


def _join_lines(documented: Any) -> None:  # noqa: ANN401 - a function or a class
    documented.__doc__ = _CONTINUED.sub(" ", inspect.cleandoc(documented.__doc__ or ""))


def run(app: App, tokens: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        app: What `build_app` returned, with what was added.
        tokens: The arguments; without them, the process's.

    Returns:
        The exit code. What went wrong is on standard error, in one line.
    """
    try:
        result = app(
            sys.argv[1:] if tokens is None else list(tokens),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
    except CliError as error:
        return _fail(error.code, error.message)
    except CycloptsError as error:
        return _fail(Exit.USAGE, _usage(error))
    except KeyboardInterrupt:
        return _fail(Exit.INTERRUPTED, "interrupted; the server goes on with what it was asked to do")
    except BrokenPipeError:
        # Whoever read the output, `head` for one, has gone; nothing is left to be said to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.READER_GONE
    return result if isinstance(result, int) else Exit.OK


def _usage(error: CycloptsError) -> str:
    """Return what was wrong with the arguments, and which help says how it is right."""
    text = str(error)
    if isinstance(error, UnusedCliTokensError):
        text = f"unexpected argument: {' '.join(error.unused_tokens or ())}."
    elif isinstance(error, UnknownCommandError):
        first = (error.unused_tokens or [""])[0]
        if first.startswith("-"):
            text = f"there is no command before {first}; options stand behind it, as in `drystone disk list --json`."
    command = " ".join(("drystone", *(error.command_chain or ())))
    return f"{text}{'' if text.endswith(('.', '?')) else '.'} See `{command} --help`."


def _fail(code: Exit, message: str) -> int:
    print(f"drystone: {one_line(message)}", file=sys.stderr)
    return code
