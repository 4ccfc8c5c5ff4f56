"""What a judge says."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How many of a judge's checks passed, and what it said of each that failed."""

    passed: int = 0
    failures: tuple[str, ...] = ()
    not_run: str = ""
    """What did not run, and why."""

    def line(self, judge: str) -> str:
        """Return the one line that is printed."""
        failed = len(self.failures)
        if not self.passed and not failed:
            return f"not run  {judge}: {self.not_run}"
        ran = f"{self.passed + failed} ran, {self.passed} passed, {failed} failed"
        return f"{'FAIL' if failed else 'pass'}     {judge}: {ran}{'; not run: ' if self.not_run else ''}{self.not_run}"
