"""Whether a program printed what a page shows."""

import re
from collections.abc import Sequence

VARIES = (
    (r"(?:asp|disk|snap|snapshot|ins|qsp|sg|op|grp|account|uin)-[0-9a-z]{6,}", r"[a-z]+-[0-9a-z]{6,}"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?\S*"),
    (r"\d{4}-\d\d-\d\d", r"\d{4}-\d\d-\d\d"),
    ("…", ".*"),
)
"""What is another one at each run, as it is written on a page, and what may stand there: ids, times, and what a page
says that it leaves out."""
EACH = re.compile("|".join(f"({written})" for written, _ in VARIES))


def pattern(line: str) -> re.Pattern[str]:
    """Return what a line may be for a line of a page; how wide the space between words is does not matter."""
    parts, at = [], 0
    for match in EACH.finditer(line):
        parts.append(re.escape(line[at : match.start()]))
        assert match.lastindex is not None
        parts.append(VARIES[match.lastindex - 1][1])
        at = match.end()
    parts.append(re.escape(line[at:]))
    return re.compile(r"\s+".join("".join(parts).replace("\\ ", " ").split()))


def missing(shown: str, printed: str) -> Sequence[str]:
    """Return the first line of a page that was not printed, with what was printed instead; nothing if all were.

    Lines must come in the order of the page; others may stand between, such as those of progress.
    """
    left = iter(printed.splitlines())
    for line in shown.splitlines():
        wanted = pattern(line)
        if wanted.pattern and not any(wanted.fullmatch(" ".join(other.split())) for other in left):
            return (line, printed)
    return ()
