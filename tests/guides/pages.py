"""What a page of the documentation holds: its blocks of code, and the commands in them and in its sentences."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDES = (
    "README.md",
    "docs/use/virtual-machine.md",
    "docs/use/schedules.md",
    "docs/use/nightly-database.md",
    "docs/use/recovery-drill.md",
    "docs/use/monitoring.md",
    "docs/use/security.md",
    "docs/use/service.md",
    "docs/use/upgrade.md",
    "docs/use/s3.md",
    "docs/use/clients.md",
)
"""Pages whose scripts are run, each from its first to its last, by somebody who has only the repository."""
FENCE = re.compile(r"^( *)```([^\s`]*)([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
WORD = re.compile(r'([a-z]+)(?:="([^"]*)")?(?:\s+|$)')
SPAN = re.compile(r"`(drystone [a-z][^`]*)`")
SYNOPSIS = re.compile(r"^### `drystone .*$", re.MULTILINE)
"""Headings of the page of commands: `[OPTIONS]` is no argument."""
CALL = re.compile(
    r"(?:^|[(|&;`]|\b(?:do|then|else|if|while|sudo|exec|time)\b)[ \t]*(?:/[\w./]*/)?drystone(?= )", re.MULTILINE
)
"""Where a command may stand; within a quotation, for one, `drystone` is a name like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of code between fences."""

    language: str
    words: dict[str, str]
    """What stands behind the language: `background until="ready"`."""
    text: str
    line: int
    """Number of its first line on the page, from 1."""


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, in order.

    Raises:
        ValueError: What stands behind a language is not of the form `word` or `word="value"`.
    """
    found = []
    for match in FENCE.finditer(page):
        rest = match[3].strip()
        if WORD.sub("", rest):
            raise ValueError(f"what does this mean: {rest}")
        line = page.count("\n", 0, match.start(4)) + 1
        words = dict(WORD.findall(rest))
        found.append(Block(language=match[2], words=words, text=match[4], line=line))
    return found


def calls(script: str) -> Iterator[list[str]]:
    """Yield the arguments of each `drystone` that a script calls, as a shell takes them apart.

    Variables stay as they are written. `…` and `...` stand for arguments that are left out, and are left out.
    """
    script = script.replace("\\\n", " ")
    for match in CALL.finditer(script):
        lexer = shlex.shlex(script[match.end() :], posix=True, punctuation_chars=True)
        lexer.whitespace = " \t"
        lexer.whitespace_split = True
        # A comment begins at a word only, as in a shell; shlex would end `a#b`, too.
        lexer.commenters = ""
        words: list[str] = []
        try:
            for word in lexer:
                if set(word) <= set("();<>|&\n`") or word.startswith(("#", "\n")):
                    break
                first, _, rest = word.partition("\n")
                if first not in ("…", "..."):
                    words.append(first)
                if rest or word.endswith("\n"):
                    break
        except ValueError:
            # A quotation that another `drystone` stands in ends elsewhere.
            pass
        if words and re.fullmatch(r"\d", words[-1]) and script[match.end() :].find(f"{words[-1]}>") >= 0:
            words.pop()
        yield words


def spans(page: str) -> Iterator[list[str]]:
    """Yield the arguments of each `drystone …` that a sentence of a page names."""
    prose = SYNOPSIS.sub("", FENCE.sub("", page))
    for span in SPAN.findall(prose.replace("\\|", "|")):
        yield from calls(" ".join(span.split()))
