"""Follows one page on the machine that `place` made: `python -m tests.guides.inside PAGE`."""

import os
import shutil
import sys
import time
from pathlib import Path

from .expected import missing
from .pages import ROOT, Block, blocks
from .place import LEFT_OUT, remove_devices
from .terminals import GuideError, Terminal

SECONDS = 120.0
"""How long a block may take; `seconds` behind its language says something else."""
OWN = "own"
"""The terminal in which a page's blocks run if they name none."""


class Reader:
    """Somebody who follows a page word for word."""

    def __init__(self, page: Path, place: Path, *, show: bool) -> None:
        self._page, self._place, self._show = page, place, show
        self._environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
            "LANG": "C.UTF-8", "USER": "root", "TERM": "dumb",
        }  # fmt: skip
        self._terminals: dict[str, Terminal] = {}

    def terminal(self, name: str) -> Terminal:
        """Return a terminal, opened if it is not yet."""
        if name not in self._terminals:
            self._terminals[name] = Terminal(name, self._place, self._environment, ROOT)
        return self._terminals[name]

    def follow(self) -> None:
        """Run the page's blocks, and compare what the page shows."""
        printed = ""
        for block in blocks(self._page.read_text()):
            if block.language == "text":
                different = missing(block.text, printed)
                if different:
                    line, instead = different
                    raise GuideError(f"line {block.line}: the page shows\n{line}\nand this was printed\n{instead}")
            elif block.language == "sh" and "skip" not in block.words:
                printed = self._run(block)
                if self._show:
                    print(printed, flush=True)

    def _run(self, block: Block) -> str:
        began = time.monotonic()
        seconds = float(block.words.get("seconds", SECONDS))
        try:
            if "guest" in block.words:
                terminal = self.terminal(block.words["guest"])
                if "ends" in block.words:
                    return terminal.type_last(block.text, seconds=seconds)
                return terminal.type(block.text, seconds=seconds)
            terminal = self.terminal(block.words.get("terminal", OWN))
            return terminal.run(block.text, seconds=seconds, until=block.words.get("until"))
        except GuideError as error:
            others = "".join(f"\n--- terminal {name}\n{one.printed()[-3000:]}" for name, one in self._terminals.items())
            raise GuideError(f"line {block.line}: {error}{others}") from None
        finally:
            first = block.text.splitlines()[0]
            print(f"{time.monotonic() - began:7.1f} s  line {block.line:3}  {first[:90]}", flush=True)

    def close(self) -> None:
        """Close all terminals."""
        for terminal in self._terminals.values():
            terminal.close()


def main() -> int:
    """Follow the page that the command line names."""
    os.umask(0o022)
    for name in LEFT_OUT:
        shutil.rmtree(ROOT / name, ignore_errors=True)
    place = Path("/run/terminals")
    place.mkdir()
    reader = Reader(ROOT / sys.argv[1], place, show="--show" in sys.argv)
    try:
        reader.follow()
    except GuideError as error:
        print(f"{sys.argv[1]}, {error}", flush=True)
        return 1
    finally:
        reader.close()
        # Here a device still says which disk it is of; when this machine is gone, nobody can tell.
        for data in (Path("/var/lib"), Path("/tmp"), ROOT / "data"):
            remove_devices(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
