"""What a byte costs at least: the parts of a snapshot's way, each alone.

A shared machine is slower by a factor from one second to the next, also in processor time. So each part is done in
pieces of milliseconds, all parts in turn, and the quickest of many turns counts.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.client import wait
from bench.figures import Figure
from bench.world import MIB, World
from drystone.codec.hashes import block_hashes, derive_keys
from drystone.codec.pack import FRAME_BYTES_MAX, encode_frame, frame_compressor
from drystone.nbd.client import NbdClient
from drystone.snapstore.comparison import zero_blocks

TURNS = 25
PIECE_BYTES = 4 * MIB
READ_BYTES = 32 * MIB
EXPORT = "floor"


def floor(world: World) -> Iterator[Figure]:
    """Hashing, compressing and reading through a storage daemon, each alone and on two threads at once."""
    image = world.image()
    with image.open("rb") as file:
        # Behind the inodes.
        file.seek(image.stat().st_size // 4)
        data = memoryview(file.read(PIECE_BYTES))
    keys = derive_keys(bytes(32))
    compressors = [frame_compressor(), frame_compressor()]
    frames = [data[at : at + FRAME_BYTES_MAX] for at in range(0, len(data), FRAME_BYTES_MAX)]
    buffer = bytearray(FRAME_BYTES_MAX)

    def copy(_thread: int) -> None:
        for frame in frames:
            buffer[: len(frame)] = frame

    def zeros(_thread: int) -> None:
        for frame in frames:
            zero_blocks(frame)

    def hashed(_thread: int) -> None:
        for frame in frames:
            block_hashes(keys, frame)

    def compressed(thread: int) -> None:
        for frame in frames:
            encode_frame(compressors[thread], frame)

    def encoded(thread: int) -> None:
        for frame in frames:
            block_hashes(keys, frame)
            encode_frame(compressors[thread], frame)

    parts: dict[str, tuple[Callable[[int], None], int]] = {
        "copying, one thread": (copy, 1),
        "finding zeros, one thread": (zeros, 1),
        "hashing blocks, one thread": (hashed, 1),
        "hashing blocks, two threads": (hashed, 2),
        "zstd level 1 of frames, one thread": (compressed, 1),
        "hashing and zstd, one thread": (encoded, 1),
        "hashing and zstd, two threads": (encoded, 2),
    }
    best = dict.fromkeys(parts, float("inf"))
    for _ in range(TURNS):
        for name, (act, threads) in parts.items():
            best[name] = min(best[name], _seconds(act, threads) / (threads * len(data)) * 1e9)
    for name, seconds in best.items():
        yield Figure(row="floor", what=name, value=seconds, unit="s per GB", note="wall, quickest of many")
    yield from _reading(world, image)


def _seconds(act: Callable[[int], None], threads: int) -> float:
    if threads == 1:
        began = time.perf_counter()
        act(0)
        return time.perf_counter() - began
    made = [threading.Thread(target=act, args=(thread,)) for thread in range(threads)]
    began = time.perf_counter()
    for one in made:
        one.start()
    for one in made:
        one.join()
    return time.perf_counter() - began


def _reading(world: World, image: Path) -> Iterator[Figure]:
    """Read with direct I/O through a daemon as the upload does; processor time of both sides."""
    socket = world.work / "floor.sock"
    daemon = subprocess.Popen([
        "qemu-storage-daemon",
        "--blockdev", f"file,node-name=f,read-only=on,filename={image},cache.direct=on,aio=io_uring",
        "--blockdev", "raw,node-name=d,read-only=on,file=f",
        "--nbd-server", f"addr.type=unix,addr.path={socket}", "--export", f"nbd,id=e,node-name=d,name={EXPORT}",
    ])  # fmt: skip
    try:
        wait(lambda: socket.exists() or daemon.poll() is not None, "the storage daemon", seconds=30)
        if daemon.poll() is not None:
            raise RuntimeError("the storage daemon ended")
        ours = theirs = wall = float("inf")
        length = min(READ_BYTES, image.stat().st_size)
        for _ in range(TURNS):
            with NbdClient(socket, EXPORT) as client:
                before, cpu, began = ran_s(daemon.pid), time.thread_time(), time.perf_counter()
                for _piece in client.read_ranges([(0, length)]):
                    pass
                wall = min(wall, time.perf_counter() - began)
                ours, theirs = min(ours, time.thread_time() - cpu), min(theirs, ran_s(daemon.pid) - before)
    finally:
        daemon.kill()
        daemon.wait()
    for name, seconds in (
        ("reading, the client's processor time", ours),
        ("reading, the daemon's processor time", theirs),
        ("reading, wall", wall),
    ):
        yield Figure(row="floor", what=name, value=seconds / length * 1e9, unit="s per GB", note="quickest of many")


def ran_s(pid: int) -> float:
    """Return the processor time of a process's threads, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
