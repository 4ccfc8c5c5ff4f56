"""Proofs of images in real machines, for tests: what the service does, without the service.

The image of programs is kept between runs, by what is in it; `PROVER` emulates, for KVM may be there and hang.
"""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drystone.domain.proof import ProofStep
from drystone.prove.prover import Asked, Prover, Settings

IMAGES = Path("/var/cache/drystone-tests")
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin"
SECONDS = 300.0
"""How long a proof may take on a loaded machine."""


def settings(**changed: Any) -> Settings:
    values: dict[str, Any] = {
        "images": IMAGES, "kernels": Path("/"), "kvm": False, "memory_mib": 768, "seconds_max": SECONDS,
        "idle_seconds_max": SECONDS,
    }  # fmt: skip
    return Settings(**{**values, **changed})


@contextlib.contextmanager
def served(image: Path, socket: Path) -> Iterator[Path]:
    """Serve an image as a clone is served: as `clone`, and nothing else."""
    with subprocess.Popen(
        ["qemu-nbd", "-k", str(socket), "-x", "clone", "-f", "raw", "-t", "--discard=unmap", str(image)]
    ) as server:
        try:
            deadline = time.monotonic() + SECONDS
            while not socket.exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield socket
        finally:
            server.kill()


def opened(
    image: Path, socket: Path, *, databases: tuple[str, ...] = (), prover: Prover | None = None, path: str = PATH,
    **changed: Any,
) -> tuple[ProofStep, ...]:  # fmt: skip
    """Prove an image; return the steps, each of which was told when it had ended."""
    told: list[ProofStep] = []

    async def run() -> tuple[ProofStep, ...]:
        made = prover or Prover(settings=settings(**changed), environment={"PATH": path})

        async def note(step: ProofStep) -> None:
            told.append(step)

        with made.user() as user:
            asked = Asked(user=user, clone=socket, export="clone", databases=databases)
            return await made.prove(asked, note)

    with served(image, socket):
        steps = asyncio.run(run())
    assert list(steps[: len(told)]) == told
    assert all(step.title == "machine" for step in steps[len(told) :])
    return steps
