"""headrace.serve.router in a FastAPI application of the user's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import fastapi
import pytest
from fastapi.testclient import TestClient

import headrace
import headrace.serve

BODY = {"model": "minilm", "input": "a mill wheel"}


@pytest.fixture(scope="module")
def engine() -> Iterator[headrace.Engine]:
    with headrace.Engine() as engine:
        engine.add("minilm", "demo:minilm")
        yield engine


def test_it_stands_under_a_prefix_beside_other_routes(engine: headrace.Engine) -> None:
    app = fastapi.FastAPI()

    @app.get("/mine")
    def mine() -> str:
        return "mine"

    app.include_router(headrace.serve.router(engine), prefix="/ai")
    with TestClient(app) as http:
        answer = http.post("/ai/v1/embeddings", json=BODY)
        assert answer.status_code == 200
        assert len(answer.json()["data"][0]["embedding"]) == 384
        assert answer.headers["x-request-id"]
        assert http.get("/ai/v1/models/minilm").json()["id"] == "minilm"
        assert http.get("/mine").json() == "mine"
        assert http.post("/v1/embeddings", json=BODY).status_code == 404
        bad = http.post("/ai/v1/embeddings", json={**BODY, "input": []})
        assert (bad.status_code, bad.json()["error"]["param"]) == (400, "input")
        assert "/ai/v1/embeddings" in http.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("where", ["application", "router"])
def test_dependencies_guard_every_route(engine: headrace.Engine, where: str) -> None:
    def check_key(key: str = fastapi.Header(default="")) -> None:
        if key != "secret":
            raise fastapi.HTTPException(401)

    guard = [fastapi.Depends(check_key)]
    app = fastapi.FastAPI(dependencies=guard if where == "application" else None)
    app.include_router(headrace.serve.router(engine), dependencies=guard if where == "router" else None)
    with TestClient(app) as http:
        for method, path in (("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/v1/models/minilm")):
            body: dict[str, Any] | None = BODY if method == "POST" else None
            assert http.request(method, path, json=body).status_code == 401
            assert http.request(method, path, json=body, headers={"key": "secret"}).status_code == 200


def test_middleware_sees_every_request(engine: headrace.Engine) -> None:
    app = headrace.serve.create_app(engine)
    seen = []

    @app.middleware("http")
    async def watch(request: fastapi.Request, call_next: Any) -> Any:
        seen.append(request.url.path)
        return await call_next(request)

    with TestClient(app) as http:
        assert http.post("/v1/embeddings", json=BODY).status_code == 200
        assert http.get("/livez").status_code == 200
    assert seen == ["/v1/embeddings", "/livez"]


def test_two_routers_can_share_an_engine(engine: headrace.Engine) -> None:
    app = fastapi.FastAPI()
    app.include_router(headrace.serve.router(engine), prefix="/a")
    app.include_router(headrace.serve.router(engine, max_body_bytes=100), prefix="/b")
    with TestClient(app) as http:
        long = {**BODY, "input": "word " * 50}
        assert http.post("/a/v1/embeddings", json=long).status_code == 200
        assert http.post("/b/v1/embeddings", json=long).status_code == 413


def test_readiness_follows_the_state(engine: headrace.Engine) -> None:
    app = headrace.serve.create_app(engine)
    with TestClient(app) as http:
        assert http.get("/readyz").status_code == 200
        app.state.headrace.loading.add("big")
        assert "big" in http.get("/readyz").json()["error"]["message"]
        answer = http.post("/v1/embeddings", json={"model": "big", "input": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_loading")
        assert answer.headers["retry-after"] == "1"
        assert http.post("/v1/embeddings", json=BODY).status_code == 200
        app.state.headrace.loading.clear()
        app.state.headrace.draining = True
        assert http.get("/readyz").json()["error"]["code"] == "draining"
        assert http.get("/livez").status_code == 200


def test_an_unexpected_failure_tells_nothing_but_its_id(
    engine: headrace.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    app = headrace.serve.create_app(engine)
    service = app.state.headrace

    @app.get("/broken")
    @service.endpoint("/broken")
    async def broken(request: fastapi.Request) -> fastapi.Response:
        raise RuntimeError("secret detail")

    @app.get("/worse")
    async def worse() -> None:
        raise RuntimeError("secret detail")

    with TestClient(app, raise_server_exceptions=False) as http:
        for path in ("/broken", "/worse"):
            answer = http.get(path)
            assert answer.status_code == 500
            assert "secret" not in answer.text
            assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert "secret detail" in caplog.text


def test_every_kind_of_error_has_its_status() -> None:
    from headrace.serve.errors import STATUS, error_response

    kinds = {
        kind
        for kind in vars(headrace).values()
        if isinstance(kind, type) and issubclass(kind, headrace.Error)
    }
    assert set(STATUS) == kinds - {headrace.Error}
    for kind, status in STATUS.items():
        assert error_response(kind("x=1: wrong"), "id").status_code == status


def test_without_fastapi_the_import_says_what_to_install() -> None:
    script = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'fastapi' else find(name, *rest)\n"
        "import headrace\n"
        "try:\n    import headrace.serve\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "fastapi" in done.stdout
    assert "pip install 'headrace[serve]'" in done.stdout
