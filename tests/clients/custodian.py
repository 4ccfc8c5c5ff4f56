"""Cloud Custodian with its provider for Tencent Cloud, as it is: it finds disks, sets tags, finds them by these.

It calls fixed names over HTTPS (`cbs.<region>.tencentcloudapi.com`). So it runs with names and an authority of its own,
and a relay ends TLS in front of the server.
"""

import contextlib
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drystone.server.certificates import own_certificate
from tests.clients.sdks import SECONDS_MAX, SOURCES, environment, with_hosts
from tests.clients.verdict import Verdict
from tests.system.harness import Installation

POLICIES = SOURCES / "policies.yml"
ADDRESS = "127.0.0.52"
"""Of this machine alone, and nobody else's: port 443 of 127.0.0.1 may be taken."""
EXPECTED: Mapping[str, int] = {
    "list-disks": 3,
    "tag-disks": 2,
    "find-by-tag": 2,
    "rename-tag": 2,
    "find-by-new-tag": 2,
    "remove-tag": 2,
    "find-by-no-tag": 0,
    "list-snapshots": 1,
}
"""How many resources each policy must find, in the order in which they run."""


def names(region: str) -> tuple[str, ...]:
    """Return the host names that it calls."""
    return tuple(f"{service}.{region}.tencentcloudapi.com" for service in ("cbs", "tag", "sts"))


@contextlib.contextmanager
def tls_in_front(port: int, host_names: tuple[str, ...], scratch: Path) -> Iterator[Path]:
    """Take TLS at `ADDRESS` for these names and hand it on to a port of 127.0.0.1; give the certificate."""
    cert, key = own_certificate(scratch / "tls", host_names, now=time.time())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                socket.create_connection(("127.0.0.1", port)) as server,
            ):
                back = threading.Thread(target=_pipe, args=(server, client), daemon=True)
                back.start()
                _pipe(client, server)
                back.join()

    with socketserver.ThreadingTCPServer((ADDRESS, 443), Relay) as relay:
        relay.daemon_threads = True
        thread = threading.Thread(target=relay.serve_forever)
        thread.start()
        try:
            yield cert
        finally:
            relay.shutdown()
            thread.join()


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _made(system: Installation) -> None:
    """Make three disks, two of them named alike, and a snapshot."""
    disks = [system.create_disk(DiskName=name) for name in ("judged", "judged", "other")]
    system.call("CreateSnapshot", DiskId=disks[0])


def judged(system: Installation, scratch: Path) -> Verdict:
    """Run its policies, one after the other, and count what each found."""
    place = environment("custodian")
    region = system.environment["TENCENTCLOUD_REGION"]
    _made(system)
    (certifi,) = place.glob("lib/python*/site-packages/certifi/cacert.pem")
    hosts, authorities, output = scratch / "hosts", scratch / "cacert.pem", scratch / "custodian"
    hosts.write_text(f"{Path('/etc/hosts').read_text()}\n{ADDRESS} {' '.join(names(region))}\n")
    port = int(system.endpoint.rpartition(":")[2])
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    passed, failures = 0, []
    with tls_in_front(port, names(region), scratch) as cert:
        shutil.copy(certifi, authorities)
        with authorities.open("ab") as file:
            file.write(b"\n" + cert.read_bytes())
        for policy, count in EXPECTED.items():
            command = [
                str(place / "bin/custodian"), "run", "-s", str(output), "--region", region, "--cache-period", "0",
                "-p", policy, str(POLICIES),
            ]  # fmt: skip
            told = subprocess.run(
                with_hosts(command, hosts, (authorities, certifi)), check=False, text=True, capture_output=True,
                timeout=SECONDS_MAX, cwd=scratch, env={**clean, **system.environment, "HOME": str(scratch)},
            )  # fmt: skip
            found = output / policy / "resources.json"
            rows: list[Any] = json.loads(found.read_text()) if told.returncode == 0 and found.exists() else []
            if told.returncode == 0 and found.exists() and len(rows) == count:
                passed += 1
            else:
                last = ((told.stdout + told.stderr).strip().splitlines() or [""])[-1]
                failures.append(f"{policy}: {len(rows)} found, {count} expected; exit {told.returncode}: {last}")
    return Verdict(passed=passed, failures=tuple(failures))
