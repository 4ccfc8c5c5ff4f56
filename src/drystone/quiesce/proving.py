"""Asking a prover to open what is on a clone's devices: the side of the service."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping

from drystone.domain.opening import Finding, OpeningStep
from drystone.quiesce import sandbox
from drystone.quiesce.prover_plan import END, LINE_BYTES_MAX, ProverPlan, decode_step, encode_plan

DEATH_SECONDS_MAX = 30.0


async def prove(
    plan: ProverPlan,
    *,
    seconds_max: float,
    environment: Mapping[str, str],
    on_step: Callable[[OpeningStep], Awaitable[None]],
) -> tuple[OpeningStep, ...]:
    """Run a prover to its end; return its steps. It and all that it started and mounted are gone when this returns.

    Args:
        plan: What to open.
        seconds_max: Of everything together.
        environment: `PATH` and no secrets.
        on_step: Told each step when it has ended.
    """
    steps: list[OpeningStep] = []
    try:
        command = sandbox.command((sys.executable, "-P", "-m", "drystone.quiesce.prover"))
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, env=dict(environment), limit=LINE_BYTES_MAX,
        )  # fmt: skip
    except (OSError, sandbox.SandboxError) as error:
        return (_gave_up(f"the prover cannot be started: {error}"),)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds_max):
            with contextlib.suppress(OSError):
                process.stdin.write(encode_plan(plan))
                await process.stdin.drain()
                process.stdin.close()
            while (line := await process.stdout.readline()) != END:
                if not line.endswith(b"\n"):
                    steps.append(_gave_up("the prover ended before it had tried everything"))
                    break
                step = decode_step(line)
                steps.append(step)
                await on_step(step)
    except TimeoutError:
        steps.append(_gave_up(f"everything together took over {seconds_max:g} s"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # What hangs in the kernel on a device is let go when the device's daemon is ended, by the caller.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEATH_SECONDS_MAX):
                await process.wait()
    return tuple(steps)


def _gave_up(detail: str) -> OpeningStep:
    return OpeningStep(title="prover", finding=Finding.NOT_PROVEN, seconds=0.0, detail=detail)
