"""TLS: certificates that change, handshakes that do not end, clients that speak something else."""

import contextlib
import datetime as dt
import os
import socket
import ssl
import stat
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509

from drystone.api import connection, tls
from drystone.api.admission import RESERVE
from drystone.api.server import server_config
from drystone.api.tls import CertificateError, Certificates, server_context
from drystone.cli.failure import CliError
from drystone.cli.gateway import Gateway
from drystone.client_settings import ClientSettings, parse_credentials
from drystone.config import Config
from drystone.domain.errors import ConfigError
from drystone.engine.layout import Layout
from drystone.server import certificates
from drystone.server.certificates import fingerprint, own_certificate
from drystone.server.door import mend_modes, open_door

NAMES = ("localhost", "127.0.0.1", "::1", "storage.example", "*.below.example")
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NOW = 1_790_000_000.0
MOST = 40


@dataclass
class Served:
    port: int
    cert: Path
    key: Path
    held: list[socket.socket] = field(default_factory=list)
    """Clients that are still there when the server stops."""

    def context(self, cert: Path | None = None) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=cert or self.cert)

    def connect(self, cert: Path | None = None, name: str = "localhost") -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        try:
            return self.context(cert).wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def plain(self, first: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        client.sendall(first)
        return client


def fine(client: socket.socket) -> bool:
    """Read one answer, whose head and body may come apart."""
    found = b""
    while not found.endswith(b"fine"):
        piece = client.recv(65536)
        if not piece:
            return False
        found += piece
    return True


async def application(scope: Any, receive: Any, send: Any) -> None:
    assert scope["scheme"] == "https"
    assert scope["client"][0] == "127.0.0.1"
    body = b"x" * (16 << 20) if scope["path"] == "/large" else b"fine"
    if scope["method"] == "POST":
        body = b'{"Response": {"TotalCount": 7, "RequestId": "r"}}'
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    monkeypatch.setattr(tls, "HEAD_S_MAX", 1.0)
    monkeypatch.setattr(connection, "HEAD_S_MAX", 1.0)
    cert, key = own_certificate(tmp_path / "tls", NAMES, now=time.time())
    certificates = Certificates(cert=cert, key=key, monotonic=time.monotonic)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            server_config(application, host="127.0.0.1", port=0, connections_max=MOST, certificates=certificates)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        made = Served(listener.getsockname()[1], cert, key)
        try:
            yield made
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            for client in made.held:
                client.close()
            assert not thread.is_alive()


def replaced(served: Served, directory: Path, *, only: Sequence[str] = ("cert", "key")) -> Path:
    """Put another pair, or a half of one, in place of the server's; return the new certificate elsewhere."""
    cert, key = own_certificate(directory, NAMES, now=time.time())
    for name, new, old in (("cert", cert, served.cert), ("key", key, served.key)):
        if name in only:
            part = old.with_suffix(".part")
            part.write_bytes(new.read_bytes())
            part.replace(old)
    return cert


@pytest.mark.parametrize("name", ["localhost", "storage.example", "one.below.example"])
def test_calls_are_encrypted(served: Served, name: str) -> None:
    with served.connect(name=name) as client:
        assert client.version() in {"TLSv1.2", "TLSv1.3"}
        for _ in range(2):
            client.sendall(ASK)
            assert fine(client)
        client.sendall(ASK.replace(b"/ ", b"/large "))
        found = b""
        while len(found) < 16 << 20:
            found += client.recv(1 << 20)
    with pytest.raises(ssl.SSLCertVerificationError):
        served.connect(name="other.example")


def test_the_command_line_trusts_what_credentials_name(served: Served) -> None:
    def ask(tls_ca: str | None) -> object:
        settings = ClientSettings(
            endpoint=f"https://127.0.0.1:{served.port}", region="r", zone="z", secret_id="id", secret_key="key",
            tls_ca=tls_ca,
        )  # fmt: skip
        again = ClientSettings.load(environment={**parse_credentials(settings.credentials())})
        assert again == settings
        return Gateway(again, sleep=lambda _: None).drystone("ask", "DescribeHost")["TotalCount"]

    assert ask(str(served.cert)) == 7
    with pytest.raises(CliError):
        ask(None)


def test_old_versions_are_refused(served: Served) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with served.plain() as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain)


def test_a_new_certificate_is_taken_and_connections_stay(served: Served, tmp_path: Path) -> None:
    first = served.cert.read_bytes()
    (tmp_path / "first.pem").write_bytes(first)
    with served.connect() as old:
        new = replaced(served, tmp_path / "new")
        with served.connect(new) as client:
            client.sendall(ASK)
            assert fine(client)
        with pytest.raises(ssl.SSLCertVerificationError):
            served.connect(tmp_path / "first.pem")
        old.sendall(ASK)
        assert fine(old)


@pytest.mark.parametrize("bad", ["half", "nonsense", "gone"])
def test_a_bad_pair_leaves_the_old_one(served: Served, tmp_path: Path, bad: str) -> None:
    """S149."""
    (tmp_path / "first.pem").write_bytes(served.cert.read_bytes())
    if bad == "half":
        replaced(served, tmp_path / "new", only=["cert"])
    elif bad == "nonsense":
        served.cert.write_text("nonsense")
    else:
        served.key.unlink()
    with served.connect(tmp_path / "first.pem") as client:
        client.sendall(ASK)
        assert fine(client)
    new = replaced(served, tmp_path / "new")
    with served.connect(new) as client:
        client.sendall(ASK)
        assert fine(client)


def test_a_handshake_has_an_end(served: Served) -> None:
    began = time.monotonic()
    hello = b"\x16\x03\x01\x02\x00\x01"
    with served.plain() as silent, served.plain(hello) as half, served.connect() as mute:
        for client in (silent, half):
            with contextlib.suppress(ConnectionError):
                assert client.recv(100) == b""
        # The handshake is done, the head does not come.
        assert mute.recv(65536).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 9


def test_handshakes_have_places_like_heads(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(served.plain()) for _ in range(2 * (MOST + RESERVE))]
        with served.connect() as client:
            client.sendall(ASK)
            assert fine(client)
        with contextlib.suppress(ConnectionError):
            assert held[0].recv(1) == b""


def test_a_server_stops_beside_a_client_that_does_not_end_its_side(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed TLS connection waits for the client's end; one that is closed once more answers nothing any more."""
    monkeypatch.setattr(connection, "STOP_S", 0.2)
    client = served.connect()
    client.sendall(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert fine(client)
    served.held.append(client)


def test_plain_http_is_told(served: Served) -> None:
    with served.plain(ASK) as client:
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"use https://" in answer


def test_a_certificate_of_our_own(tmp_path: Path) -> None:
    cert, key = own_certificate(tmp_path / "a b", NAMES, now=NOW)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(cert.parent.stat().st_mode) == 0o700
    first = fingerprint(cert)
    assert len(first) == 95
    assert b"EC PRIVATE" not in cert.read_bytes()
    for names, now, same in (
        (NAMES, NOW + 1e8, True),
        (("localhost",), NOW, True),
        (NAMES, NOW + 3640 * 86400, False),
        ((*NAMES, "192.0.2.1"), NOW, False),
    ):
        own_certificate(tmp_path / "a b", names, now=now)
        assert (fingerprint(cert) == first) is same
        first = fingerprint(cert)
        server_context(cert, key)
    # A crash between the two files.
    key.unlink()
    own_certificate(tmp_path / "a b", NAMES, now=NOW)
    server_context(cert, key)


def test_a_clock_that_is_wrong_at_one_start_makes_no_useless_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def valid(now: float) -> bool:
        held = x509.load_pem_x509_certificate(own_certificate(tmp_path, NAMES, now=now)[0].read_bytes())
        return held.not_valid_before_utc.timestamp() <= now <= held.not_valid_after_utc.timestamp()

    for wrong in (NOW + 20 * 365 * 86400, 0.0):
        own_certificate(tmp_path, NAMES, now=wrong)
        wrongly_made = fingerprint(tmp_path / "cert.pem")
        assert valid(NOW)
        # It serves on: clients hold exactly this one.
        assert fingerprint(tmp_path / "cert.pem") == wrongly_made
        (tmp_path / "cert.pem").unlink()
    # One of an earlier version, made while the clock was ahead.
    with monkeypatch.context() as earlier:
        earlier.setattr(certificates, "VALID_FROM", dt.datetime.fromtimestamp(NOW + 86400, dt.UTC))
        cert, key = own_certificate(tmp_path, NAMES, now=NOW)
    before = cert.read_bytes(), key.read_bytes()
    assert valid(NOW)
    server_context(cert, key)
    assert ((tmp_path / "cert.pem.old").read_bytes(), (tmp_path / "key.pem.old").read_bytes()) == before
    assert stat.S_IMODE((tmp_path / "key.pem.old").stat().st_mode) == 0o600


def test_a_key_with_a_password_is_refused_at_the_start(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    cert, key = own_certificate(tmp_path, NAMES, now=NOW)
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    with pytest.raises(CertificateError, match="password"):
        server_context(cert, key)


def config(data: Path, text: str = "") -> Config:
    (data / "drystone.toml").write_text(text)
    return Config.load(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tls_cert = "a.pem"', "give tls_cert and tls_key"),
        ('tls_key = "a.pem"', "give tls_cert and tls_key"),
        ('tls = "on"', "must be one of off, self"),
        ('tls = "self"\ntls_cert = "a"\ntls_key = "b"', "makes a certificate"),
        ('host_names = "a"', "list of strings"),
        ('host_names = ["a b"]', "no name"),
        ('host_names = ["http://a"]', "no name"),
        ("host_names = [1]", "list of strings"),
        ("plain_http = 1", "must be of type bool"),
        ("tls_cert = 1\ntls_key = 2", "must be of type str"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, text)


def test_plain_http_stays_on_this_machine(tmp_path: Path) -> None:
    def opened(text: str, address: str) -> str:
        return open_door(config(tmp_path, text), (address, 80), monotonic=time.monotonic, now=NOW).endpoint

    assert opened("", "127.0.0.1") == "http://127.0.0.1:80"
    assert opened("", "::1") == "http://[::1]:80"
    for address in ("0.0.0.0", "::", "192.0.2.1", "2001:db8::1"):
        with pytest.raises(ConfigError, match="plain_http = true"):
            opened(f'host = "{address}"', address)
    assert opened("plain_http = true", "0.0.0.0") == "http://127.0.0.1:80"
    assert opened('tls = "self"', "::") == "https://[::1]:80"
    assert opened('tls = "self"', "192.0.2.1") == "https://192.0.2.1:80"
    cert, key = own_certificate(tmp_path / "theirs", NAMES, now=NOW)
    text = f'tls_cert = "{cert}"\ntls_key = "theirs/{key.name}"\nhost_names = ["*.x.example", "storage.example"]'
    assert opened(text, "192.0.2.1") == "https://storage.example:80"
    with pytest.raises(CertificateError, match="cannot use"):
        opened('tls_cert = "no"\ntls_key = "no"', "127.0.0.1")


def test_directories_of_an_earlier_version_are_closed(tmp_path: Path) -> None:
    """S152."""
    layout = Layout(tmp_path)
    packs = layout.store / "store-id" / "packs"
    packs.mkdir(parents=True)
    for path in (packs, packs.parent, layout.store):
        path.chmod(0o777)
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o755)
    (layout.store / "link").symlink_to(outside)
    mend_modes(layout)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (packs, packs.parent, layout.store)] == [0o700] * 3
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755
    assert os.access(packs, os.W_OK)
