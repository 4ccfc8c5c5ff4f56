"""docs/configuration.md, made from the configuration: `./dev docs` writes it, a test compares it."""

import inspect
import re
import sys
from dataclasses import MISSING, Field, fields
from typing import Any

from drystone.config import EXPERIMENTAL, LOG_LEVELS, TLS_KINDS, Config

HEAD = """# Configuration

`./dev docs` makes this page from `src/drystone/config.py`.

A server reads `DIR/drystone.toml` once, when it starts; `DIR` is its data directory. The file is optional, and so is
each key. With a key that is not known, a value of the wrong type or a number out of range the server does not start,
and says why. `--port` on the command line counts more than the file.

| key | default | unit | values | what it is for |
| --- | --- | --- | --- | --- |
"""
CHOICES = {"tls": TLS_KINDS, "log_level": LOG_LEVELS, "experimental": EXPERIMENTAL}
ABSENT = "\u2013"


def page() -> str:
    """Return the text of the page."""
    reasons = reasons_of(inspect.cleandoc(Config.__doc__ or ""))
    return HEAD + "".join(row(field, reasons[field.name]) for field in fields(Config) if field.name != "data")


def reasons_of(docstring: str) -> dict[str, str]:
    """Return what a docstring says of each attribute, each in one line."""
    attributes = docstring.partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def row(field: "Field[Any]", reason: str) -> str:
    """Return the line of one key."""
    assert field.default is not MISSING
    bounds = field.metadata.get("bounds")
    values = ABSENT
    if bounds is not None:
        values = f"{bounds.least} to {bounds.most}"
    elif field.name in CHOICES:
        values = ", ".join(f"`{one}`" for one in CHOICES[field.name])
    elif field.type is bool:
        values = "`true`, `false`"
    return (
        f"| `{field.name}` | {default(field.default)} | {field.metadata.get('unit', ABSENT)} | {values} | {reason} |\n"
    )


def default(value: object) -> str:
    """Return a default as it is written in the file."""
    match value:
        case None:
            return ABSENT
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`'
        case tuple():
            assert not value
            return "`[]`"
        case _:
            return f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(page())
