"""The virtual machine of one proof: QEMU's system emulator, without rights, without a network, with bounds.

It is given descriptors, no paths: kernel, programs, the clone's NBD connection, one channel on which it can only talk.
It is one process, a child of this one that dies with it (S165, S166).
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass

from drystone.prove.appliance import ApplianceError, program

USER_BASE, USERS_EACH = 1_900_000_000, 16
"""Users of the machines, one each, so that none reaches another's process: for each server, by its process id, a few of
a range that nobody hands out. Source: systemd docs/UIDS-GIDS.md; pids are below 4,194,304 (linux/threads.h)."""
TRANSLATION_MIB = 128
"""Room for translated code where there is no KVM."""
OVERHEAD_MIB = 3072
"""Address space of the emulator beside the machine's memory: libraries, stacks, translated code."""
THREADS_MAX = 64
FILES_MAX = 64
SECONDS_BEYOND = 600
"""Beyond the time limit the kernel ends it, if nobody else did: whoever started it died before it could say so."""
NICE = 10
UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'
"""Whoever asks to die with its parent after that one has died is told nothing, and would live for ever."""


def users(process_id: int, count: int) -> range:
    """Return the users of a server's machines."""
    assert count <= USERS_EACH
    first = USER_BASE + process_id * USERS_EACH
    return range(first, first + count)


@dataclass(frozen=True, slots=True)
class Architecture:
    """How the emulator is called for one kind of processor."""

    emulator: str
    package: str
    board: str
    console: str
    kernel_package: str


ARCHITECTURES = {
    "x86_64": Architecture("qemu-system-x86_64", "qemu-system-x86", "pc", "ttyS0", "linux-image-cloud-amd64"),
    "aarch64": Architecture("qemu-system-aarch64", "qemu-system-arm", "virt", "ttyAMA0", "linux-image-cloud-arm64"),
}


def architecture(machine: str | None = None) -> Architecture:
    """Return the architecture of this host, or of the machine of that name.

    Raises:
        ApplianceError: It is not known.
    """
    name = platform.machine() if machine is None else machine
    found = ARCHITECTURES.get(name)
    if found is None:
        raise ApplianceError(f"there is no virtual machine for {name}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    """What the emulator is given, as numbers of open files."""

    kernel: int
    initramfs: int
    programs: int
    clone: int
    channel: int
    kvm: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one machine may take."""

    memory_mib: int
    seconds_max: float


def command(
    kind: Architecture,
    given: Descriptors,
    bounds: Bounds,
    *,
    server: int,
    user: int,
    export: str,
    words: Sequence[str],
    path: str,
) -> tuple[str, ...]:
    """Return the command of a machine; the process that runs it becomes the emulator.

    Args:
        kind: Of processor.
        given: Descriptors, inherited under these numbers.
        bounds: Its limits.
        server: The process that starts it, with which it dies.
        user: As whom it runs; group likewise.
        export: The clone's name on its NBD connection.
        words: For the prover, on the kernel's command line.
        path: `PATH`.

    Raises:
        ApplianceError: A program is missing.
    """
    space = (bounds.memory_mib + OVERHEAD_MIB) << 20
    seconds = int(bounds.seconds_max) + SECONDS_BEYOND
    emulated, kvm = f"tcg,tb-size={TRANSLATION_MIB}", f"kvm,device=/dev/fdset/{given.kvm}"
    line = " ".join((f"console={kind.console}", "panic=-1", "quiet", *words))
    return (
        program("prlimit", "util-linux", path), f"--as={space}", "--core=0", "--fsize=0", f"--cpu={seconds}",
        f"--nofile={FILES_MAX}", f"--nproc={THREADS_MAX}", "--memlock=0", "--",
        program("nice", "coreutils", path), "-n", str(NICE),
        program("unshare", "util-linux", path), "--net", "--ipc", "--",
        program("setpriv", "util-linux", path), f"--reuid={user}", f"--regid={user}", "--clear-groups",
        "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--pdeathsig", "KILL", "--",
        "/bin/sh", "-c", UNLESS_ORPHANED, str(server),
        program(kind.emulator, kind.package, path), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-machine", f"{kind.board},usb=off" if kind.board == "pc" else kind.board, "-cpu", "max", "-smp", "1",
        "-m", f"{bounds.memory_mib}", "-accel", emulated if given.kvm is None else kvm,
        *(() if given.kvm is None else ("-add-fd", f"fd={given.kvm},set={given.kvm}")),
        "-kernel", f"/dev/fd/{given.kernel}", "-initrd", f"/dev/fd/{given.initramfs}", "-append", line,
        "-monitor", "none", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
        "-blockdev", f"driver=file,node-name=programs,filename=/dev/fd/{given.programs},read-only=on,locking=off",
        "-device", "virtio-blk-pci,drive=programs",
        "-blockdev",
        f"driver=nbd,node-name=clone,server.type=fd,server.str={given.clone},export={export},discard=unmap",
        "-device", "virtio-blk-pci,drive=clone",
        "-chardev", f"socket,id=channel,fd={given.channel}", "-device", "virtio-serial-pci,max_ports=2",
        "-device", "virtserialport,chardev=channel,name=prove",
    )  # fmt: skip
