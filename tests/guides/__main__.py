"""Follows the guides word for word, each on a machine of its own: `./dev guides [PAGE...]`."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from . import place
from .pages import GUIDES


def main() -> int:
    """Follow all guides, or those that are named; the exit code is 1 if one could not be followed."""
    parser = argparse.ArgumentParser(prog="./dev guides", description=__doc__)
    parser.add_argument("page", nargs="*", help=f"of {', '.join(GUIDES)}; all without one")
    parser.add_argument("--show", action="store_true", help="what each block prints, too")
    arguments = parser.parse_args()
    pages = arguments.page or list(GUIDES)
    for page in pages:
        if page not in GUIDES:
            parser.error(f"not a guide: {page}; guides are {', '.join(GUIDES)}")
    if os.geteuid() != 0:
        parser.error("guides need root: they mount disks, on machines of their own")
    # Whoever ends this one by a signal leaves no devices, and no copies of disks.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed = []
    for page in pages:
        print(f"--- {page}", flush=True)
        began = time.monotonic()
        with (
            tempfile.TemporaryDirectory(prefix="drystone-guide-", dir="/var/tmp") as directory,
            place.made(Path(directory)) as words,
        ):
            if place.run_inside(words, page, show=arguments.show) != 0:
                failed.append(page)
        print(f"{'FAILED' if page in failed else 'followed'} in {time.monotonic() - began:.0f} s", flush=True)
    not_these = f"; not: {', '.join(failed)}" if failed else ""
    print(f"{len(pages) - len(failed)} of {len(pages)} guides were followed{not_these}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
