"""What can go wrong for the person at the command line: one line of text and an exit code."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes, as docs/cli.md lists them."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    BUSY = 4
    AUTH = 5
    UNREACHABLE = 6
    TIMEOUT = 7
    INTERRUPTED = 130
    READER_GONE = 141


class CliError(Exception):
    """Ends a command with one line on standard error.

    Args:
        code: The exit code.
        message: What was wrong, with what, and what to do.
    """

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_BUSY_CODES = frozenset(
    {
        "InvalidDisk.Busy",
        "InvalidDisk.SnapshotCreating",
        "UnsupportedOperation.StateError",
    },
)
_AMBIGUOUS_NETWORK = ("Read timed out", "Connection aborted", "Connection reset")
_ADVICE = {
    Exit.NOT_FOUND: "the `list` commands show what exists",
    Exit.BUSY: "`drystone operation list --state RUNNING` shows operations in progress",
}
_ADVICE_OF_CODE = {
    # The message says whose clock is off, and by how much.
    "AuthFailure.SignatureExpire": "`timedatectl` shows whether a clock is synchronised",
    "UnauthorizedOperation": "it needs the key of an administrator",
}


def exit_code(service_code: str) -> Exit:
    """Return the exit code for an error code of the service or of its client library."""
    head = service_code.partition(".")[0]
    if head in {"AuthFailure", "UnauthorizedOperation"}:
        return Exit.AUTH
    if service_code in {"ClientNetworkError", "ServerNetworkError"}:
        return Exit.UNREACHABLE
    if head == "ResourceNotFound" or service_code.endswith(".NotFound"):
        return Exit.NOT_FOUND
    if head in {"ResourceInUse", "ResourceUnavailable", "ResourceBusy"} or service_code in _BUSY_CODES:
        return Exit.BUSY
    return Exit.REFUSED


def one_line(text: str) -> str:
    """Return `text` on one line, with anything that could drive a terminal replaced."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def refused(doing: str, code: str, message: str, endpoint: str, key_source: str) -> CliError:
    """Make the error for a call that failed.

    Args:
        doing: The act in words, for example `attach disk-1a2b3c4d`.
        code: Code of the service or of its client library.
        message: Its message.
        endpoint: The server that was called.
        key_source: Where the key was found that it was called with.
    """
    kind = exit_code(code)
    text = one_line(message)
    if kind is Exit.UNREACHABLE:
        if code == "ServerNetworkError":
            # What another program answers, a page or XML, says nothing to whoever meant a Drystone server.
            return CliError(
                kind, f"cannot {doing}: what answers at {endpoint} is not a Drystone server; name one with --data DIR"
            )
        if any(sign in text for sign in _AMBIGUOUS_NETWORK):
            return CliError(
                kind,
                f"cannot {doing}: the connection to {endpoint} was lost; the server may have done it, "
                "so check before you try again",
            )
        return CliError(
            kind,
            f"cannot {doing}: nothing answers at {endpoint}; start the server with `drystone serve`, or name "
            "another with --data DIR",
        )
    of_key = f"the key is from {key_source}" if kind is Exit.AUTH else None
    advice = _ADVICE_OF_CODE.get(code) or _ADVICE.get(kind) or of_key
    return CliError(kind, f"cannot {doing}: {text} [{code}]" + (f"; {advice}" if advice else ""))
