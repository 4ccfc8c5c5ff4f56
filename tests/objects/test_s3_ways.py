"""History 11: the ways to a bucket, each to a real server: TLS of an own authority, the bucket in the host's name,
IPv6, a proxy of the environment."""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.s3_server import S3Server, free_port, pump, s3_server

from drystone.config import Config, environment_of_store
from drystone.domain.errors import ConfigError, StoreUnavailableError
from drystone.objects.address import S3Address
from drystone.objects.s3 import S3Store
from drystone.objects.s3_rules import S3Rules
from drystone.server.store_place import store_place

pytestmark = pytest.mark.versitygw
DOMAIN = "s3.test"
"""Nobody resolves it: only a proxy finds it."""


class Authority:
    """An authority, and a certificate of it, as files."""

    def __init__(self, directory: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        self.own = self._signed(name, name, self.key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
        key = ec.generate_private_key(ec.SECP256R1())
        host = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
        names = x509.SubjectAlternativeName([
            x509.DNSName(DOMAIN), x509.DNSName(f"*.{DOMAIN}"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ])  # fmt: skip
        certificate = self._signed(host, name, key.public_key(), names)
        self.file, self.certificate, self.key_file = (directory / one for one in ("ca.pem", "tls.pem", "tls.key"))
        self.file.write_bytes(self.own.public_bytes(serialization.Encoding.PEM))
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key_file.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip

    def _signed(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, more: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issuer, subject, key, x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1)
        )
        return builder.add_extension(more, critical=False).sign(self.key, hashes.SHA256())


class Proxy:
    """A proxy of HTTP that takes every connection to one server, whatever host it is for."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._served, args=(connection,), daemon=True).start()

    def _served(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self._carry(client)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _carry(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(1 << 16)
            if not part:
                return
            head += part
        line, _, rest = head.partition(b"\r\n")
        method, target, version = line.decode().split(" ")
        self.asked.append(f"{method} {target.split('?')[0]}")
        try:
            server = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            return
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            # The whole URL is for the proxy; the server is given the path, and one request a connection.
            path = "/" + target.split("/", 3)[3]
            server.sendall(f"{method} {path} {version}\r\n".encode() + rest)
        other = threading.Thread(target=pump, args=(client, server), daemon=True)
        other.start()
        pump(server, client)
        other.join()
        server.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server with TLS, whose buckets are paths and hosts."""
    certificate = (authority.certificate, authority.key_file)
    with s3_server(tmp_path_factory.mktemp("s3"), certificate=certificate, domain=DOMAIN) as started:
        yield started


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def everything(address: S3Address) -> None:
    """Do there whatever is done in a bucket, by both libraries."""
    objects, rules = S3Store(address), S3Rules(address)
    for name in ("a/1", "a/2"):
        objects.put(name, b"12345")
    objects.replace("m", b"")
    assert (objects.get("a/1"), objects.get_range("a/2", 1, 3), objects.size("m")) == (b"12345", b"23", 0)
    assert [one.name for one in objects.list("a/")] == ["a/1", "a/2"]
    objects.delete("a/1")
    assert [one.name for one in objects.list("")] == ["a/2", "m"]
    assert not rules.locks()
    assert rules.retention("m") is None
    assert list(rules.uploads()) == []
    assert abs(rules.time() - datetime.now(UTC).timestamp()) < 5
    now = objects.clock()
    assert now is not None


def configured(tmp_path: Path, server: S3Server, **settings: object) -> S3Address:
    """Return the address of a bucket that a configuration has."""
    server.bucket("bucket")
    lines = {"store_url": "s3://bucket/a/prefix", **settings}
    (tmp_path / "drystone.toml").write_bytes(b"".join(
        f"{name} = {msgspec.json.encode(value).decode()}\n".encode() for name, value in lines.items()
    ))  # fmt: skip
    server.keys_file(tmp_path / "store.env")
    place = store_place(Config.load(tmp_path))
    assert isinstance(place, S3Address)
    return place


@pytest.fixture
def clean(secure: S3Server) -> Iterator[None]:
    yield
    for path in sorted((secure.buckets / "bucket").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.usefixtures("clean")
def test_tls_of_an_own_authority(tmp_path: Path, secure: S3Server, authority: Authority) -> None:
    everything(configured(tmp_path, secure, store_endpoint=secure.endpoint, store_ca_file=str(authority.file)))
    # Without it nobody is believed, and it is said why.
    with pytest.raises(StoreUnavailableError, match=r"certificate is not trusted \(UnknownIssuer\).*store_ca_file"):
        S3Store(configured(tmp_path, secure, store_endpoint=secure.endpoint)).get("a")
    for text in (b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "bad.pem").write_bytes(text)
        with pytest.raises(ConfigError, match=r"bad.pem \(store_ca_file\) has no certificates in PEM"):
            configured(tmp_path, secure, store_endpoint=secure.endpoint, store_ca_file=str(tmp_path / "bad.pem"))


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_the_bucket_in_the_hosts_name_through_a_proxy(
    tmp_path: Path, secure: S3Server, authority: Authority, monkeypatch: pytest.MonkeyPatch, scheme: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    plain = s3_server(tmp_path_factory.mktemp("plain"), domain=DOMAIN)
    with contextlib.ExitStack() as stack:
        server = secure if scheme == "https" else stack.enter_context(plain)
        proxy = stack.enter_context(contextlib.closing(Proxy(server.port)))
        monkeypatch.setenv(f"{scheme.upper()}_PROXY" if scheme == "https" else "http_proxy", proxy.url)
        endpoint = f"{scheme}://{DOMAIN}:{server.port}"
        address = configured(
            tmp_path, server, store_endpoint=endpoint, store_path_style=False, store_ca_file=str(authority.file)
        )
        everything(address)
        assert proxy.asked
        assert all(f"bucket.{DOMAIN}:{server.port}" in one for one in proxy.asked), proxy.asked
        # What a worker and the server of snapshots are given has it, too.
        assert proxy.url in environment_of_store().values()


@pytest.mark.usefixtures("clean")
def test_no_proxy_is_followed(
    tmp_path: Path, secure: S3Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    address = configured(tmp_path, secure, store_endpoint=secure.endpoint, store_ca_file=str(authority.file))
    with pytest.raises(StoreUnavailableError):
        S3Store(address).get("a")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    everything(address)


@pytest.mark.parametrize("tls", [True, False])
def test_ipv6(tmp_path: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory, *, tls: bool) -> None:
    certificate = (authority.certificate, authority.key_file) if tls else None
    with s3_server(tmp_path_factory.mktemp("s3"), host="::1", certificate=certificate) as server:
        assert "//[::1]:" in server.endpoint
        everything(configured(tmp_path, server, store_endpoint=server.endpoint, store_ca_file=str(authority.file)))
