"""No age and no duration is taken from a machine's clock, which leaps (S117, S121).

What has a wall time in it (a call of a clock, a name that got one, an attribute or column `..._at`, a file's mtime) is
subtracted or compared only in the places that are listed here with their reason. Ages go by `domain.clock.recent` and
`age_s` on the steady clock; durations by the monotonic one.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "drystone"
CLOCKS = {"clock", "_clock", "steady", "_steady", "wall", "least"}
WALL_ATTRIBUTES = {"st_mtime", "st_ctime", "st_mtime_ns", "st_ctime_ns", "time_ns"}
WALL_NAMES = {"now", "now_s", "until"}
ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)

ALLOWED = {
    "domain/clock.py": "the rule itself",
    "domain/login.py:SessionLimits.over": "bounded both ways, by the steady clock",
    "domain/schedule.py": "slots by the steady clock; a cursor that lies ahead of it is set back",
    "domain/runs.py": "by the steady clock; a run that lies ahead of it ends, a try is due",
    "domain/retention.py:_wanted": "deadlines, which people asked for: by the least of all clocks",
    "catalog/verification.py": "what is dated ahead is due; by the steady clock",
    "catalog/proofs.py:due": "what is dated ahead was not lately; by the steady clock",
    "catalog/trail.py": "times that people ask for are those shown; what is old is by the steady clock",
    "catalog/events.py:prune": "the caller's time is by the steady clock",
    "catalog/logins.py": "sessions that have ended; by the steady clock",
    "catalog/operations.py:prune": "the caller's time is by the steady clock",
    "catalog/tokens.py:prune": "the caller's time is by the steady clock",
    "catalog/policy_runs.py:prune": "the caller's time is by the steady clock",
    "catalog/sessions.py:spent": "the caller's time is by the steady clock",
    "catalog/snapshots.py:_due": "deadlines, which people asked for: by the least of all clocks",
    "catalog/snapshots.py:policy_marks": "as above",
    "service/upkeep/policy_retention.py:PolicyRetention.leaving": "bounded both ways, by the steady clock",
    "service/upkeep/expiry.py": "deadlines, which people asked for: by the least of all clocks",
    "service/calls/attributes.py:deadline": "a deadline that somebody asks for",
    "service/calls/accounts.py:Accounts.authenticate": "a key is remembered for five seconds; bounded both ways",
    "service/calls/accounts.py:Accounts._ids_there": "as above",
    "service/calls/trail.py:Audit.prune": "by the steady clock",
    "service/calls/browser_sessions.py": "by the steady clock; noted a minute later at worst",
    "service/calls/history.py": "by the steady clock",
    "service/upkeep/observation.py": "by the steady clock; how far the clocks are apart is what is told",
    "service/calls/metrics.py": "how far the clocks are apart is what is shown",
    "service/rows/promises.py:promises": "a promise runs out by the steady clock",
    "service/upkeep/schedules.py": "by the steady clock; a cursor that lies ahead is set back",
    "service/upkeep/scrub.py": "by the steady clock; what is dated ahead is looked at again",
    "service/upkeep/sweep.py": "by the steady clock",
    "service/calls/store_status.py:StoreStatus.describe": "days to show; by the steady clock",
    "service/calls/disk_space.py:DiskSpace.describe": "days to show; by the steady clock",
    "service/calls/protection.py": "both are times of rows of one kind of clock; the later one is what is told",
    "service/rows/tokens.py:remember": "by the steady clock",
    "api/app.py:Application._verify": "how long a time stamp, which its client wrote, is accepted by the clock behind",
    "api/signature.py": "a signature's time, which its client wrote",
    "engine/clients.py:plan_relief": "its times are by the monotonic clock",
    "objects/s3.py:S3Store._skewed": "how far the clocks are apart is what is said",
    "objects/s3_rules.py:S3Rules.abort_old": "both are the service's",
    "offline/bucket_check.py:_uploads": "both are the service's",
    "offline/store_check.py:_Check.clock": "how far the clocks are apart is what is looked at",
    "api/cbs/disks.py": "days to a deadline, for people to read",
}


class Finder(ast.NodeVisitor):
    """Finds subtractions and comparisons of wall times; remembers which function they are in."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.path: list[str] = []
        self.known: list[set[str]] = [set()]
        self.found: list[tuple[str, int]] = []

    def wall(self, node: ast.expr) -> bool:
        """Tell whether an expression is a wall time."""
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                monotonic = isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "time.time"
                return name in CLOCKS or monotonic or (name in {"min", "max"} and any(map(self.wall, node.args)))
            case ast.Attribute(attr=name):
                return (name.endswith("_at") and name != "_at") or name in WALL_ATTRIBUTES
            case ast.Name(id=name):
                return name in self.known[-1] or name.endswith("_at")
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                return self.wall(left) or self.wall(right)
        return False

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.path.append(node.name)
        self.known.append(set(self.known[-1]))
        if not isinstance(node, ast.ClassDef):
            given = [*node.args.args, *node.args.kwonlyargs]
            self.known[-1] -= {one.arg for one in given}
            self.known[-1] |= {one.arg for one in given} & WALL_NAMES
        self.generic_visit(node)
        self.known.pop()
        self.path.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - names of the standard library
    visit_ClassDef = visit_FunctionDef  # noqa: N815 - as above

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        pairs: list[tuple[ast.expr, ast.expr]] = []
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs += zip(target.elts, node.value.elts, strict=False)
            else:
                pairs.append((target, node.value))
        for target, value in pairs:
            if isinstance(target, ast.Name):
                (self.known[-1].add if self.wall(value) else self.known[-1].discard)(target.id)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.generic_visit(node)
        if isinstance(node.op, ast.Sub) and (self.wall(node.left) or self.wall(node.right)):
            self._report(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        self.generic_visit(node)
        sides = [node.left, *node.comparators]
        if any(isinstance(op, ORDERS) for op in node.ops) and any(map(self.wall, sides)):
            self._report(node)

    def _report(self, node: ast.expr) -> None:
        self.found.append((f"{self.file}:{'.'.join(self.path)}", node.lineno))


def ages(file: str, text: str) -> list[tuple[str, int]]:
    finder = Finder(file)
    finder.visit(ast.parse(text))
    return finder.found


def allowed_by(place: str) -> str | None:
    file, _, name = place.partition(":")
    return next((one for one in (file, *_outwards(file, name)) if one in ALLOWED), None)


def _outwards(file: str, name: str) -> Iterator[str]:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        yield f"{file}:{'.'.join(parts[:count])}"


def test_wall_times_are_subtracted_and_compared_where_that_was_thought_about() -> None:
    found, used = [], set()
    for path in sorted(SOURCE.rglob("*.py")):
        file = str(path.relative_to(SOURCE))
        if file.startswith("catalog/migrations/"):
            continue
        for place, line in ages(file, path.read_text()):
            by = allowed_by(place)
            used.add(by)
            if by is None:
                found.append(f"{place} line {line}")
    assert found == [], "an age? use domain.clock; a duration? use the monotonic clock"
    assert set(ALLOWED) - used == set(), "nothing there needs to be allowed"


MISTAKES = {
    "healing": "def f(self):\n now = self._in.clock()\n for d in x:\n  if now - self._since[d] < 3: pass",
    "silent": "def f(self, since):\n return self._in.clock() - since > 60",
    "expired": "def f(self):\n now = self._in.clock()\n self._e = [at for at in self._e if at > now - 3600]",
    "failed": "def f(found, i):\n return found[0].updated_at > i.clock() - 600",
    "backup": "def f(now, newest):\n age = now - newest.stat().st_mtime",
    "column": "def f(before):\n return select(a.c.created_at < before)",
    "root": "import time\ndef f(x):\n return time.time() - x",
    "inner": "def f(self):\n at = self._clock()\n def g(y):\n  return y < at\n return g",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_found(name: str) -> None:
    assert ages("planted.py", MISTAKES[name])


def test_durations_are_free() -> None:
    text = "def f(self, end):\n now = self._in.monotonic()\n return end - now, time.monotonic() < end, at_once < 3"
    assert ages("fine.py", text) == []
