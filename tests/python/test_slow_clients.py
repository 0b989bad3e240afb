"""Clients that keep a server waiting: heads and bodies that do not come, answers that are not read, certificates."""

from __future__ import annotations

import datetime
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from conftest import Server
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headrace.serve import connection

HEAD = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
BODY = {"model": "minilm", "input": "a mill wheel"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
        assert running.stop() == 0


def closed_after(port: int, first: bytes, every: bytes = b"", seconds: float = 60) -> float:
    """Seconds until the server closed a connection that sent `first`, and then `every` once a second."""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        start = time.monotonic()
        client.sendall(first)
        while time.monotonic() - start < seconds:
            try:
                if not client.recv(1000):
                    return time.monotonic() - start
            except TimeoutError:
                if every:
                    client.sendall(every)
            except OSError:
                return time.monotonic() - start
    raise AssertionError("the server still waits")


@pytest.mark.slow
def test_slow_clients_are_left_and_good_ones_served(server: Server) -> None:
    """All kinds at once, since each takes as long as the server's patience."""
    plain_body = b"content-length: 2000\r\n\r\n" + b'{"model": '
    kinds = {
        "nothing": (b"", b"", connection.HEAD_SECONDS),
        "half a head": (HEAD, b"", connection.HEAD_SECONDS),
        "a dripping head": (HEAD, b"x-more: y\r\n", connection.HEAD_SECONDS),
        "a second head": (HEAD + b"content-length: 2\r\n\r\n{}" + HEAD, b"", connection.HEAD_SECONDS),
        "half a body, short way": (HEAD + plain_body, b"", connection.BODY_SECONDS),
        "half a body": (HEAD + b"accept-charset: \xe4\r\n" + plain_body, b"", connection.BODY_SECONDS),
        "half a chunk": (HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nab", b"", connection.BODY_SECONDS),
        "a dripping body": (HEAD + b"content-length: 2000\r\n\r\n", b"x", connection.BODY_SECONDS),
    }
    found: dict[str, float] = {}

    def run(name: str, first: bytes, every: bytes) -> None:
        found[name] = closed_after(server.port, first, every)

    threads = [threading.Thread(target=run, args=(name, *kind[:2])) for name, kind in kinds.items()]
    for thread in threads:
        thread.start()
    answered = 0
    with httpx2.Client(base_url=server.url) as http:
        while any(thread.is_alive() for thread in threads):
            assert http.post("/v1/embeddings", json=BODY).status_code == 200
            answered += 1
            time.sleep(0.01)
    for name, (_, _, allowed) in kinds.items():
        assert allowed - 1 <= found[name] <= allowed + 3, (name, found)
    assert answered > 500
    assert server.metric("headrace_queued_tokens") == 0


@pytest.mark.parametrize(
    ("sent", "allowed"),
    [
        pytest.param(HEAD, connection.HEAD_SECONDS, id="heads"),
        pytest.param(
            HEAD + b"content-length: 2000\r\n\r\n{",
            connection.BODY_SECONDS,
            id="bodies",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_thousand_slow_clients_at_once(server: Server, sent: bytes, allowed: float) -> None:
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 4096), limit))
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
    try:
        for client in clients:
            client.sendall(sent)
        start = time.monotonic()
        slowest = 0.0
        with httpx2.Client(base_url=server.url) as http:
            for _ in range(200):
                began = time.monotonic()
                assert http.post("/v1/embeddings", json=BODY).status_code == 200
                slowest = max(slowest, time.monotonic() - began)
        assert slowest < 1
        for client in clients:
            client.settimeout(allowed + 5)
            assert client.recv(1) == b""
        assert allowed - 1 <= time.monotonic() - start < allowed + 3
    finally:
        for client in clients:
            client.close()


def certificate(
    folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
):  # type: ignore[no-untyped-def]
    """A certificate for localhost, by itself or by `issuer`, in NAME.pem and NAME.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(key if issuer is None else issuer[1], hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made, key


def names(port: int, trusted: Path, client: Path | None = None) -> str:
    """The name in the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=trusted)
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if client is not None:
        context.load_cert_chain(client, client.with_suffix(".key"))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connected,
    ):
        connected.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connected.recv(100).startswith(b"HTTP/1.1 200")
        shown = connected.getpeercert()
        assert shown is not None
        return dict(part[0] for part in shown["subject"])["commonName"]  # type: ignore[misc, arg-type, no-any-return]


def test_tls_with_a_certificate_that_is_changed(tmp_path: Path) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "first", authority)
    certificate(tmp_path, "second", authority)
    certificate(tmp_path, "client", authority)
    certificate(tmp_path, "stranger")
    trusted = tmp_path / "authority.pem"
    for suffix in (".pem", ".key"):
        (tmp_path / f"now{suffix}").write_bytes((tmp_path / f"first{suffix}").read_bytes())
    tls = ["--tls-cert", f"{tmp_path}/now.pem", "--tls-key", f"{tmp_path}/now.key"]
    with Server(*tls, "--tls-client-ca", str(trusted), "--grpc-port", "0") as server:
        assert server.url.startswith("https://")
        assert names(server.port, trusted, tmp_path / "client.pem") == "first"
        for stranger in (None, tmp_path / "stranger.pem"):
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                names(server.port, trusted, stranger)
        with pytest.raises(ssl.SSLError):
            names(server.port, tmp_path / "stranger.pem")
        (tmp_path / "now.key").write_bytes((tmp_path / "second.key").read_bytes())
        time.sleep(2.5)  # a key that does not fit its certificate: the old pair goes on
        assert names(server.port, trusted, tmp_path / "client.pem") == "first"
        (tmp_path / "now.pem").write_bytes((tmp_path / "second.pem").read_bytes())
        time.sleep(2.5)
        assert names(server.port, trusted, tmp_path / "client.pem") == "second"

        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        read = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        credentials = grpc.ssl_channel_credentials(
            read["authority.pem"], read["client.key"], read["client.pem"]
        )
        with grpc.secure_channel(f"localhost:{server.started['grpc_port']}", credentials) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=10).live
        assert server.stop() == 0
        assert "was read anew" in server.errors()
