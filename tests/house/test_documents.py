"""What documents say can be done as they say it: commands and options exist, links lead somewhere."""

import json
import random
import re
import subprocess
from itertools import zip_longest
from pathlib import Path

import pytest
from cyclopts import CycloptsError, MissingArgumentError

from drystone.cli.session import Outside
from drystone.domain.event import EventKind
from drystone.main import build_program
from tests.guides import pages
from tests.guides.pages import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = build_program(Outside(clock=lambda: 7.0, monotonic=lambda: 0.0, sleep=lambda _: None), random.Random(1))


def refused(words: list[str], *, whole: bool) -> str | None:
    """Return what the program says of these arguments, None if it takes them; nothing is run.

    Args:
        words: The arguments.
        whole: Whether all arguments are there; a sentence may name a command without them.
    """
    try:
        PROGRAM.parse_args(words, exit_on_error=False, print_error=False)
    except MissingArgumentError as error:
        return str(error) if whole else None
    except CycloptsError as error:
        return str(error)
    return None


def refusals(text: str) -> list[tuple[str, str]]:
    """Return the commands on a page that the program does not take, each with what it says."""
    found = []
    for block in pages.blocks(text):
        if block.language == "sh":
            found += [(words, refused(words, whole=True)) for words in pages.calls(block.text)]
    found += [(words, refused(words, whole=False)) for words in pages.spans(text)]
    return [(" ".join(words), said) for words, said in found if said is not None]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_documents_are_taken(path: Path) -> None:
    assert refusals(path.read_text()) == []


def test_a_command_that_does_not_exist_is_found() -> None:
    text = """
`drystone disk attach` and `drystone disk list --frob`, `drystone disc list`, `drystone disk list \\| head -1`
```sh
ID=$(drystone disk create --size 10 \\
  --nmae first) && drystone snapshot create "$ID" 2>/dev/null; drystone disk attach db # --instance host
echo drystone-cut; drystone disk list --columns disk_id,name | grep 'a (b)' > list.txt
drystone disk create … --size 12Q
psql -c "CREATE ROLE drystone LOGIN"; if true; then /usr/local/bin/drystone disk frob; fi
```
"""
    assert [command for command, _ in refusals(text)] == [
        "disk create --size 10 --nmae first", "disk attach db", "disk create --size 12Q", "disk frob",
        "disk list --frob", "disc list",
    ]  # fmt: skip


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_of_documents_parse(path: Path) -> None:
    text = path.read_text()
    usage = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=False).stdout
    for command in re.findall(r"\./dev (\w+)", text):
        assert f"  {command} " in usage
    for block in pages.blocks(text):
        if block.language == "sh":
            assert subprocess.run(["bash", "-n"], input=block.text, text=True, check=False).returncode == 0, block


LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(document: str) -> set[str]:
    """Return what links may name within a document: its headings, as sites for source code make them."""
    text = re.sub(r"^```.*?^```", "", document, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(path: Path, text: str) -> list[str]:
    found = []
    for target, anchor in LINK.findall(text):
        if "://" in target:
            continue
        file = path.parent / target if target else path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            found.append(f"{target}#{anchor}" if anchor else target)
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_documents_lead_somewhere(path: Path) -> None:
    assert dead_links(path, path.read_text()) == []


def test_a_dead_link_is_found() -> None:
    text = "[a](cli.md) [b](cli.md#exit-codes) [c](gone.md) [d](cli.md#gone) [e](#no-such) [f](https://example.org/x)"
    assert dead_links(ROOT / "docs/README.md", text) == ["gone.md", "cli.md#gone", "#no-such"]


FAMILY = re.compile(r"""(?:MetricFamily|Counter|Histogram|Gauge)\(\s*"(drystone_[a-z_]+)\"""")
SUFFIX = re.compile(r"_(?:total|bucket|sum|count)$")


def metrics() -> set[str]:
    """Return the names of all metrics that the code makes."""
    return {name for path in (ROOT / "src").rglob("*.py") for name in FAMILY.findall(path.read_text())}


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs/use/monitoring.md").read_text()
    documented = re.findall(r"^\| `(drystone_[a-z_]+)` \|", page, re.MULTILINE)
    assert {name.removesuffix("_total") for name in documented} == metrics()


@pytest.mark.parametrize("example", ["prometheus/drystone.rules.yml", "grafana/drystone.json"])
def test_examples_name_metrics_and_events_that_exist(example: str) -> None:
    text = (ROOT / "examples" / example).read_text()
    named = set(re.findall(r"\bdrystone_[a-z_]+", text))
    assert {name if name in metrics() else SUFFIX.sub("", name) for name in named} <= metrics()
    for kind in re.findall(r'kind(?:=|=~)\\?"([^"\\]+)', text):
        assert [one for one in EventKind if re.fullmatch(kind, one.value)], kind


def test_every_alert_is_documented() -> None:
    rules = (ROOT / "examples/prometheus/drystone.rules.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    rows = re.findall(r"^\| (`Drystone.*?) \|", (ROOT / "docs/use/monitoring.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(alerts)
    assert len(re.findall(r"expr:|severity:|summary:", rules)) == 3 * len(alerts)


def test_the_dashboard_shows_each_metric_once_placed() -> None:
    board = json.loads((ROOT / "examples/grafana/drystone.json").read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (place["x"] + column, place["y"] + line)
        for panel in panels
        for place in [panel["gridPos"]]
        for column in range(place["w"])
        for line in range(place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert {column for column, _ in taken} == set(range(24))
    queries = " ".join(target["expr"] for panel in panels for target in panel.get("targets", ()))
    assert {name for name in metrics() if name not in queries} == set()


def messages(page: str) -> list[str]:
    """Return the messages that the first column of a page's tables quotes, in the parts between what varies."""
    cells = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)
    quoted = re.findall(r"`([^`]+)`", " ".join(cells))
    return [
        part for one in quoted if " " in one for part in re.split(r"…|://|\bN\b|\.\.\.", one) if len(part.split()) > 1
    ]


def test_messages_that_troubleshooting_quotes_exist() -> None:
    sources = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    # A message may be written on two lines of a source, each a string of its own.
    code = " ".join(re.sub(r"\"\s*\n\s*f?\"", "", text) for text in sources)
    quoted = messages((ROOT / "docs/use/troubleshooting.md").read_text())
    assert len(quoted) > 15
    known = {"Address already in use"}  # The operating system says it.
    assert [one for one in quoted if one.strip(" ().:") not in code and one.strip(" ().:") not in known] == []


CHINESE = [path for path in DOCUMENTS if path.name.endswith(".zh-CN.md")]


def shown(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Return what a page has its reader do and see, in order."""
    return [(one.language, one.words, one.text) for one in pages.blocks(text) if one.language in ("sh", "text")]


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_in_chinese_has_the_same_commands(path: Path) -> None:
    english = path.with_name(path.name.replace(".zh-CN", ""))
    text, translated = english.read_text(), path.read_text()
    for one, other in zip_longest(shown(text), shown(translated)):
        assert one == other, f"{path.name} must follow {english.name}"
    assert f"[中文]({path.name})" in text
    assert f"[English]({english.name})" in translated


def test_what_newcomers_read_first_is_there_in_chinese() -> None:
    first = {"README", "virtual-machine", "s3", "recovery-drill"}
    assert {path.name.removesuffix(".zh-CN.md") for path in CHINESE} >= first


def test_every_page_can_be_reached() -> None:
    reached: set[Path] = set()
    left = [ROOT / "README.md"]
    while left:
        path = left.pop()
        if path not in reached:
            reached.add(path)
            targets = [target for target, _ in LINK.findall(path.read_text()) if target.endswith(".md")]
            left += [(path.parent / target).resolve() for target in targets if "://" not in target]
    assert [str(path.relative_to(ROOT)) for path in DOCUMENTS if path not in reached] == []
