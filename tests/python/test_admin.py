"""Keys made and ended over HTTP, the server's state, and keys that a browser sends as HTTP Basic."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
from conftest import Server
from guarded import BODY, Guarded

import headrace
import headrace.toy
from headrace.security.audit import read
from headrace.security.keys import MAX_LIFETIME, split_key

KEYS = "/v1/admin/keys"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    models = tmp_path_factory.mktemp("models")
    for version in ("1", "2", "10"):
        headrace.toy.model("embed", models / "toy" / version)
    with Guarded(tmp_path_factory.mktemp("state"), "--audit", "demo:minilm", str(models)) as found:
        found.keys["admin"] = found.key("admin")
        found.keys["toy"] = found.key("infer", "manage:toy", "metrics")
        time.sleep(2.5)  # until the server knows these
        yield found
        assert found.server.stop() == 0


@pytest.fixture
def admin(guarded: Guarded) -> Iterator[httpx2.Client]:
    with guarded.client("admin") as client:
        yield client


def described(admin: httpx2.Client, path: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/openapi.json").json()["paths"][path][method]
    return found


def schema(route: dict[str, Any], status: str = "200") -> dict[str, Any]:
    found: dict[str, Any] = route["responses"][status]["content"]["application/json"]["schema"]
    return found


def test_a_key_is_told_once_and_works(guarded: Guarded, admin: httpx2.Client) -> None:
    route = described(admin, KEYS, "post")
    content = route["requestBody"]["content"]["application/json"]
    for name, example in content["examples"].items():
        jsonschema.validate(example["value"], content["schema"])
        answer = admin.post(KEYS, json=example["value"])
        assert answer.status_code == 201, (name, answer.text)
        assert answer.headers["cache-control"] == "no-store"
        made = answer.json()
        jsonschema.validate(made, schema(route, "201"))
        text = made.pop("key")
        assert split_key(text) is not None
        with guarded.client(text) as http:  # at once, on this server
            assert http.post("/v1/embeddings", json=BODY).status_code == 200
        listed = admin.get(KEYS)
        jsonschema.validate(listed.json(), schema(described(admin, KEYS, "get")))
        assert made in listed.json()["data"]
        assert text not in listed.text
        assert text[16:] not in listed.text
    assert made["limits"] == {"requests_per_minute": 60, "tokens_per_day": 100000}
    assert made["tenant"] == made["name"] == "trial"
    assert made["expires"] == pytest.approx(made["created"] + 604800)


def test_a_revoked_key_is_refused(guarded: Guarded, admin: httpx2.Client) -> None:
    made = admin.post(KEYS, json={"name": "short", "scopes": ["infer"]}).json()
    with guarded.client(made["key"]) as http:
        assert http.post("/v1/embeddings", json=BODY).status_code == 200
        ended = admin.delete(f"{KEYS}/{made['id']}")
        assert ended.status_code == 200
        jsonschema.validate(ended.json(), schema(described(admin, KEYS + "/{id}", "delete")))
        assert ended.json()["state"] == "revoked"
        begin = time.monotonic()
        while http.post("/v1/embeddings", json=BODY).status_code != 401:
            assert time.monotonic() - begin < 5
    assert (
        admin.delete(f"{KEYS}/{made['id']}").json()["revoked"] == ended.json()["revoked"]
    )  # the first time counts
    [row] = [row for row in admin.get(KEYS).json()["data"] if row["id"] == made["id"]]
    assert row["state"] == "revoked"


def test_a_key_made_elsewhere_is_listed(guarded: Guarded, admin: httpx2.Client) -> None:
    text = guarded.key("metrics", tenant="elsewhere")
    assert split_key(text)[0] in [row["id"] for row in admin.get(KEYS).json()["data"]]  # type: ignore[index]


@pytest.mark.parametrize("key", ["all", "minilm", "metrics", "toy"])
def test_only_admin_has_to_do_with_keys(guarded: Guarded, key: str) -> None:
    with guarded.client(key) as http:
        for answer in (
            http.get(KEYS),
            http.post(KEYS, json={"name": "mine", "scopes": ["admin"]}),
            http.post(KEYS, content=b"nonsense"),
            http.delete(f"{KEYS}/000000000000"),
        ):
            assert answer.status_code == 403, answer.text
            assert answer.json()["error"]["code"] == "insufficient_scope"
            assert "admin" in answer.json()["error"]["message"]
    with guarded.client("admin") as http:
        assert "mine" not in [row["name"] for row in http.get(KEYS).json()["data"]]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"scopes": ["infer"]}, "name"),
        ({"name": "a"}, "scopes"),
        ({"name": "", "scopes": ["infer"]}, "name"),
        ({"name": "a\nb", "scopes": ["infer"]}, "name"),
        ({"name": "a" * 65, "scopes": ["infer"]}, "name"),
        ({"name": 3, "scopes": ["infer"]}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": "infer"}, "scopes"),
        ({"name": "a", "scopes": ["everything"]}, "scopes"),
        ({"name": "a", "scopes": ["admin:minilm"]}, "scopes"),
        ({"name": "a", "scopes": ["infer"] * 101}, "scopes"),
        ({"name": "a", "scopes": ["infer"], "tenant": ""}, "tenant"),
        ({"name": "a", "scopes": ["infer"], "lifetime_seconds": 0}, "lifetime_seconds"),
        ({"name": "a", "scopes": ["infer"], "lifetime_seconds": MAX_LIFETIME + 1}, "lifetime_seconds"),
        ({"name": "a", "scopes": ["infer"], "limits": {"tokens_per_day": 0}}, "limits"),
        ({"name": "a", "scopes": ["infer"], "limits": {"tokens_per_day": 10**30}}, "limits"),
        ({"name": "a", "scopes": ["infer"], "limits": {"tokens": 1}}, "limits"),
        ({"name": "a", "scopes": ["infer"], "hash": "00"}, "hash"),
    ],
)
def test_bad_keys_are_refused_with_the_fields_name(
    admin: httpx2.Client, body: dict[str, Any], param: str
) -> None:
    before = len(admin.get(KEYS).json()["data"])
    answer = admin.post(KEYS, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert len(admin.get(KEYS).json()["data"]) == before


def test_bodies_are_bounded_and_ids_are_no_paths(admin: httpx2.Client) -> None:
    assert admin.post(KEYS, json={"name": "a" * 70_000, "scopes": []}).status_code == 413
    assert admin.post(KEYS, content=b"{").status_code == 400
    for identity in ("000000000000", "x" * 5000, "%00", "'; drop table keys; --", "%2e%2e"):
        answer = admin.delete(f"{KEYS}/{identity}")
        assert answer.status_code == 404, answer.text
        assert answer.json()["error"]["code"] in ("key_not_found", "no_such_route")


def test_a_wrong_method_is_told_every_right_one(admin: httpx2.Client) -> None:
    for path, methods in (
        (KEYS, "GET, POST"),
        (f"{KEYS}/x", "DELETE"),
        ("/", "GET, POST"),
        ("/v1/status", "GET"),
    ):
        answer = admin.put(path)
        assert (answer.status_code, answer.headers.get_list("allow")) == (405, [methods])


def test_who_made_and_ended_a_key_is_recorded(guarded: Guarded, admin: httpx2.Client) -> None:
    made = admin.post(KEYS, json={"name": "noted", "scopes": ["infer", "metrics"]}).json()
    admin.delete(f"{KEYS}/{made['id']}")
    me = split_key(guarded.keys["admin"])[0]  # type: ignore[index]
    end = time.monotonic() + 10
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < 2 and time.monotonic() < end:
        time.sleep(0.1)
        rows = {
            row["event"]: row for row in read(guarded.folder / "audit") if row.get("subject") == made["id"]
        }
    assert rows.keys() == {"key_created", "key_revoked"}
    for row in rows.values():
        assert (row["key"], row["name"], row["scopes"]) == (me, "noted", "infer metrics")
    assert made["key"] not in json.dumps(list(read(guarded.folder / "audit")))


def test_what_may_be_loaded(guarded: Guarded) -> None:
    expected = {
        "admin": [("minilm", []), ("toy", ["10", "2", "1"])],
        "toy": [("toy", ["10", "2", "1"])],
        "metrics": [],
    }
    for key, rows in expected.items():
        with guarded.client(key) as http:
            answer = http.get("/v1/admin/models")
            assert [(row["id"], row["versions"]) for row in answer.json()["data"]] == rows
            assert str(guarded.folder) not in answer.text
    with guarded.client("admin") as http:
        jsonschema.validate(answer.json(), schema(described(http, "/v1/admin/models", "get")))


def test_the_state_of_the_server(guarded: Guarded) -> None:
    with guarded.client("minilm") as http:
        assert http.get("/v1/status").status_code == 403
    with guarded.client("toy") as http:
        before = http.get("/v1/status").json()
        for _ in range(3):
            http.post("/v1/embeddings", json=BODY)
        http.post("/v1/embeddings", json={"model": "minilm"})
        answer = http.get("/v1/status")
        assert answer.headers["cache-control"] == "no-store"
        after = answer.json()
        assert after["key"]["scopes"] == ["infer", "manage:toy", "metrics"]
    with guarded.client("admin") as http:
        jsonschema.validate(after, schema(described(http, "/v1/status", "get")))
    assert (
        after["http"]["requests"] - before["http"]["requests"] == 4
    )  # what asks for the state is not counted
    assert after["http"]["failed"] - before["http"]["failed"] == 1
    counts = [sum(found["http"]["latency_seconds"]["counts"]) for found in (before, after)]
    assert counts[1] - counts[0] == 4
    assert (
        len(after["http"]["latency_seconds"]["counts"]) == len(after["http"]["latency_seconds"]["bounds"]) + 1
    )
    rows = {row["id"]: row for row in after["models"]}
    assert rows["minilm"]["may"] == ["infer"]
    assert rows["toy"]["may"] == ["infer", "manage"]
    assert rows["toy"]["version"] == "10"
    old = {row["id"]: row for row in before["models"]}
    assert rows["minilm"]["requests"] - old["minilm"]["requests"] == 3
    assert rows["minilm"]["tokens"] - old["minilm"]["tokens"] == 3 * 5
    assert (after["state"], after["keys"]) == ("ready", {"required": True, "kept": True})


def test_a_version_on_trial_is_told_apart(guarded: Guarded) -> None:
    with guarded.client("admin") as http:
        load = "/v2/repository/models/toy/load"
        assert http.post(load, json={"parameters": {"version": "2", "share": 0.25}}).status_code == 200
        status = http.get("/v1/status").json()
        jsonschema.validate(status, schema(described(http, "/v1/status", "get")))
        rows = {row["id"]: row for row in status["models"]}
        assert (rows["toy@2"]["state"], rows["toy@2"]["share"], rows["toy@2"]["version"]) == (
            "trial",
            0.25,
            "2",
        )
        assert (rows["toy"]["state"], rows["toy"]["version"]) == ("ready", "10")
        assert http.post(load, json={"parameters": {"version": "2", "share": 0}}).status_code == 200
        assert "toy@2" not in {row["id"] for row in http.get("/v1/status").json()["models"]}


def test_without_keys(server: Server) -> None:
    status = httpx2.get(f"{server.url}/v1/status").json()
    assert (status["key"], status["keys"]) == (None, {"required": False, "kept": False})
    assert status["models"][0]["may"] == ["infer"]
    assert httpx2.get(f"{server.url}/v1/admin/models").json()["data"] == []
    answer = httpx2.get(f"{server.url}{KEYS}")
    assert answer.status_code == 403
    assert "--require-keys" in answer.text
    # Whatever a browser remembers of another server at this address is not looked at.
    assert httpx2.get(server.url, headers={"authorization": "Basic eDp5"}).status_code == 200


def basic(key: str, user: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("cross-site", 401), ("same-site", 401), ("", 401), (None, 401)],
)
def test_browsers_send_the_key_for_their_own_page_only(
    guarded: Guarded, site: str | None, status: int
) -> None:
    headers = {"authorization": basic(guarded.keys["all"], "someone")}
    if site is not None:
        headers["sec-fetch-site"] = site
    with httpx2.Client(base_url=guarded.server.url, headers=headers) as http:
        assert http.get("/").status_code == status
        assert http.get("/v1/models").status_code == status
        assert http.post("/v1/embeddings", json=BODY).status_code == status  # else the short way
        if status == 401:
            assert "own page" in http.get("/v1/models").json()["error"]["message"]


@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic !",
        "Basic eA",
        basic(""),
        basic("hr_x"),
        basic("Bearer"),
        "Basic /////w==",
        "basic x:y",
    ],
)
def test_a_wrong_basic_is_refused(guarded: Guarded, value: str) -> None:
    headers = {"authorization": value, "sec-fetch-site": "same-origin"}
    assert httpx2.get(f"{guarded.server.url}/v1/models", headers=headers).status_code == 401
    assert httpx2.post(f"{guarded.server.url}/v1/embeddings", headers=headers, json=BODY).status_code == 401


def test_the_users_name_may_have_anything_and_the_key_is_the_password(guarded: Guarded) -> None:
    for user in ("", "me", "\u6c34\u8f66"):
        headers = {"authorization": basic(guarded.keys["all"], user), "sec-fetch-site": "none"}
        assert httpx2.get(f"{guarded.server.url}/v1/models", headers=headers).status_code == 200


def test_a_browser_is_asked_for_the_key_and_others_are_not(guarded: Guarded) -> None:
    page = httpx2.get(guarded.server.url, headers={"accept": "text/html,application/xhtml+xml;q=0.9"})
    assert page.status_code == 401
    assert page.headers.get_list("www-authenticate") == ["Bearer", 'Basic realm="headrace", charset="UTF-8"']
    for headers in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        answer = httpx2.get(guarded.server.url, headers=headers)
        assert answer.headers.get_list("www-authenticate") == ["Bearer"]


def test_a_post_with_basic_that_comes_in_pieces(guarded: Guarded) -> None:
    body = json.dumps(BODY).encode()
    head = (
        "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: {basic(guarded.keys['all'])}\r\nsec-fetch-site: same-origin\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", guarded.server.port), timeout=10) as connection:
        for _ in range(2):  # and again on the same connection
            for piece in (head, body[:10], body[10:]):
                connection.sendall(piece)
                time.sleep(0.02)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_the_pages_files_need_the_key_too(guarded: Guarded) -> None:
    with guarded.client("minilm") as http:
        assert http.get("/").headers["content-type"].startswith("text/html")
        assert http.get("/console/index.html").status_code == 200
        for name in ("nothing.js", "..%2fconsole.py", "%2e%2e/console.py", "__init__.py"):
            assert http.get(f"/console/{name}").status_code == 404
    assert httpx2.get(f"{guarded.server.url}/console/index.html").status_code == 401


def test_a_database_that_is_away(tmp_path: Path) -> None:
    from headrace.catalogue import Catalogue
    from headrace.security.keyring import KeyRing
    from headrace.security.keys import Pepper

    ring = KeyRing(Catalogue(f"sqlite:///{tmp_path}/c.sqlite"), Pepper([b"0" * 16]), refresh=60)
    try:
        (tmp_path / "c.sqlite").unlink()
        (tmp_path / "c.sqlite").mkdir()
        ring._catalogue._engine.dispose()
        with pytest.raises(OSError, match="cannot be used"):
            ring.create("a", ["infer"])
        with pytest.raises(OSError, match="cannot be used"):
            ring.all_keys()
    finally:
        ring.close()
