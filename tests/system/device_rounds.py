"""Random rounds with the block devices of a host, against a model: no byte ever lands on another disk.

Between the rounds every link of a disk that there is gets a new mark written through it, as whoever trusts it would;
then each disk, and the files of a stranger under loop devices, must have what the model says.

    python -m tests.system.device_rounds --rounds 200 --seed 7
"""

import argparse
import contextlib
import os
import random
import tempfile
import time
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.engine import device_use, host_device
from tests.system import host_world
from tests.system.harness import GIB, Installation, installation
from tests.system.host_world import is_of, read_past_cache, run, standing, write_through

DISKS = 4
MARK_BYTES = 4096
FILE_BYTES = 200 << 20
"""Size of the file systems: past them lie the marks."""
MARK_AT = 9 * GIB
SETTLE_SECONDS = 60.0


class WrongDiskError(AssertionError):
    """A byte has landed, or could have, where it does not belong."""


class Rounds:
    """The installation, and what is to be on its disks."""

    def __init__(self, system: Installation, seed: int, room: Path) -> None:
        self.system = system
        self.rng = random.Random(seed)
        self.room = room
        self.disks = [system.create_disk() for _ in range(DISKS)]
        self.attached: set[str] = set()
        self.uses: dict[str, contextlib.ExitStack] = {}
        self.left: list[contextlib.ExitStack] = []
        """Uses of devices that are dead."""
        self.allowed: dict[str, set[bytes]] = {disk: {bytes(MARK_BYTES)} for disk in self.disks}
        self.strangers: dict[str, tuple[Path, contextlib.ExitStack]] = {}
        self.done: Counter[str] = Counter()
        self.planted: dict[Path, Path] = {}
        self.serial = 0

    # --- what happens ---

    def round(self) -> str:
        """Do one thing; return its name."""
        name = self.rng.choice([
            "attach", "attach", "attach", "detach", "detach", "use", "use", "use", "end_use", "take_down", "take_down",
            "kill_daemons", "kill_server", "stranger", "stranger", "stranger_ends", "old_link", "reboot",
        ])  # fmt: skip
        getattr(self, name)()
        self.done[name] += 1
        return name

    def attach(self) -> None:
        for disk in self.rng.sample(self.disks, 1):
            if disk not in self.attached:
                self.system.attach(disk, self.system.host_instance)
                self.attached.add(disk)

    def detach(self) -> None:
        """Refused while it is used, and then nothing is changed."""
        for disk in self.rng.sample(sorted(self.attached), min(1, len(self.attached))):
            if disk in self.uses:
                before = self.device(disk)
                try:
                    self.system.call("DetachDisks", DiskIds=[disk])
                except TencentCloudSDKException as error:
                    assert error.get_code() == "ResourceBusy", error  # noqa: PT017 - what it says is looked at
                else:
                    raise WrongDiskError(f"{disk} was detached while it was used")
                assert self.device(disk) == before
                assert not host_world.autoclear(before)
                self.done["detach refused"] += 1
            else:
                self.system.detach(disk)
                self.attached.discard(disk)
                assert not list(host_device.LINKS.glob(f"virtio-{disk}*"))

    def use(self) -> None:
        free = sorted(self.attached - self.uses.keys())
        for disk in self.rng.sample(free, min(1, len(free))):
            kind = self.rng.choice(["open", "claim", "loop", "btrfs", "ext4", "namespace"])
            stack = contextlib.ExitStack()
            stack.enter_context(_used(kind, self.device(disk), self.room / f"mnt {self.serial}"))
            self.uses[disk] = stack
            self.done[f"use {kind}"] += 1

    def end_use(self) -> None:
        for disk in self.rng.sample(sorted(self.uses), min(1, len(self.uses))):
            self.uses.pop(disk).close()

    def take_down(self) -> None:
        """Somebody runs `losetup --detach` on a device that is in use or not."""
        for disk in self.rng.sample(sorted(self.attached), min(1, len(self.attached))):
            host_world.take_down(self.device(disk))

    def kill_daemons(self) -> None:
        """Who uses a device then has a dead one; the disk gets another, which nobody uses."""
        self.system.kill_daemons()
        self.left += self.uses.values()
        self.uses.clear()
        while len(self.left) > DISKS:
            self.left.pop(0).close()

    def kill_server(self) -> None:
        """Somebody takes devices down while no server runs, and the numbers go to somebody else."""
        self.system.kill()
        for disk in sorted(self.attached):
            if self.rng.random() < 0.5 and disk not in self.uses:
                for device, file in list(host_world.loops()):
                    if Path(file).name == f"{disk}.raw":
                        host_world.take_down(device)
        # Links lie there with numbers that are free: whoever writes through them now is nobody's fault but his.
        self.system.start()

    def reboot(self) -> None:
        """Daemons, devices and mounts go; links stay where /dev is kept."""
        for stack in (*self.uses.values(), *self.left):
            stack.close()
        self.uses.clear()
        self.left.clear()
        self.system.kill()
        self.system.kill_daemons(store=True)
        for device, file in list(host_world.loops()):
            if any(Path(file).name == f"{disk}.raw" for disk in self.disks):
                host_world.take_down(device)
        for mount in list(device_use.mounts()):
            if mount.place.startswith(f"{self.system.layout.run}/"):
                run("umount", "--lazy", "--no-canonicalize", mount.place)
        self.stranger()
        self.system.start()

    def stranger(self) -> None:
        """Another program of this host takes the next loop device."""
        if len(self.strangers) < 3:
            file = self.room / f"stranger {self.serial}"
            self.serial += 1
            file.write_bytes(bytes(1 << 20))
            stack = contextlib.ExitStack()
            self.strangers[stack.enter_context(host_world.looped(file))] = (file, stack)

    def stranger_ends(self) -> None:
        for device in self.rng.sample(sorted(self.strangers), min(1, len(self.strangers))):
            file, stack = self.strangers.pop(device)
            stack.close()
            file.unlink()

    def old_link(self) -> None:
        """A link of an older installation, or of a disk of ours, leads to the next free number."""
        name = self.rng.choice(["virtio-disk-zzzzzz00", *(f"virtio-{d}" for d in self.disks if d not in self.attached)])
        link = host_device.LINKS / name
        host_device.LINKS.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(host_world.free_number())
            self.planted[link] = link.readlink()

    # --- what must hold ---

    def device(self, disk: str) -> Path:
        """Return the device of an attached disk, once it has one again."""
        link = host_device.LINKS / f"virtio-{disk}"
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                found = link.readlink()
                descriptor_works = is_of(found, disk) and read_past_cache(found, MARK_AT, 1) is not None
                if descriptor_works:
                    return found
            time.sleep(0.02)
        raise AssertionError(f"{disk} has no device that can be read:\n{self.system.log()}")

    def check(self) -> None:
        """Write through every link that there is, then look at everything."""
        if self.rng.random() < 0.5:
            self.write_all()  # At once, whatever is being put right just now.
        for disk in sorted(self.attached):
            self.device(disk)
        self.write_all()
        for disk in sorted(self.attached):
            seen = read_past_cache(self.device(disk), MARK_AT, MARK_BYTES)
            if seen not in self.allowed[disk]:
                raise WrongDiskError(f"{disk} has {seen[:40]!r}, not one of {sorted(self.allowed[disk])[:3]!r}")
            self.allowed[disk] = {seen}
        for device, (file, _) in self.strangers.items():
            if file.read_bytes() != bytes(1 << 20):
                raise WrongDiskError(f"what was meant for a disk is in {file} ({device})")

    def write_all(self) -> None:
        for link in sorted(host_device.LINKS.glob("virtio-disk-*")):
            disk = link.name.removeprefix("virtio-")
            mine = disk in self.disks or disk == "disk-zzzzzz00"
            if not mine:
                continue  # Of another installation on this machine.
            with contextlib.suppress(OSError):
                stands = standing(link.readlink())
                if stands is None:
                    continue  # A number that is nobody's.
                if Path(stands).name != f"{disk}.raw":
                    ours = Path(stands).name in {f"{other}.raw" for other in self.disks}
                    if self.planted.get(link) == link.readlink() and not ours:
                        continue  # Drystone has had no part in either.
                    raise WrongDiskError(f"{link} leads to {link.readlink()}, which stands on {stands}")
                self.serial += 1
                mark = f"{disk} {self.serial}".encode().ljust(MARK_BYTES, b".")
                self.allowed[disk].add(mark)
                write_through(link, MARK_AT, mark)
                self.allowed[disk] = {mark}

    def close(self) -> None:
        """Undo what strangers do."""
        for stack in (*self.uses.values(), *self.left, *(stack for _, stack in self.strangers.values())):
            with contextlib.suppress(Exception):
                stack.close()
        (host_device.LINKS / "virtio-disk-zzzzzz00").unlink(missing_ok=True)


def _used(kind: str, device: Path, where: Path) -> AbstractContextManager[object]:
    if kind == "open":
        return host_world.opened(device)
    if kind == "claim":
        return host_world.opened(device, os.O_RDWR | os.O_EXCL)
    if kind == "loop":
        return host_world.looped(device)
    if kind == "btrfs":
        run("mkfs.btrfs", "-q", "-f", "-b", str(FILE_BYTES), str(device))
        return host_world.mounted(device, where)
    run("mkfs.ext4", "-q", "-F", str(device), f"{FILE_BYTES >> 20}M")
    return host_world.mounted(device, where) if kind == "ext4" else host_world.mounted_elsewhere(device, where)


def play(system: Installation, seed: int, rounds: int, room: Path, *, show: bool = False) -> Counter[str]:
    """Play so many rounds; return how often each thing was done.

    Raises:
        AssertionError: Something does not hold; the message has the seed.
    """
    game = Rounds(system, seed, room)
    name = "nothing"
    try:
        for number in range(rounds):
            name = game.round()
            game.check()
            if show and number % 10 == 9:
                print(f"{number + 1} rounds", flush=True)
    except Exception as error:
        raise AssertionError(f"seed {seed}, after {name}: {error}") from error
    finally:
        game.close()
    return game.done


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="device rounds ") as room:
        began = time.monotonic()
        with installation(Path(room) / "data") as system:
            done = play(system, options.seed, options.rounds, Path(room), show=True)
        print(
            f"seed {options.seed}: {options.rounds} rounds in {time.monotonic() - began:.0f} s, no byte on another disk"
        )
        print(", ".join(f"{name} {count}" for name, count in sorted(done.items())))


if __name__ == "__main__":
    main()
