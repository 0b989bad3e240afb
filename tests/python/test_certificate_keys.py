"""Client certificates as keys: real certificates over real TLS, by HTTP and gRPC."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from headrace.catalogue import Catalogue
from headrace.cli import main
from headrace.errors import InvalidArgumentError
from headrace.security.audit import read
from headrace.security.certificates import check_name, names_of, names_of_call
from headrace.security.keyring import KeyRefused, KeyRing
from headrace.security.keys import Pepper, make_key
from headrace.security.scopes import Limits

BODY = {"model": "minilm", "input": "a mill wheel"}
URI = "spiffe://example.org/search"


class Authority:
    """An authority that makes certificates in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._made: x509.Certificate | None = None
        self._made = self.make(name, [], is_authority=True)

    def make(self, common: str, names: list[str], file: str = "", *, is_authority: bool = False) -> Any:
        key = self._key if is_authority else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        now = datetime.datetime.now(datetime.timezone.utc)
        alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(name) for name in names]
        alternatives += [x509.DNSName("localhost"), x509.DNSName("search")]
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self._made is None else self._made.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        path = self.folder / f"{file or common}.pem"
        path.write_bytes(made.public_bytes(encoding))
        kind = serialization.PrivateFormat.PKCS8
        path.with_suffix(".key").write_bytes(key.private_bytes(encoding, kind, plain))
        return made


class Guarded:
    """A server that asks for keys and takes certificates of an authority."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        authority = Authority(folder, "authority")
        authority.make("localhost", [], "server")
        authority.make("reader", [])
        authority.make("other", [URI], "workload")
        authority.make("unknown", ["spiffe://example.org/unknown"])
        authority.make(URI, [], "pretender")  # a common name that reads like a URI
        authority.make("gone", [])
        authority.make("limited", [])
        stranger = Authority(folder, "stranger")
        stranger.make("reader", [], "forged")
        pepper = Pepper.find(state, create=True)
        self.ids: dict[str, str] = {}
        with Catalogue(f"sqlite:///{state}/catalogue.sqlite") as catalogue:
            for name, certificate, scopes, limits in (
                ("reader", "reader", ["infer:minilm"], Limits()),
                ("workload", URI, ["infer", "metrics"], Limits()),
                ("gone", "gone", ["infer"], Limits()),
                ("limited", "limited", ["infer"], Limits(requests_per_minute=1)),
            ):
                _, key = make_key(pepper, name, scopes, limits=limits, certificate=certificate)
                catalogue.add(key)
                self.ids[name] = key.id
            catalogue.revoke(self.ids["gone"], time.time())
            self.key, key = make_key(pepper, "plain", ["metrics"])
            catalogue.add(key)
        self.server = Server(
            "--tls-cert", f"{folder}/server.pem", "--tls-key", f"{folder}/server.key",
            "--tls-client-ca", f"{folder}/authority.pem", "--grpc-port", "0",
            "--require-keys", "--audit", "--state", str(state), "--queue-budget", "60",
        )  # fmt: skip

    def client(self, name: str | None, key: str | None = None) -> httpx2.Client:
        context = ssl.create_default_context(cafile=self.folder / "authority.pem")
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if name is not None:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        url = f"https://localhost:{self.server.port}"
        return httpx2.Client(base_url=url, verify=context, headers=headers, timeout=30)

    @property
    def grpc_address(self) -> str:
        return f"localhost:{self.server.started['grpc_port']}"

    def channel(self, name: str) -> grpc.Channel:
        read = {suffix: (self.folder / f"{name}{suffix}").read_bytes() for suffix in (".pem", ".key")}
        root = (self.folder / "authority.pem").read_bytes()
        credentials = grpc.ssl_channel_credentials(root, read[".key"], read[".pem"])
        return grpc.secure_channel(self.grpc_address, credentials)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    found = Guarded(tmp_path_factory.mktemp("certificates"), tmp_path_factory.mktemp("state"))
    with found.server as server:
        yield found
        assert server.stop() == 0


@pytest.mark.parametrize("is_long", [False, True], ids=["short way", "ordinary way"])
def test_a_certificate_is_a_key(guarded: Guarded, is_long: bool) -> None:
    headers = {b"x-odd": b"\xe4"} if is_long else {}
    statuses = {}
    for name in ("reader", "workload", "unknown", "pretender", "gone"):
        with guarded.client(name) as http:
            answer = http.post("/v1/embeddings", json=BODY, headers=headers)
            statuses[name] = answer.status_code
            if name == "gone":
                assert "is revoked" in answer.text
    assert statuses == {"reader": 200, "workload": 200, "unknown": 401, "pretender": 401, "gone": 401}


def test_its_scopes_and_limits_are_those_of_the_key(guarded: Guarded) -> None:
    with guarded.client("reader") as http:
        assert http.get("/metrics").status_code == 403
        assert http.post("/v1/embeddings", json={**BODY, "model": "other"}).status_code == 403
    with guarded.client("workload") as http:
        assert http.get("/metrics").status_code == 200
    with guarded.client("limited") as http:
        assert [http.post("/v1/embeddings", json=BODY).status_code for _ in range(2)] == [200, 429]


def test_a_key_in_the_header_goes_first(guarded: Guarded) -> None:
    with guarded.client("reader", guarded.key) as http:
        assert http.get("/metrics").status_code == 200
        assert http.post("/v1/embeddings", json=BODY).status_code == 403
    with guarded.client("reader", "hr_wrong") as http:
        assert http.post("/v1/embeddings", json=BODY).status_code == 401
    with guarded.client("unknown", guarded.key) as http:
        assert http.get("/metrics").status_code == 200


def test_only_a_certificate_of_the_authority_gets_a_connection(guarded: Guarded) -> None:
    for name in ("forged", None):
        with pytest.raises(httpx2.TransportError), guarded.client(name) as http:
            http.post("/v1/embeddings", json=BODY)


def infer(guarded: Guarded, name: str, **headers: str) -> Any:
    text = triton.InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"a mill"], dtype=np.object_))
    folder = guarded.folder
    with triton.InferenceServerClient(
        guarded.grpc_address, ssl=True, root_certificates=f"{folder}/authority.pem",
        private_key=f"{folder}/{name}.key", certificate_chain=f"{folder}/{name}.pem",
    ) as client:  # fmt: skip
        return client.infer("minilm", [text], headers=headers).as_numpy("embedding")


def test_over_grpc(guarded: Guarded) -> None:
    for name in ("reader", "workload"):
        assert infer(guarded, name, **{"x-request-id": f"grpc-{name}"}).shape == (1, 384)
    for name in ("unknown", "pretender", "gone"):
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            infer(guarded, name)
    with pytest.raises(InferenceServerException, match="PERMISSION_DENIED"):
        infer(guarded, "reader", authorization=f"Bearer {guarded.key}")
    with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        infer(guarded, "forged")


def test_streams_and_reflection_over_grpc(guarded: Guarded) -> None:
    for name, is_known in (("reader", True), ("unknown", False)):
        with guarded.channel(name) as channel:
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            request = service_pb2.ModelInferRequest(model_name="minilm", id="x")
            tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
            tensor.contents.bytes_contents.append(b"a mill")
            stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer
            if is_known:
                [listed] = reflection.ServerReflectionInfo(asked, timeout=20)
                names = {each.name for each in listed.list_services_response.service}
                assert "inference.GRPCInferenceService" in names
                [answer] = stream(iter([request]), timeout=20)
                assert answer.error_message == ""
                assert answer.infer_response.model_name == "minilm"
                continue
            for call, given in ((reflection.ServerReflectionInfo, asked), (stream, iter([request]))):
                with pytest.raises(grpc.RpcError) as raised:
                    list(call(given, timeout=20))
                assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_the_record_has_the_keys_id(guarded: Guarded) -> None:
    with guarded.client("reader") as http:
        http.post("/v1/embeddings", json=BODY, headers={"x-request-id": "tls-1"})
    infer(guarded, "workload", **{"x-request-id": "tls-2"})
    time.sleep(1)
    rows = {row.get("request"): row for row in read(guarded.state / "audit")}
    assert rows["tls-1"]["key"] == guarded.ids["reader"]
    assert rows["tls-2"]["key"] == guarded.ids["workload"]


def test_without_tls_nobody_says_to_have_one() -> None:
    assert names_of_call({}) == ()
    assert names_of_call({"transport_security_type": [b"insecure"], "x509_common_name": [b"reader"]}) == ()
    assert names_of(None) == names_of({}) == ()


def test_a_name_with_a_scheme_is_never_a_common_name() -> None:
    assert names_of({"subject": ((("commonName", URI),),)}) == ()
    assert names_of({"subject": (), "subjectAltName": (("DNS", URI), ("URI", "plain"))}) == ()
    for wrong in ("", " a", "a\n", "x" * 256):
        with pytest.raises(InvalidArgumentError, match="certificate_name="):
            check_name(wrong)


def test_of_several_keys_the_newest_that_is_valid(tmp_path: Path) -> None:
    pepper = Pepper([b"p" * 32])
    catalogue = Catalogue(f"sqlite:///{tmp_path}/c.sqlite")
    ring = KeyRing(catalogue, pepper)
    try:
        assert not ring.has_certificates
        old = ring.create("old", ["infer"], certificate="name")[1]
        time.sleep(0.01)
        text, new = ring.create("new", ["infer"], certificate="name")
        assert text == ""
        assert ring.authenticate_certificate(["other", "name"]).id == new.id
        ring.revoke(new.id)
        assert ring.authenticate_certificate(["name"]).id == old.id
        ring.revoke(old.id)
        with pytest.raises(KeyRefused, match="revoked"):
            ring.authenticate_certificate(["name"])
        with pytest.raises(KeyRefused, match="not a key of this server"):
            ring.authenticate_certificate(["nobody"])
    finally:
        ring.close()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state", str(tmp_path)]
    made = ["keys", "create", "--name", "search", "--scope", "infer", "--certificate-name", URI, *state]
    assert main(made) == 0
    assert f"the certificate {URI} is the key search" in capsys.readouterr().out
    assert main([*made, "--json"]) == 0
    assert '"key": null' in (out := capsys.readouterr().out)
    assert f'"certificate_name": "{URI}"' in out
    assert main(["keys", "create", "--name", "a", "--scope", "infer", "--certificate-name", "", *state]) == 2
