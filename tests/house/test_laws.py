"""Each numbered rule is defined once, in docs/laws.md, and kept by code and by a test that cite it.

A citation is a letter and a number that stand as a word in a comment, a string or a document: `(S10)`, `(S30 to S33)`.
"""

import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBER = r"([AFILPS])([1-9]\d{0,2})"
CITATION = re.compile(rf"(?<![\w/.$#%&-]){NUMBER}(?:(?: to |-)\1([1-9]\d{{0,2}}))?(?![\w-])")
DEFINITION = re.compile(rf"^(?:\||\*) \**{NUMBER}\b", re.MULTILINE)
NO_CITATION = re.compile(r"noqa: [A-Z0-9, ]+|L[12] (?:table|entr)\w*|\b(?:S3|P99)\b")
"""Linters' codes, the tables of qcow2, the object store and the percentile. No rule may have such a number."""
COMMENT = re.compile(r"(?://|/\*|^\s*\*).*", re.MULTILINE)
TEXTS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}

UNTESTED: dict[str, str] = {}
"""Rules that no test holds, and why."""


def cited(text: str) -> Iterator[str]:
    for letter, first, last in CITATION.findall(NO_CITATION.sub("", text)):
        yield from (f"{letter}{number}" for number in range(int(first), int(last or first) + 1))


def words(path: Path) -> str:
    """Return what of a file is for people: a document, or the comments and strings of a program."""
    text = path.read_text()
    if path.suffix == ".md" or not CITATION.search(text):
        return text
    if path.suffix != ".py":
        return "\n".join(COMMENT.findall(text))
    return "\n".join(one.string for one in tokenize.generate_tokens(io.StringIO(text).readline) if one.type in TEXTS)


def citations(*patterns: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            if path != Path(__file__):
                found |= dict.fromkeys(cited(words(path)), str(path.relative_to(ROOT)))
    return found


def mistakes(laws: str, *, code: dict[str, str], tests: dict[str, str], untested: dict[str, str]) -> list[str]:
    """Return what is wrong with rules and citations.

    Args:
        laws: The documents that may define rules.
        code: Where each number is cited by programs and documents.
        tests: Where each number is cited by tests.
        untested: The rules without a test.
    """
    defined = Counter(letter + number for letter, number in DEFINITION.findall(laws))
    return [
        *(f"{one} is not defined, see {where}" for one, where in (code | tests).items() if one not in defined),
        *(f"{one} is defined {count} times" for one, count in defined.items() if count > 1),
        *(f"{one} is cited by no code" for one in defined if code.get(one, ".md").endswith(".md")),
        *(f"{one} is cited by no test" for one in defined if one not in tests and one not in untested),
        *(f"{one} is not untested" for one in untested if one in tests or one not in defined),
    ]


def test_each_rule_is_defined_once_and_cited_by_code_and_tests() -> None:
    documents = citations("README.md", "docs/**/*.md")
    code = citations("src/**/*.py", "bench/**/*.py", "console/src/**/*.ts", "console/src/**/*.tsx")
    laws = "\n".join(path.read_text() for path in ROOT.glob("docs/**/*.md"))
    assert mistakes(laws, code=documents | code, tests=citations("tests/**/*.py"), untested=UNTESTED) == []


LAWS = "| **S10** | a rule | a history |\n| **S11** | see S10 | |\n"
CODE, TESTS = {"S10": "a.py", "S11": "a.py"}, {"S10": "t.py", "S11": "t.py"}


@pytest.mark.parametrize(
    ("laws", "code", "tests", "mistake"),
    [
        (LAWS, CODE | {"S12": "b.py"}, TESTS, "S12 is not defined, see b.py"),
        (LAWS, CODE, TESTS | {"S12": "t.py"}, "S12 is not defined, see t.py"),
        (LAWS + "* **S10 again.** Text", CODE, TESTS, "S10 is defined 2 times"),
        (LAWS, CODE | {"S11": "docs/states.md"}, TESTS, "S11 is cited by no code"),
        (LAWS, CODE, {"S10": "t.py"}, "S11 is cited by no test"),
    ],
)
def test_a_planted_mistake_is_found(laws: str, code: dict[str, str], tests: dict[str, str], mistake: str) -> None:
    assert mistakes(LAWS, code=CODE, tests=TESTS, untested={}) == []
    assert mistakes(laws, code=code, tests=tests, untested={}) == [mistake]


def test_an_untested_rule_is_listed_only_while_it_is() -> None:
    assert mistakes(LAWS, code=CODE, tests={"S10": "t.py"}, untested={"S11": "why"}) == []
    assert mistakes(LAWS, code=CODE, tests=TESTS, untested={"S11": "why"}) == ["S11 is not untested"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(S10)", "S10"),
        ("S10: why; by L8's way, A5.", "S10 L8 A5"),
        ("S30 to S32, A1-A3", "S30 S31 S32 A1 A2 A3"),
        ("# noqa: S608, A002 - (P1)", "P1"),
        ("an L2 table, L1 entries, S3, P99, v1.S10, AKIDS10, S1000, B0", ""),
    ],
)
def test_what_a_citation_is(text: str, found: str) -> None:
    assert " ".join(cited(text)) == found
