"""A disk as a block device of this host, with stable links `/dev/disk/by-id/virtio-<disk id>` and `…-part1`, `…-part2`.

Kernel nbd where the kernel has it, else a loop device over a FUSE export. Loop devices are of a second class: when
their storage daemon dies, file systems on them must be mounted again.

Which device is a disk's is asked of the kernel each time (S100): a loop device is the disk's if it stands on the file
at which this installation's daemons export the disk. The links are for people; none is ever followed.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import command, device_use, loop, partitions

LINKS = Path("/dev/disk/by-id")
SOCKETS = Path("/run/drystone-nbd")
"""Which socket each kernel nbd device was connected to: the kernel does not say. Gone with the devices at a reboot."""
GONE_SECONDS_MAX = 5.0
POLL_SECONDS = 0.02
MOUNTED_OVER_MAX = 8
"""Dead FUSE mounts at one place, one over the other, that are taken away at once."""
_LINK = re.compile(r"virtio-(disk-[0-9a-z]+)(?:-part[0-9]+)?")


def link(disk_id: DiskId) -> Path:
    """The stable name of the disk's device; the id is where a virtio serial would stand, as clients expect."""
    return LINKS / f"virtio-{disk_id}"


def kernel_has_nbd() -> bool:
    """Tell whether the kernel serves NBD devices and nbd-client is there to set them up."""
    return Path("/sys/module/nbd").is_dir() and any(
        (Path(directory) / "nbd-client").exists() for directory in ("/usr/sbin", "/sbin", "/usr/bin")
    )


def is_mount(file: Path) -> bool:
    """Tell whether something is mounted there; a FUSE file of a dead daemon still is, and is not touched."""
    place = str(file.parent.resolve() / file.name)
    return any(mount.place == place for mount in device_use.mounts())


async def unmount_dead(file: Path) -> None:
    """Take away every FUSE mount of a dead daemon at this place."""
    for _ in range(MOUNTED_OVER_MAX):
        if not await asyncio.to_thread(is_mount, file):
            return
        with contextlib.suppress(UnavailableError):
            await command.run("umount", "--lazy", "--no-canonicalize", str(file.parent.resolve() / file.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Disks whose links, or whose device that is held, were not in order at one moment."""

    wrong: frozenset[DiskId]
    """For certain."""
    doubtful: frozenset[DiskId]
    """Links of disks that are not attached, and may be those of another installation that is down."""


@dataclass(frozen=True, slots=True)
class HostDevices:
    """The block devices of one installation's disks."""

    run: Path
    """Directory below which its storage daemons have theirs, each with the FUSE exports of its disks."""
    held: dict[DiskId, tuple[Path, int]]
    """Descriptors of the loop devices, by their disks: a device that is open stays, whoever takes it away."""

    # --- which device -------------------------------------------------------------------------------------------------

    def loops(self, disk_id: DiskId) -> list[Path]:
        """Return the loop devices that stand on an export of the disk, dead ones too."""
        return [device for device, file in loop.standing() if self._exports(disk_id, file)]

    def device_of(self, disk_id: DiskId) -> Path | None:
        """Return the block device that is this disk now, whatever a link says; None if there is none."""
        linked = _target(link(disk_id))
        file = None if linked is None else loop.file_of(linked)
        if file is not None and self._exports(disk_id, file):
            return linked
        return _choose(disk_id, linked, self.loops(disk_id))

    def _exports(self, disk_id: DiskId, file: Path) -> bool:
        """Tell whether a daemon of this installation exports the disk at this file."""
        # The file itself is not looked at, for its daemon may hang; its directory by what it is, not by its name.
        return file.name == f"{disk_id}.raw" and _same(file.parent.parent, self.run)

    def _is(self, disk_id: DiskId, device: Path) -> bool:
        file = loop.file_of(device)
        return _is_nbd_of(disk_id, device) if file is None else self._exports(disk_id, file)

    def numbers(self, disk_id: DiskId) -> frozenset[int]:
        """Return the device numbers (`st_rdev`) of the disk's device and its partitions; none if it has no device."""
        device = self.device_of(disk_id)
        if device is None:
            return frozenset()
        pairs = (name.split(":") for name in device_use.numbers(device))
        return frozenset(os.makedev(int(major), int(minor)) for major, minor in pairs)

    async def user_of(self, disk_id: DiskId) -> str | None:
        """Say who uses the disk's device, in words that follow "it is"; None if nobody does or there is none."""
        device = await asyncio.to_thread(self.device_of, disk_id)
        return None if device is None else await asyncio.to_thread(device_use.user_of, device)

    # --- attach and detach --------------------------------------------------------------------------------------------

    async def attach_loop(self, disk_id: DiskId, file: Path) -> Path:
        """Put a loop device over the FUSE file and point the links at it; return the link. Repeats safely.

        Raises:
            UnavailableError: There is none, or a disk of this id is attached by another installation.
        """
        device = await asyncio.to_thread(self._loop_over, disk_id, file)
        if device is None:
            foreign = await asyncio.to_thread(self._foreign, disk_id)
            if foreign is not None:
                raise UnavailableError(
                    f"{link(disk_id)} is the disk of this id of another installation ({foreign}); detach it there first"
                )
            device = await asyncio.to_thread(loop.make, file, unlink_all)
            await partitions.find(device)
        await self._keep(disk_id, device)
        if not await asyncio.to_thread(self._point, disk_id, device):
            self._let_go(disk_id)
            raise UnavailableError(f"{device} was taken away by another program as soon as it was there")
        return link(disk_id)

    async def attach_nbd(self, disk_id: DiskId, socket: Path) -> Path:
        """Connect a free kernel nbd device that reconnects by itself, and point the links at it; return the link.

        A device that is connected to another socket, where the disk was served before, is given up: it would try to
        reconnect there for ever.
        """
        existing = _target(link(disk_id))
        if existing is not None and _is_nbd_of(disk_id, existing):
            if _socket_of(disk_id) == socket:
                _point(disk_id, existing)
                return link(disk_id)
            await _disconnect(disk_id, existing)
        for candidate in sorted(loop.BLOCK_DEVICES.glob("nbd*"), key=lambda path: int(path.name[3:])):
            device = loop.DEVICES / candidate.name
            # One that was given up while it was mounted is not free: that file system would go on in another disk.
            if _connected(device) or await asyncio.to_thread(device_use.user_of, device) is not None:
                continue
            unlink_all(device)
            await command.run(
                "nbd-client", "-unix", str(socket), str(device), "-name", disk_id, "-persist", "-timeout", "30"
            )
            _replace_link(SOCKETS / disk_id, socket)
            _point(disk_id, device)
            return link(disk_id)
        raise UnavailableError("every /dev/nbd* is in use; load the nbd module with a larger nbds_max")

    async def flush(self, disk_id: DiskId) -> None:
        """Write back what the kernel holds of the device, down to the storage daemon.

        A write that the loop device acknowledged lies in the page cache of the file below it; P1 wants it in.
        """
        device = await asyncio.to_thread(self.device_of, disk_id)
        if device is not None:
            await asyncio.to_thread(_flush, device)

    async def detach(self, disk_id: DiskId) -> None:
        """Flush the device, take it away with its links. It is gone when this returns.

        Raises:
            UnavailableError: It is in use; it and its links are as they were (S102).
        """
        device = await asyncio.to_thread(self.device_of, disk_id)
        if device is not None:
            used = await asyncio.to_thread(device_use.user_of, device)
            if used is not None:
                raise UnavailableError(f"{device} is in use: it is {used}")
            await asyncio.to_thread(_flush, device)
            if device.name.startswith("nbd"):
                await _disconnect(disk_id, device)
            else:
                self._let_go(disk_id)
                try:
                    await _release(device)
                except UnavailableError:
                    await self._keep(disk_id, device)
                    raise
        self._unlink(disk_id)

    async def abandon(self, disk_id: DiskId, files: Sequence[Path], *, served_again: bool) -> None:
        """Clean up after a dead storage daemon: its loop devices are given up, stale FUSE mounts taken away.

        A file system that is still mounted from such a device keeps it until it is unmounted; it answers errors, and
        no link leads to it any more.

        Args:
            disk_id: The disk.
            files: Every file at which the daemon may have exported it.
            served_again: Whether the disk stays attached: then a kernel nbd device stays, and reconnects to the next
                daemon. Otherwise it must not: whoever is served at its socket later is somebody else.
        """
        linked = _target(link(disk_id))
        nbd = linked is not None and _is_nbd_of(disk_id, linked)
        if linked is not None and nbd and not served_again:
            with contextlib.suppress(UnavailableError):
                await _disconnect(disk_id, linked)
        self._let_go(disk_id)
        for device in await asyncio.to_thread(self.loops, disk_id):
            await asyncio.to_thread(loop.give_up, device)
        for file in files:
            await unmount_dead(file)
        if not (nbd and served_again):
            self._unlink(disk_id)

    async def grown(self, disk_id: DiskId, size_bytes: int) -> None:
        """Have the kernel see that the file below a loop device has grown to `size_bytes`.

        Raises:
            UnavailableError: It does not see it in time: the kernel believes a FUSE file's old size for a second.
        """
        device = await asyncio.to_thread(self.device_of, disk_id)
        if device is None or not device.name.startswith("loop"):
            return
        size = loop.BLOCK_DEVICES / device.name / "size"
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(GONE_SECONDS_MAX):
                while int(size.read_text()) * loop.SECTOR_BYTES < size_bytes:
                    await asyncio.to_thread(loop.set_capacity, device)
                    await asyncio.sleep(0.05)
                return
        raise UnavailableError(f"{device} does not see its new size of {size_bytes} bytes")

    # --- links --------------------------------------------------------------------------------------------------------

    def look(self, attached: Collection[DiskId]) -> Sight:
        """Look once at all loop devices and all links, and compare them with the disks that are attached.

        What it returns may have changed since: it says where `relink` has to look again.
        """
        held, links = dict(self.held), _all_links()
        runs: dict[str, bool] = {}
        devices: dict[str, list[Path]] = {}
        owners: dict[Path, str] = {}
        foreign: set[tuple[str, Path]] = set()
        for one, file in loop.standing():
            run, name = os.path.dirname(os.path.dirname(file)), file.name.removesuffix(".raw")  # noqa: PTH120 - quick
            if run not in runs:
                runs[run] = _same(Path(run), self.run)
            if runs[run]:
                devices.setdefault(name, []).append(one)
                owners[one] = name
            else:
                foreign.add((name, one))
        wrong, doubtful = set[DiskId](), set[DiskId]()
        for disk_id in attached:
            mine = links.get(disk_id, {})
            device = _choose(disk_id, mine.get(link(disk_id)), devices.get(disk_id, []))
            if device is None or mine != _links(disk_id, device) or not _is_held(held.get(disk_id), device):
                wrong.add(disk_id)
        for disk_id in links.keys() - attached:
            target = links[disk_id].get(link(disk_id))
            if any(owners.get(_whole(leads), disk_id) != disk_id for leads in links[disk_id].values()):
                wrong.add(disk_id)
            elif target is None or (disk_id, target) not in foreign:
                doubtful.add(disk_id)
        return Sight(wrong=frozenset(wrong | (held.keys() - attached)), doubtful=frozenset(doubtful))

    async def relink(self, disk_id: DiskId, *, served: bool) -> bool:
        """Have the links of a disk lead to its device and partitions, and take away those that lead elsewhere (S105).

        The disk's graph lock is held, and its row was read under it: nobody else attaches or detaches it meanwhile.

        Args:
            disk_id: The disk.
            served: Whether it may have a device now; otherwise its links go, and it is not held.

        Returns:
            Whether it has a device.
        """
        device = await asyncio.to_thread(self.device_of, disk_id) if served else None
        if device is not None:
            await self._keep(disk_id, device)
            if await asyncio.to_thread(self._point, disk_id, device):
                return True
        self._let_go(disk_id)
        await asyncio.to_thread(self._unlink, disk_id)
        return False

    def let_go(self) -> None:
        """Hold no device any more: whoever comes next asks who has it open."""
        for disk_id in list(self.held):
            self._let_go(disk_id)

    async def _keep(self, disk_id: DiskId, device: Path) -> None:
        """Hold a loop device; one that somebody has marked to go stays."""
        known, descriptor = self.held.get(disk_id, (None, -1))
        with contextlib.suppress(OSError):
            if known == device:
                await asyncio.to_thread(loop.keep, device, descriptor)
                return
            self._let_go(disk_id)
            if not device.name.startswith("nbd"):
                self.held[disk_id] = (device, await asyncio.to_thread(loop.hold, device))

    def _point(self, disk_id: DiskId, device: Path) -> bool:
        """Point the links at the device, which is held; tell whether it is the disk's, or leave them."""
        # Asked once it is held: what is open keeps its number.
        if not self._is(disk_id, device):
            return False
        _point(disk_id, device)
        return True

    def _let_go(self, disk_id: DiskId) -> None:
        _device, descriptor = self.held.pop(disk_id, (None, -1))
        if descriptor >= 0:
            os.close(descriptor)

    def _loop_over(self, disk_id: DiskId, file: Path) -> Path | None:
        return next((device for device in self.loops(disk_id) if loop.stands_on(device, file)), None)

    def _unlink(self, disk_id: DiskId) -> None:
        """Take the disk's links away, unless they lead to a disk of this id that another installation has: a copy."""
        if self._foreign(disk_id) is None:
            _unlink(disk_id)

    def _foreign(self, disk_id: DiskId) -> Path | None:
        """Return the file on which the linked device stands if it is another installation's disk of this id."""
        linked = _target(link(disk_id))
        file = None if linked is None else loop.file_of(linked)
        foreign = file is not None and file.name == f"{disk_id}.raw" and not _same(file.parent.parent, self.run)
        return file if foreign else None


def unlink_all(device: Path) -> None:
    """Take away every link of a disk that names this device or a partition of it: it becomes another's (S101)."""
    for entry in LINKS.glob("virtio-disk-*"):
        target = _target(entry)
        if _LINK.fullmatch(entry.name) and target is not None and _whole(target) == device:
            entry.unlink(missing_ok=True)


def _choose(disk_id: DiskId, linked: Path | None, loops: Sequence[Path]) -> Path | None:
    """Return which of a disk's devices is used: the one that is linked, else the newest."""
    if linked in loops:
        return linked
    if loops:
        return loops[-1]
    return linked if linked is not None and _is_nbd_of(disk_id, linked) else None


def _is_held(held: tuple[Path, int] | None, device: Path) -> bool:
    """Tell whether a device stays: it is open here, and nobody has marked it to go."""
    if device.name.startswith("nbd"):
        return held is None
    with contextlib.suppress(OSError):
        return held is not None and held[0] == device and not loop.is_going(device)
    return False


def _whole(device: Path) -> Path:
    """Return the device that a partition is of; a whole device is its own."""
    return device.with_name(re.sub(r"(?<=\d)p\d+$", "", device.name))


def _same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return False


def _target(path: Path) -> Path | None:
    try:
        return path.readlink()
    except OSError:
        return None


def _flush(device: Path) -> None:
    try:
        descriptor = os.open(device, os.O_RDWR)
    except OSError as error:
        raise UnavailableError(f"{device} cannot be opened to flush it: {error}") from error
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise UnavailableError(f"{device} cannot be flushed: {error}") from error
    finally:
        os.close(descriptor)


async def _release(device: Path) -> None:
    """Take a loop device away that was found free; somebody may have opened it since.

    Raises:
        UnavailableError: Somebody has; it is as it was.
    """
    try:
        async with asyncio.timeout(GONE_SECONDS_MAX):
            while not await asyncio.to_thread(loop.release, device):
                used = await asyncio.to_thread(device_use.user_of, device)
                if used is not None:
                    raise UnavailableError(f"{device} is in use: it is {used}")
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise UnavailableError(f"{device} is in use: it is held open by another program") from error
    except OSError as error:
        raise UnavailableError(f"{device} cannot be taken away: {error.strerror}") from error


# --- kernel nbd -------------------------------------------------------------------------------------------------------


def _is_nbd_of(disk_id: DiskId, device: Path) -> bool:
    """Tell whether an nbd device is one that this host connected for the disk, and nobody else since."""
    if not device.name.startswith("nbd") or not _connected(device) or _socket_of(disk_id) is None:
        return False
    with contextlib.suppress(OSError):
        client = (loop.BLOCK_DEVICES / device.name / "pid").read_text().strip()
        words = (device_use.PROC / client / "cmdline").read_bytes().split(b"\0")
        # A client that has ended (it gave the socket to the kernel) says nothing.
        return not words[0].endswith(b"nbd-client") or disk_id.encode() in words
    return True


def _connected(device: Path) -> bool:
    return (loop.BLOCK_DEVICES / device.name / "pid").exists()


def _socket_of(disk_id: DiskId) -> Path | None:
    return _target(SOCKETS / disk_id)


async def _disconnect(disk_id: DiskId, device: Path) -> None:
    """Disconnect a kernel nbd device; the disk has no device then."""
    await command.run("nbd-client", "-d", str(device))
    _unlink(disk_id)
    (SOCKETS / disk_id).unlink(missing_ok=True)


# --- links ------------------------------------------------------------------------------------------------------------


def _links(disk_id: DiskId, device: Path) -> dict[Path, Path]:
    """Return the links that a disk on this device has, and what they lead to."""
    name = link(disk_id)
    parts = partitions.of(device)
    return {name: device} | {name.with_name(f"{name.name}-part{number}"): part for number, part in parts.items()}


def _all_links() -> dict[DiskId, dict[Path, Path]]:
    """Return the links of all disks, and what they lead to."""
    found: dict[DiskId, dict[Path, Path]] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(LINKS):  # noqa: PTH208 - two a second, of thousands
            match = _LINK.fullmatch(name)
            target = None if match is None else _target(LINKS / name)
            if match is not None and target is not None:
                found.setdefault(DiskId(match[1]), {})[LINKS / name] = target
    return found


def _point(disk_id: DiskId, device: Path) -> None:
    wanted = _links(disk_id, device)
    for path, target in wanted.items():
        if _target(path) != target:
            _replace_link(path, target)
    _unlink(disk_id, keep=wanted.keys())


def _unlink(disk_id: DiskId, keep: Collection[Path] = ()) -> None:
    for path in (link(disk_id), *LINKS.glob(f"virtio-{disk_id}-part*")):
        if path not in keep:
            path.unlink(missing_ok=True)


def _replace_link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(path)
