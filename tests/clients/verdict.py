"""What a judge says."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How many of a judge's checks passed, and what it said of each that failed."""

    passed: int = 0
    failures: tuple[str, ...] = ()
    not_run: str = ""
    """Why nothing ran."""

    def line(self, judge: str) -> str:
        """Return the one line that is printed."""
        if self.not_run:
            return f"not run  {judge}: {self.not_run}"
        ran, failed = self.passed + len(self.failures), len(self.failures)
        return f"{'FAIL' if failed else 'pass'}     {judge}: {ran} ran, {self.passed} passed, {failed} failed"
