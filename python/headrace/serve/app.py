"""router(engine) for an application of your own; create_app(engine) for one that needs nothing more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from . import (
    console,
    openapi,
    openapi_admin,
    openapi_inference,
    openapi_language,
    openapi_masking,
    openapi_pipelines,
    openapi_tasks,
)
from .access import Access, current_call
from .admin import admin_endpoints
from .errors import HttpError, error_response
from .guard import Guard
from .inference import inference_endpoints
from .language import LANGUAGE_ENDPOINTS
from .mask import ROUTE as MASK
from .mask import mask_endpoint
from .openai import embeddings_endpoint, get_model_endpoint, list_models_endpoint
from .pipelines import ROUTE as PIPELINES
from .pipelines import pipeline_endpoint
from .predict import PREDICT_ROUTE, predict_endpoint
from .service import DEFAULT_MAX_BODY_BYTES, Endpoint, Service, request_id
from .tasks import ROUTES, task_endpoint
from .tei import tei_endpoints

if TYPE_CHECKING:
    from ..engine import Engine

_NO_STORE = {"cache-control": "no-store"}


def router(engine: Engine, *, max_body_bytes: int = DEFAULT_MAX_BODY_BYTES) -> APIRouter:
    """The OpenAI routes of `engine`, and those of the tasks, to be included in a FastAPI application with any prefix.

    Dependencies of the application or of `include_router` (authentication, say) apply to every route.

        app = fastapi.FastAPI()
        app.include_router(headrace.serve.router(engine), prefix="/ai", dependencies=[Depends(check_key)])
    """
    return _router(Service(engine, max_body_bytes=max_body_bytes))


def _router(service: Service) -> APIRouter:
    routes = APIRouter()

    def add(
        path: str, endpoint: object, method: str, described: dict[str, object], name: str, tag: str = "OpenAI"
    ) -> None:
        routes.add_api_route(
            path,
            endpoint,  # type: ignore[arg-type]
            methods=[method],
            name=name,
            response_class=Response,
            response_model=None,
            openapi_extra=described,
            tags=[tag],
        )

    add("/v1/embeddings", embeddings_endpoint(service), "POST", openapi.EMBEDDINGS, "create_embeddings")
    for path in ROUTES:
        name = path.removeprefix("/v1/").replace("-", "_")
        add(path, task_endpoint(service, path), "POST", openapi_tasks.TASKS[path], name, "Tasks")
    add(PREDICT_ROUTE, predict_endpoint(service), "POST", openapi_tasks.PREDICT, "predict", "Tasks")
    add(PIPELINES, pipeline_endpoint(service), "POST", openapi_pipelines.PIPELINE, "run_pipeline", "Tasks")
    add(MASK, mask_endpoint(service), "POST", openapi_masking.MASK, "mask", "Tasks")
    for path, endpoint in LANGUAGE_ENDPOINTS.items():
        name = "create_" + path.removeprefix("/v1/").rstrip("s").replace("/", "_")
        add(path, endpoint(service), "POST", openapi_language.ROUTES[path], name)
    for tag, endpoints in _protocols(service).items():
        for (method, path), (answer, summary) in endpoints.items():
            name = method.lower() + path.replace("{", "").replace("}", "").replace("/", "_")
            add(path, answer, method, openapi_inference.described(path, summary), name, tag)
    add("/v1/models", list_models_endpoint(service), "GET", openapi.MODELS, "list_models")
    add("/v1/models/{id:path}", get_model_endpoint(service), "GET", openapi.MODEL, "get_model")
    return routes


def _protocols(service: Service) -> dict[str, dict[tuple[str, str], tuple[Endpoint, str]]]:
    """The protocols beside OpenAI's and the tasks: (method, path) -> endpoint and summary."""
    return {
        "Open Inference Protocol": inference_endpoints(service),
        "text-embeddings-inference": tei_endpoints(service),
    }


def create_app(
    engine: Engine, *, max_body_bytes: int = DEFAULT_MAX_BODY_BYTES, access: Access | None = None
) -> FastAPI:
    """An application with the routes of `router`, health, metrics, documentation, keys and the console; any ASGI server
    runs it.

        app = headrace.serve.create_app(engine)      # uvicorn module:app

    access: keys, limits, audit and host names, in front of every route; None leaves everything open.

    `app.state.headrace` is the Service: its `draining` and `loading` decide what /readyz says.
    """
    service = Service(engine, max_body_bytes=max_body_bytes, access=access)
    app = FastAPI(
        title="headrace",
        description=openapi.DESCRIPTION,
        redirect_slashes=False,  # a redirect would repeat whatever host the client gave
        openapi_url=None,  # ours is below: FastAPI's page loads its script from a CDN
        exception_handlers={HTTPException: _http_exception, Exception: _exception},
    )
    app.state.headrace = service
    # FastAPI's dependency machinery costs 37 of the 54 microseconds that an empty answer takes. This app
    # has no dependencies, so its busy routes also stand, first, as plain ones; the router's describe them.
    plain = {"/v1/embeddings": embeddings_endpoint(service)}
    plain |= {path: task_endpoint(service, path) for path in ROUTES}
    plain |= {path: endpoint(service) for path, endpoint in LANGUAGE_ENDPOINTS.items()}
    plain[PREDICT_ROUTE] = predict_endpoint(service)
    for endpoints in _protocols(service).values():
        plain |= {path: answer for (method, path), (answer, _) in endpoints.items() if method == "POST"}
    app.router.routes[:0] = [
        Route(path, endpoint, methods=["POST"], include_in_schema=False) for path, endpoint in plain.items()
    ]
    app.include_router(_router(service))
    _add_operations(app, service)
    if access is not None:
        app.add_middleware(Guard, service=service, access=access)
    return app


def _add_operations(app: FastAPI, service: Service) -> None:
    def add(path: str, endpoint: object, summary: str, *, schema: bool = True, **options: Any) -> None:
        app.add_api_route(
            path,
            endpoint,  # type: ignore[arg-type]
            summary=summary,
            response_class=Response,
            response_model=None,
            include_in_schema=schema,
            responses={status: {"description": text} for status, text in openapi.GUARDED.items()},
            tags=["Operations"],
            **options,
        )

    @service.endpoint("/livez")
    async def livez(request: Request) -> Response:
        return Response("ok\n", headers=_NO_STORE, media_type="text/plain")

    @service.endpoint("/readyz")
    async def readyz(request: Request) -> Response:
        service.check_ready()
        without = f"without: {', '.join(sorted(service.failed))}\n" if service.failed else ""
        return Response(f"ok\n{without}", headers=_NO_STORE, media_type="text/plain")

    @service.endpoint("/metrics")
    async def metrics(request: Request) -> Response:
        call = current_call()
        if call is not None:
            call.need("metrics")
        text, content_type = await asyncio.to_thread(_exposition, service)
        return Response(text, headers={**_NO_STORE, "content-type": content_type})

    @service.endpoint("/openapi.json")
    async def description(request: Request) -> Response:
        return JSONResponse(app.openapi())

    @service.endpoint("/docs")
    async def docs(request: Request) -> Response:
        page, policy = openapi.page()
        return Response(page, media_type="text/html", headers={"content-security-policy": policy})

    add("/livez", livez, "200 while the process runs")
    add(
        "/readyz",
        readyz,
        "200 when requests are welcome, 503 while loading or draining; the body names models that "
        "could not be loaded",
    )
    add("/metrics", metrics, "Prometheus text")
    add("/openapi.json", description, "This description", schema=False)
    add("/docs", docs, "This page", schema=False)
    add("/", console.page_endpoint(service), "The console", openapi_extra=openapi_admin.CONSOLE)
    add(console.FILE_ROUTE, console.file_endpoint(service), "A file of the console", schema=False)
    for (method, path), endpoint in admin_endpoints(service).items():
        described = openapi_admin.ADMIN[method, path]
        status = 201 if "201" in described["responses"] else 200
        add(
            path,
            endpoint,
            described["summary"],
            methods=[method],
            openapi_extra=described,
            status_code=status,
        )


def _exposition(service: Service) -> tuple[bytes, str]:
    """Renders the metrics; runs in a thread, since the first call imports prometheus_client."""
    from prometheus_client import generate_latest

    from ..observe import registry

    if service.registry is None:
        audit = None if service.access is None else service.access.audit
        service.registry = registry(service.engine, service.metrics, audit)
    return generate_latest(service.registry), "text/plain; version=0.0.4; charset=utf-8"


async def _http_exception(request: Request, error: Exception) -> Response:
    """404 and 405 from the routing, in the shape of every other error."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"][:200]
    known = {
        404: f"there is no {path!r} here: see /docs for what there is",
        405: f"{request.method} is not allowed on {path!r}: see /docs for what is",
    }
    answer = HttpError(
        error.status_code, known.get(error.status_code, str(error.detail)), code="no_such_route"
    )
    answer.headers.update(error.headers or {})
    if (
        error.status_code == 405
    ):  # the routing names only the methods of the first of several routes of one path
        answer.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return _finished(request, answer)


def _methods(request: Request) -> set[str]:
    """What the path of the request may be asked by."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found


async def _exception(request: Request, error: Exception) -> Response:
    return _finished(request, error)


def _finished(request: Request, error: Exception) -> Response:
    service: Service = request.app.state.headrace
    identity = request_id(request.headers.get("x-request-id"))
    response = error_response(error, identity)
    service.finish(response, identity)
    service.metrics.observe("other", response.status_code, 0.0)
    return response
