"""Ceph's own S3 server for long tests: a cluster of one monitor, one OSD in a sparse file, and a gateway, on loopback.

`./dev test --long` installs the packages. Daemons are children of the tests and end with them.
"""

import contextlib
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from drystone.objects.address import S3Address
from tests.s3_server import free_port, make_bucket

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool", "ceph")
START_S = 60.0
KEY, SECRET = "test-key", "test-secret"
# Small caches and buffers; a lone monitor does not gather changes for a second before each map; a file of a virtual
# disk is not taken for a slow one; one copy of everything, in few placement groups.
CONFIG = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon}/0]
ms_bind_msgr1 = false
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_allow_insecure_global_id_reclaim = false
keyring = {place}/keyring
run_dir = {place}
admin_socket =
pid_file =
log_file = {place}/$name.log
log_to_stderr = false
mon_cluster_log_file = {place}/cluster.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
[mon]
mon_data = {place}/mon
mon_data_avail_crit = 1
mon_data_avail_warn = 2
mgr_initial_modules =
paxos_propose_interval = 0.05
[osd]
osd_data = {place}/osd
bluestore_block_size = 4294967296
osd_memory_target = 939524096
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
bluestore_debug_enforce_settings = ssd
bluestore_fsck_on_mkfs = false
bdev_aio_poll_ms = 20
[client]
log_file =
[client.rgw.a]
rgw_data = {place}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{rgw} tcp_nodelay=1
rgw_thread_pool_size = 32
"""
CAPABILITIES = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
    "client.rgw.a": {"mon": "allow rw", "osd": "allow rwx", "mgr": "allow rw"},
}


class RgwServer:
    """A gateway and its cluster, in a directory.

    Args:
        place: The directory; its path must be short, for sockets.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._config = place, place / "ceph.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._monitor, self.port = free_port(), free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Make the cluster and wait until the gateway answers."""
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        assert not missing, f"{missing} are missing: ./dev test --long installs Ceph"
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        config = CONFIG.format(fsid=fsid, mon=self._monitor, rgw=self.port, place=self._place)
        self._config.write_text(config)
        keyring = self._place / "keyring"
        for name, capabilities in CAPABILITIES.items():
            allowed = [word for kind, what in capabilities.items() for word in ("--cap", kind, what)]
            new = [] if keyring.exists() else ["-C"]
            self._run("ceph-authtool", *new, str(keyring), "--gen-key", "-n", name, *allowed)
        for name in ("mon", "osd", "rgw"):
            (self._place / name).mkdir()
        monmap = str(self._place / "monmap")
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{self._monitor}]", monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", str(keyring))
        self._begin("ceph-mon", "-i", "a")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "--no-mon-config")
        self._run("ceph", "--connect-timeout", "30", "osd", "new", osd, "0")
        self._begin("ceph-osd", "-i", "0")
        self._begin("radosgw", "-n", "client.rgw.a")
        end = time.monotonic() + START_S
        while not self._answers():
            dead = [one.args for one in self._daemons if one.poll() is not None]
            assert not dead, f"{dead} ended; the logs are in {self._place}"
            assert time.monotonic() < end, "radosgw does not answer"
            time.sleep(0.1)
        self._run(
            "radosgw-admin", "user", "create", "--uid=test", "--display-name=test", f"--access-key={KEY}",
            f"--secret-key={SECRET}",
        )  # fmt: skip

    def stop(self) -> None:
        """End it at once: nothing of it is needed any more."""
        for one in reversed(self._daemons):
            one.kill()
            one.wait()
        self._daemons.clear()

    def address(self, bucket: str, keys: Path, *, prefix: str = "") -> S3Address:
        """Return the address of a bucket, which is made."""
        keys.touch(mode=0o600)
        keys.write_text(f"AWS_ACCESS_KEY_ID={KEY}\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
        made = S3Address(bucket=bucket, prefix=prefix, endpoint=self.endpoint, keys_file=str(keys))
        make_bucket(made)
        return made

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint, timeout=2):
                return True
        except OSError:
            return False

    def _run(self, program: str, *arguments: str) -> None:
        command = [
            program,
            *(() if program in {"ceph-authtool", "monmaptool"} else ("-c", str(self._config))),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def _begin(self, program: str, *arguments: str) -> None:
        with (self._place / f"{program}.out").open("ab") as log:
            command = [program, "-f", "-c", str(self._config), *arguments]
            self._daemons.append(subprocess.Popen(command, stdout=log, stderr=log))


@contextlib.contextmanager
def rgw_server(place: Path) -> Iterator[RgwServer]:
    """Have a gateway run within."""
    server = RgwServer(place)
    try:
        server.start()
        yield server
    finally:
        server.stop()
