"""A server with keys: what is refused without one, what each allows, and what is told and recorded."""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
from guarded import BODY, Guarded

import headrace
from headrace.security.audit import find_key, read, verify
from headrace.security.scopes import Limits
from headrace.serve import create_app
from headrace.serve.access import OPEN_PATHS


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("state"), "--audit") as found:
        found.keys["everything"] = found.key("admin")
        found.wait_until_known("everything")
        yield found
        assert found.server.stop() == 0


def routes() -> list[tuple[str, str]]:
    with headrace.Engine() as engine:
        app = create_app(engine)
    found = {
        (method, route.path)  # type: ignore[attr-defined]
        for route in app.routes
        for method in (getattr(route, "methods", None) or ())
    }
    described = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    assert len(found | described) > 35
    return sorted(found | described)


@pytest.mark.parametrize(("method", "path"), routes())
def test_every_route_but_health_wants_a_key(guarded: Guarded, method: str, path: str) -> None:
    path = (
        path.replace("{name}", "minilm")
        .replace("{version}", "1")
        .replace("{id:path}", "minilm")
        .replace("{id}", "x")
    )
    answer = httpx2.request(method, guarded.server.url + path, timeout=30)
    if path in OPEN_PATHS and method in ("GET", "HEAD"):
        assert answer.status_code == 200
    else:
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            assert answer.json().keys() <= {"error", "error_type"}


def test_without_a_key_the_body_is_not_read(guarded: Guarded) -> None:
    for head in (
        b"content-length: 5000000\r\n",
        b"transfer-encoding: chunked\r\n",
        b"content-length: 20000\r\n",  # short enough for the short way
        b"content-length: 5000000\r\nexpect: 100-continue\r\n",
    ):
        with socket.create_connection(("127.0.0.1", guarded.server.port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                + head
                + b"\r\n"
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 401 "), head


def _raw(port: int, request: bytes) -> list[int]:
    """The statuses of what comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]


def test_no_variant_of_a_request_gets_past(guarded: Guarded) -> None:
    """Paths, hosts, methods and headers that others were once fooled by: none is answered as if it had a key."""
    paths = [
        *(
            "/v1/embeddings",
            "//v1/embeddings",
            "/v1//embeddings",
            "/./v1/embeddings",
            "/livez/../v1/embeddings",
        ),
        *(
            "/livez/%2e%2e/v1/embeddings",
            "/livez%2f..%2fv1/embeddings",
            "/livez;/v1/embeddings",
            "/livez?/v1/embeddings",
        ),
        *(
            "/livez#/v1/embeddings",
            "/v1/embeddings/",
            "/v1/embeddings?x=/livez",
            "/V1/EMBEDDINGS",
            "/v1/embeddings%00",
        ),
        *(
            "/livez\\..\\v1/embeddings",
            "/%2fv1/embeddings",
            "http://localhost/livez/../v1/embeddings",
            "*",
            "/metrics",
        ),
        *(
            "http://x/v1/models",
            "/v1/models",
            "/v2/models/minilm",
            "/docs",
            "/openapi.json",
            "/v2/health/ready/../../models/stats",
        ),
    ]
    methods = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "CONNECT"]
    hosts = ["localhost", "127.0.0.1", "localhost/livez?", "localhost\tx", "livez", ""]
    headers = [
        "",
        "authorization: Bearer \r\n",
        "authorization: Basic YTpi\r\n",
        "authorization: Bearer hr_000000000000_" + "0" * 49 + "\r\n",
        "authorization: bearer null\r\nauthorization: Bearer x\r\n",
        "x-forwarded-host: localhost\r\nx-original-url: /livez\r\nx-rewrite-url: /livez\r\n",
        "x-http-method-override: GET\r\nx-forwarded-for: 127.0.0.1\r\n",
    ]
    variants = list(itertools.product(methods, paths, hosts, headers))
    chosen = random.Random(11).sample(variants, 2000)
    opened = [
        (m, p)
        for m, p in itertools.product(("GET", "HEAD"), ("/livez?/v1/embeddings", "/livez#/v1/embeddings"))
    ]
    for method, path, host, header in chosen:
        body = json.dumps(BODY)
        request = (
            f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{header}content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}"
        )
        for status in _raw(guarded.server.port, request.encode()):
            is_open = (method, path) in opened  # that is /livez with a query
            assert status in (400, 401, 404, 405, 421) or is_open, (method, path, host, header, status)


def test_names_of_models_are_no_paths(guarded: Guarded) -> None:
    """Whatever stands for a model's name, nothing but a model of that very name answers, and no file is opened."""
    pieces = [
        "..",
        "%2e%2e",
        "%2e.",
        "..%2f",
        "..%5c",
        "%00",
        "#",
        "\\",
        "....//",
        "%c0%ae",
        "\u2025",
        "\uff0e\uff0e",
        "~",
    ]
    targets = [
        "etc/passwd",
        "proc/self/environ",
        "pepper",
        "catalogue.sqlite",
        "audit.key",
        "C:/x",
        "//host/share",
    ]
    names = [f"{piece}/{target}" for piece in pieces for target in targets]
    names += [f"minilm/{name}" for name in names] + [
        f"{piece * 8}{target}" for piece in pieces for target in targets
    ]
    names += [f"/{target}" for target in targets] + [
        "minilm%00",
        "minilm/.x",
        "minilm/",
    ]
    rng = random.Random(3)
    while len(names) < 400:
        names.append(
            "".join(rng.choice([*pieces, "minilm", "/", "etc", "passwd"]) for _ in range(rng.randint(2, 9)))
        )
    named = [(method, path) for method, path in routes() if "{" in path]
    assert len(named) > 15
    with guarded.client("everything") as http:
        for name in names[:400]:
            answers = [http.post("/v1/embeddings", json={**BODY, "model": name})]
            for method, path in named:
                asked = path.replace("{version}", "1").replace("{id:path}", "{id}")
                asked = asked.replace("{name}", name).replace("{id}", name)
                answers.append(http.request(method, asked, **({"json": {}} if method == "POST" else {})))
            for answer in answers:
                assert answer.status_code in (400, 404, 405), (name, answer.request.url, answer.text)
                assert "root:" not in answer.text
                assert str(guarded.folder) not in answer.text


def test_a_key_may_do_what_its_scopes_say(guarded: Guarded) -> None:
    inputs = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    wanted: dict[str, dict[str, int]] = {
        "all": {"embed": 200, "infer": 200, "tei": 200, "metadata": 200, "metrics": 200, "missing": 404},
        "minilm": {"embed": 200, "infer": 200, "tei": 200, "metadata": 200, "metrics": 403, "missing": 403},
        "other": {"embed": 403, "infer": 403, "tei": 403, "metadata": 403, "metrics": 403, "missing": 403},
        "metrics": {"embed": 403, "infer": 403, "tei": 404, "metadata": 403, "metrics": 200, "missing": 403},
    }
    for name, statuses in wanted.items():
        with guarded.client(name) as http:
            found = {
                "embed": http.post("/v1/embeddings", json=BODY),
                "infer": http.post("/v2/models/minilm/infer", json=inputs),
                "tei": http.post("/embed", json={"inputs": "a"}),
                "metadata": http.get("/v2/models/minilm"),
                "metrics": http.get("/metrics"),
                "missing": http.post("/v1/embeddings", json={**BODY, "model": "missing"}),
            }
            assert {what: answer.status_code for what, answer in found.items()} == statuses, name
            for answer in found.values():
                if answer.status_code == 403:
                    assert "scope" in answer.text


def test_lists_show_what_a_key_may_use(guarded: Guarded) -> None:
    shown = {}
    for name in guarded.keys:
        with guarded.client(name) as http:
            shown[name] = [row["id"] for row in http.get("/v1/models").json()["data"]]
            assert [row["name"] for row in http.post("/v2/repository/index", json={}).json()] == shown[name]
    assert shown.pop("everything") == ["minilm"]
    assert shown == {"all": ["minilm"], "minilm": ["minilm"], "other": ["minilm"], "metrics": []}


def test_a_new_key_works_and_a_revoked_one_is_refused_within_five_seconds(guarded: Guarded) -> None:
    text = guarded.key("infer")

    def status() -> int:
        with guarded.client(text) as http:
            return http.post("/v1/embeddings", json=BODY).status_code

    for change, expected in (
        (lambda: None, 200),
        (lambda: guarded.catalogue.revoke(text[3:15], time.time()), 401),
    ):
        change()
        end = time.monotonic() + 5
        while status() != expected:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_openai_and_our_client_have_keys(guarded: Guarded) -> None:
    with openai.OpenAI(base_url=f"{guarded.server.url}/v1", api_key=guarded.keys["minilm"]) as client:
        assert len(client.embeddings.create(**BODY).data[0].embedding) == 384
        wrong = client.with_options(api_key="sk-wrong")
        with pytest.raises(openai.AuthenticationError, match="not a key of this server"):
            wrong.embeddings.create(**BODY)
        other = client.with_options(api_key=guarded.keys["other"])
        with pytest.raises(openai.PermissionDeniedError, match="may not do this"):
            other.embeddings.create(**BODY)
    with headrace.Client(guarded.server.url, api_key=guarded.keys["minilm"]) as client:
        assert client.embed(["a"], model="minilm").shape == (1, 384)


@pytest.mark.parametrize("long", [False, True], ids=["short way", "ordinary way"])
def test_limits(guarded: Guarded, long: bool) -> None:
    """Beyond its limit a key is told when to come back; x-ratelimit headers count down on both ways."""
    key = guarded.key("infer", limits=Limits(requests_per_minute=4, tokens_per_minute=1000))
    time.sleep(2.5)
    headers = {b"x-odd": b"\xe4"} if long else {}
    with guarded.client(key) as http:
        answers = [http.post("/v1/embeddings", json=BODY, headers=headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers[:4]] == [
        "3",
        "2",
        "1",
        "0",
    ]
    # Settled to what the answers said they cost: 5 tokens each.
    assert 980 <= int(answers[3].headers["x-ratelimit-remaining-tokens"]) <= 985
    assert answers[4].json()["error"]["code"] == "rate_limit_exceeded"
    assert 10 <= int(answers[4].headers["retry-after"]) <= 15


def test_a_text_that_would_cost_too_much_is_not_begun(guarded: Guarded) -> None:
    key = guarded.key("infer", limits=Limits(tokens_per_minute=2000))
    time.sleep(2.5)
    with guarded.client(key) as http:
        assert http.post("/v1/embeddings", json={**BODY, "input": ["water " * 200] * 6}).status_code == 200
        answer = http.post("/v1/embeddings", json={**BODY, "input": ["water " * 200] * 6})
        assert answer.status_code == 429
        assert "tokens a minute" in answer.json()["error"]["message"]


def test_other_hosts_are_refused(guarded: Guarded) -> None:
    with guarded.client("all") as http:
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "[::2]", "evil:8000", ""):
            answer = http.post("/v1/embeddings", json=BODY, headers={"host": host})
            assert answer.status_code in (400, 421), host
        for host in ("localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8000", "localhost."):
            assert http.post("/v1/embeddings", json=BODY, headers={"host": host}).status_code == 200, host


def test_the_record_says_who_and_what_and_nothing_of_the_text(guarded: Guarded) -> None:
    secret = "xyzzy-canary-4711"
    with guarded.client("minilm") as http:
        asked = http.post(
            "/v1/embeddings", json={**BODY, "input": secret}, headers={"x-request-id": "mine-1"}
        )
        assert asked.status_code == 200
        http.post("/v1/embeddings", json={"model": secret, "nonsense": secret})
        http.get(f"/{secret}")
    time.sleep(1.5)
    rows = [row for row in read(guarded.folder / "audit") if row.get("request") == "mine-1"]
    [row] = rows
    tokens = asked.json()["usage"]["prompt_tokens"]
    assert (row["route"], row["model"], row["status"], row["prompt_tokens"]) == (
        "/v1/embeddings",
        "minilm",
        200,
        tokens,
    )
    assert row["key"] == guarded.keys["minilm"][3:15]
    everything = b"".join(path.read_bytes() for path in (guarded.folder / "audit").glob("*.jsonl"))
    assert secret.encode() not in everything
    assert verify(guarded.folder / "audit", find_key(guarded.folder, create=False)).problem is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "no keys and no TLS"),
        (["--host", "0.0.0.0", "--tls-cert", "c", "--tls-key", "k"], "no keys"),
        (["--host", "0.0.0.0", "--require-keys"], "no TLS"),
        (["--host", "::", "--require-keys"], "no TLS"),
        (["--require-keys"], "no pepper"),
        (["--tls-cert", "c"], "--tls-key"),
        (["--tls-client-ca", "c"], "--tls-cert"),
        (["--redis", "redis://127.0.0.1"], "--require-keys"),
        (["--database", "sqlite:///x"], "--require-keys"),
    ],
)
def test_what_does_not_start(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = [
        sys.executable,
        "-m",
        "headrace.cli",
        "serve",
        "--port",
        "0",
        "--state",
        str(tmp_path / "s"),
        *arguments,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "HEADRACE_PEPPER": ""}
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
