"""Asking a machine to open what is on a clone: the side of the host. It reads lines, and nothing of the clone."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from drystone.domain.errors import ProtocolError, UnavailableError, ungrouped
from drystone.domain.proof import Finding, ProofStep
from drystone.prove import appliance, machine, programs
from drystone.prove.appliance import ApplianceError
from drystone.prove.wire import (
    DETAIL_CHARACTERS_MAX,
    END,
    HELLO,
    LINE_BYTES_MAX,
    STEPS_MAX,
    WORKING,
    WORKING_LINES_MAX,
    decode_step,
    printable,
)

KVM = Path("/dev/kvm")
KVM_SECONDS_MAX = 20.0
"""Within this a machine says hello where KVM works; it may be there and hang."""
DEATH_SECONDS_MAX = 30.0
CONSOLE_BYTES_MAX = 4 << 20
CONSOLE_TAIL_BYTES = 4096
CONNECT_SECONDS_MAX = 10.0
TAIL_SECONDS_MAX = 1.0
LEFT_FOR_THE_HOST = 0.9
"""Share of the time that one step may take in the machine, so that it can still say what took so long."""

OnStep = Callable[[ProofStep], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What machines are made of and may take."""

    images: Path
    kernels: Path
    """Where `boot` and `lib/modules` are."""
    kvm: bool
    memory_mib: int
    seconds_max: float
    idle_seconds_max: float
    """How long a machine may end no step, and read and write nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One proof."""

    user: int
    """As whom its machine runs: of `Prover.user`."""
    clone: Path
    """NBD socket of the clone's daemon, which serves nothing else."""
    export: str
    databases: tuple[str, ...]
    """Kinds of databases that must be on it."""


class _EndedError(Exception):
    """The machine ended, or broke the form of what it says; says how."""


class Prover:
    """Starts machines, as many at once as it is asked for; remembers whether KVM works.

    Args:
        settings: See there.
        environment: `PATH`, and no secrets.
    """

    def __init__(self, *, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._kvm = settings.kvm
        self._held: set[int] = set()
        """Users that were given."""
        self._last: dict[int, asyncio.subprocess.Process] = {}
        """The last process that each user had."""

    @contextlib.contextmanager
    def user(self) -> Iterator[int]:
        """Yield the user of a machine, which no process has (S165).

        Raises:
            UnavailableError: Machines of earlier proofs do not end, and have every user.
        """
        user = next((one for one in machine.users(os.getpid(), machine.USERS_EACH) if self._free(one)), None)
        if user is None:
            raise UnavailableError("the machines of earlier proofs were ended, and are still there")
        self._held.add(user)
        try:
            yield user
        finally:
            self._held.remove(user)

    def _free(self, user: int) -> bool:
        last = self._last.get(user)
        return user not in self._held and (last is None or last.returncode is not None)

    async def prove(self, asked: Asked, on_step: OnStep) -> tuple[ProofStep, ...]:
        """Run a machine to its end; return its steps. It is gone when this returns.

        Args:
            asked: What to open.
            on_step: Told each step when it has ended.
        """
        steps: list[ProofStep] = []

        async def note(step: ProofStep) -> None:
            steps.append(step)
            await on_step(step)

        try:
            kind = machine.architecture()
            with await asyncio.to_thread(self._files, kind.kernel_package) as files:
                if not await self._with_kvm(kind, files, asked, note):
                    await self._run(kind, files, None, asked, note)
        except (ApplianceError, _EndedError) as error:
            steps.append(_gave_up(str(error)))
        except OSError as error:
            steps.append(_gave_up(f"it cannot be started: {error}"))
        return tuple(steps)

    def _files(self, kernel_package: str) -> contextlib.AbstractContextManager["_Files"]:
        kernel = appliance.find_kernel(self._settings.kernels, kernel_package)
        image = programs.ensure(self._settings.images, self._environment)
        return _opened(kernel.image.read_bytes(), appliance.initramfs(kernel), image)

    async def _with_kvm(self, kind: machine.Architecture, files: "_Files", asked: Asked, on_step: OnStep) -> bool:
        """Try the processor's own virtualisation; return whether the machine said hello at all."""
        if not self._kvm:
            return False
        try:
            kvm = os.open(KVM, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            self._kvm = False
            return False
        try:
            await self._run(kind, files, kvm, asked, on_step)
        except _NoHelloError:
            # Tried once for each start of the server: emulation takes its place.
            self._kvm = False
            return False
        finally:
            os.close(kvm)
        return True

    async def _run(
        self, kind: machine.Architecture, files: "_Files", kvm: int | None, asked: Asked, on_step: OnStep
    ) -> None:
        seconds, idle, path = self._settings.seconds_max, self._settings.idle_seconds_max, self._environment["PATH"]
        bounds = machine.Bounds(memory_mib=self._settings.memory_mib, seconds_max=seconds)
        words = (
            f"drystone.databases={','.join(asked.databases)}", f"drystone.seconds={int(seconds * LEFT_FOR_THE_HOST)}"
        )  # fmt: skip
        (ours, theirs), (heard, said) = socket.socketpair(), socket.socketpair()
        with ours, theirs, heard, said, _connected(asked.clone) as connection:
            given = machine.Descriptors(
                kernel=files.kernel, initramfs=files.initramfs, programs=files.programs, clone=connection.fileno(),
                channel=theirs.fileno(), kvm=kvm,
            )  # fmt: skip
            command = machine.command(
                kind, given, bounds, server=os.getpid(), user=asked.user, export=asked.export, words=words, path=path
            )  # fmt: skip
            numbers = (given.kernel, given.initramfs, given.programs, given.clone, given.channel)
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=said.fileno(),
                stderr=said.fileno(), env={"PATH": path}, cwd="/", start_new_session=True,
                pass_fds=numbers if kvm is None else (*numbers, kvm),
            )  # fmt: skip
            self._last[asked.user] = process
            for one in (theirs, said, connection):
                one.close()
            try:
                await _Conversation(ours, heard, on_step).hear(
                    hello_seconds_max=idle if kvm is None else KVM_SECONDS_MAX, idle_seconds_max=idle,
                    seconds_max=seconds,
                )  # fmt: skip
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                # What waits for the clone in the kernel is let go when the clone's daemon is ended, by the caller.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DEATH_SECONDS_MAX):
                        await process.wait()


class _NoHelloError(_EndedError):
    """The machine never said hello."""


class _Conversation:
    """Hears one machine out."""

    def __init__(self, channel: socket.socket, console: socket.socket, on_step: OnStep) -> None:
        self._channel = channel
        self._console = console
        self._on_step = on_step
        self._tail = b""
        self._console_ended = asyncio.Event()

    async def hear(self, *, hello_seconds_max: float, idle_seconds_max: float, seconds_max: float) -> None:
        """Hear every step until the end.

        Raises:
            _NoHelloError: It did not begin in time.
            _EndedError: It ended early, hung (S192), took too long, said too much, or not what a prover says.
        """
        with ungrouped(_EndedError):
            async with asyncio.TaskGroup() as tasks:
                console = tasks.create_task(self._keep_tail())
                await self._lines(hello_seconds_max, idle_seconds_max, seconds_max)
                console.cancel()

    async def _lines(self, hello_seconds_max: float, idle_seconds_max: float, seconds_max: float) -> None:
        reader, writer = await asyncio.open_connection(sock=self._channel, limit=LINE_BYTES_MAX)
        try:
            async with asyncio.timeout(seconds_max):
                try:
                    async with asyncio.timeout(hello_seconds_max):
                        line = await self._line(reader)
                except TimeoutError:
                    raise _NoHelloError(f"it had not begun after {hello_seconds_max:g} s") from None
                if line != HELLO:
                    raise _NoHelloError(await self._with_tail("it ended before it began"))
                await self._steps(reader, idle_seconds_max)
        except TimeoutError:
            raise _EndedError(f"everything together took over {seconds_max / 60:g} minutes") from None
        finally:
            writer.close()

    async def _steps(self, reader: asyncio.StreamReader, idle_seconds_max: float) -> None:
        steps = working = 0
        while steps < STEPS_MAX and working < WORKING_LINES_MAX:
            try:
                async with asyncio.timeout(idle_seconds_max):
                    line = await self._line(reader)
            except TimeoutError:
                idle = f"{idle_seconds_max / 60:g} minutes"
                raise _EndedError(f"it hangs: for {idle} no step ended and nothing was read or written") from None
            if line == END:
                return
            if line == WORKING:
                working += 1
                continue
            if not line:
                raise _EndedError(await self._with_tail("it ended before it had tried everything"))
            try:
                step = decode_step(line)
            except ProtocolError as error:
                raise _EndedError(f"it does not speak as a prover does: {error}") from None
            steps += 1
            await self._on_step(step)
        raise _EndedError(f"it told over {STEPS_MAX} steps, or {WORKING_LINES_MAX} times that it works")

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        except asyncio.LimitOverrunError:
            raise _EndedError(f"it does not speak as a prover does: a line of over {LINE_BYTES_MAX} bytes") from None

    async def _keep_tail(self) -> None:
        """Read the console to its end, and keep the last of it: it says why a machine ended."""
        reader, writer = await asyncio.open_connection(sock=self._console, limit=CONSOLE_TAIL_BYTES)
        heard = 0
        try:
            while piece := await reader.read(CONSOLE_TAIL_BYTES):
                heard += len(piece)
                self._tail = (self._tail + piece)[-CONSOLE_TAIL_BYTES:]
                if heard > CONSOLE_BYTES_MAX:
                    raise _EndedError(f"its console said over {CONSOLE_BYTES_MAX >> 20} MiB")
        except ConnectionError:
            return
        finally:
            self._console_ended.set()
            writer.close()

    async def _with_tail(self, text: str) -> str:
        """Return a text with the last line of the console, which may come a little later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAIL_SECONDS_MAX):
                await self._console_ended.wait()
        lines = [line for line in self._tail.decode("ascii", "replace").splitlines() if line.strip()]
        return f"{text}: {lines[-1].strip()}" if lines else text


@dataclass(frozen=True, slots=True)
class _Files:
    """Descriptors of what every machine is started from."""

    kernel: int
    initramfs: int
    programs: int


@contextlib.contextmanager
def _opened(kernel: bytes, initramfs: bytes, image: Path) -> Iterator[_Files]:
    with contextlib.ExitStack() as stack:

        def held(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        yield _Files(
            kernel=held(appliance.in_memory("kernel", kernel)),
            initramfs=held(appliance.in_memory("initramfs", initramfs)),
            programs=held(os.open(image, os.O_RDONLY | os.O_CLOEXEC)),
        )


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_SECONDS_MAX)
        connection.connect(str(path))
        connection.setblocking(True)  # noqa: FBT003 - its own name
        yield connection


def _gave_up(detail: str) -> ProofStep:
    return ProofStep(
        title="machine", finding=Finding.NOT_PROVEN, seconds=0.0, detail=printable(detail, DETAIL_CHARACTERS_MAX)
    )
