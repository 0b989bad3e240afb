"""Tokens of an issuer that the test runs: which are taken, for how long, and what they allow."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from conftest import Server
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from headrace.errors import InvalidArgumentError
from headrace.security import oidc
from headrace.security.keyring import KeyRefused, KeysUnavailable
from headrace.security.oidc import Issuer


class TokenIssuer:
    """An issuer on this machine, with a key of each kind."""

    def __init__(self) -> None:
        self.private: dict[str, tuple[Any, str]] = {
            "rsa": (rsa.generate_private_key(65537, 2048), "RS256"),
            "ec": (ec.generate_private_key(ec.SECP256R1()), "ES256"),
            "ed": (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        }
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                if self.path == "/.well-known/openid-configuration":
                    body: Any = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
                else:
                    body = {"keys": [*issuer.keys(), {"kid": "odd", "kty": "nothing"}, {"kty": "RSA"}]}
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def keys(self) -> list[dict[str, Any]]:
        found = []
        for name, (key, algorithm) in self.private.items():
            public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
            found.append({**public, "kid": name, "alg": algorithm, "use": "sig"})
        return found

    def token(self, name: str = "rsa", headers: dict[str, Any] | None = None, **changed: Any) -> str:
        key, algorithm = self.private[name]
        now = time.time()
        claims = {
            "iss": self.url,
            "aud": "headrace",
            "sub": "user-1",
            "tenant": "acme",
            "scope": "openid infer:minilm",
            "iat": now,
            "exp": now + 300,
            **changed,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key, algorithm, headers={"kid": name, **(headers or {})})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[TokenIssuer]:
    found = TokenIssuer()
    yield found
    found.close()


@pytest.mark.parametrize("name", ["rsa", "ec", "ed"])
def test_a_token_says_who_and_what(issuer: TokenIssuer, name: str) -> None:
    principal = Issuer(issuer.url, "headrace").authenticate(issuer.token(name, preferred_username="maria"))
    assert (principal.id, principal.name, principal.tenant) == ("oidc:user-1", "maria", "acme")
    assert principal.scopes == {"infer:minilm"}


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": None, "scp": ["infer", "openid"]}, {"infer"}),
        ({"scope": "metrics audit", "scopes": ["manage:a*", 7, None]}, {"metrics", "audit", "manage:a*"}),
        ({"scope": ["infer"]}, {"infer"}),
        ({"scope": None}, set()),
        ({"scope": 5}, set()),
    ],
)
def test_scopes_come_in_several_claims(issuer: TokenIssuer, claims: dict[str, Any], scopes: set[str]) -> None:
    assert Issuer(issuer.url, "headrace").authenticate(issuer.token(**claims)).scopes == scopes


def _unsigned(issuer: TokenIssuer) -> str:
    parts = [{"alg": "none", "kid": "rsa"}, jwt.decode(issuer.token(), options={"verify_signature": False})]
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        + "."
    )


def _by_public_key(issuer: TokenIssuer) -> str:
    """HS256 with the public key as the secret: a mistake that libraries once let through."""
    public = issuer.private["rsa"][0].public_key()
    secret = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signing = jwt.get_algorithm_by_name("HS256")
    head, claims, _ = issuer.token().split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa"}').rstrip(b"=").decode()
    signature = signing.sign(f"{head}.{claims}".encode(), secret)
    return f"{head}.{claims}." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def _tampered(issuer: TokenIssuer) -> str:
    head, _, signature = issuer.token().split(".")
    other = issuer.token(scope="admin").split(".")[1]
    return f"{head}.{other}.{signature}"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda i: i.token(exp=time.time() - 60), "expired"),
        (lambda i: i.token(nbf=time.time() + 100), "not valid"),
        (lambda i: i.token(aud="other"), "another service"),
        (lambda i: i.token(aud=None), "not valid"),
        (lambda i: i.token(exp=None), "not valid"),
        (lambda i: i.token(sub=None), "not valid"),
        (lambda i: i.token(iss="https://evil.example"), "not valid"),
        (lambda i: i.token(headers={"kid": "nothing"}), "does not have"),
        (lambda i: i.token(headers={"kid": "ec"}), "not valid"),
        (_unsigned, "not signed in a way"),
        (_by_public_key, "not signed in a way"),
        (_tampered, "not valid"),
        (lambda i: "", "not valid"),
        (lambda i: "a.b.c", "not valid"),
        (lambda i: "x" * 20_000, "longer than"),
        (lambda i: "\udce4.\udce4.\udce4", "not valid"),
    ],
)
def test_tokens_that_are_refused(issuer: TokenIssuer, make: Any, message: str) -> None:
    with pytest.raises(KeyRefused, match=message):
        Issuer(issuer.url, "headrace").authenticate(make(issuer))


def test_a_new_key_of_the_issuer_is_found(issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_READ_AGAIN_SECONDS", 0.2)
    taken = Issuer(issuer.url, "headrace")
    issuer.private["new"] = (ec.generate_private_key(ec.SECP256R1()), "ES256")
    time.sleep(0.3)
    with pytest.raises(KeysUnavailable, match="try again"):
        taken.authenticate(issuer.token("new"))
    time.sleep(0.15)
    assert taken.authenticate(issuer.token("new")).tenant == "acme"
    asked = issuer.asked
    for number in range(100):  # made-up names do not make it ask each time
        with pytest.raises((KeyRefused, KeysUnavailable)):
            taken.authenticate(issuer.token(headers={"kid": f"made-up-{number}"}))
    assert issuer.asked <= asked + 6


def test_a_believed_token_still_expires(issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Issuer(issuer.url, "headrace")
    token = issuer.token(exp=time.time() + 1 - oidc.LEEWAY_SECONDS)
    assert taken.authenticate(token).tenant == "acme"
    monkeypatch.setattr(oidc, "LEEWAY_SECONDS", 0)
    time.sleep(1.1)
    with pytest.raises(KeyRefused, match="expired"):
        taken.authenticate(token)


@pytest.mark.parametrize("url", ["http://issuer.example", "ftp://x", "nonsense", "http://127.0.0.1:1"])
def test_issuers_that_are_none(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="oidc_issuer"):
        Issuer(url, "headrace")


def test_a_server_takes_tokens_beside_keys(issuer: TokenIssuer, tmp_path: Path) -> None:
    with Server(
        "--oidc-issuer", issuer.url, "--oidc-audience", "headrace", "--state", str(tmp_path)
    ) as server:

        def status(token: str, model: str = "minilm") -> int:
            body = {"model": model, "input": "a"}
            headers = {"authorization": f"Bearer {token}"}
            return httpx2.post(f"{server.url}/v1/embeddings", json=body, headers=headers).status_code

        assert status(issuer.token()) == 200
        assert status(issuer.token(), "other") == 403
        assert status(issuer.token(scope="metrics")) == 403
        assert status(issuer.token(exp=time.time() - 60)) == 401
        assert status(_by_public_key(issuer)) == 401
        assert httpx2.post(f"{server.url}/v1/embeddings", json={}).status_code == 401
        assert server.stop() == 0
