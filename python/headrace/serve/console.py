"""The console: one page at GET /, of files that are served as they are; they need nothing from elsewhere."""

from __future__ import annotations

import functools
import importlib.resources

from starlette.requests import Request
from starlette.responses import Response

from .answer import Answer, Header
from .errors import HttpError
from .service import Endpoint, Service

FILE_ROUTE = "/console/{name}"
_PAGE = "index.html"
_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
# Nothing from elsewhere, no script or style inside the page, no frame around it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),  # where keys are asked for, the next user of the browser has none
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


@functools.cache
def files() -> dict[str, tuple[bytes, bytes]]:
    """Name -> content type and bytes of each file; a name that is not among them is no path to anything."""
    folder = importlib.resources.files(__package__).joinpath("console")
    found = {}
    for item in folder.iterdir():
        kind = _TYPES.get("." + item.name.rpartition(".")[2])
        if kind is not None:
            found[item.name] = kind, item.read_bytes()
    return found


def _file(name: str) -> Response:
    found = files().get(name)
    if found is None:
        raise HttpError(404, f"the console has no file {name[:100]!r}", code="no_such_route")
    kind, data = found
    return Answer(data, content_type=kind, headers=_HEADERS)


def page_endpoint(service: Service) -> Endpoint:
    """GET /."""

    @service.endpoint("GET /")  # POST / runs a model
    async def console(request: Request) -> Response:
        return _file(_PAGE)

    return console


def file_endpoint(service: Service) -> Endpoint:
    """GET /console/{name}."""

    @service.endpoint(FILE_ROUTE)
    async def console_file(request: Request) -> Response:
        return _file(request.path_params["name"])

    return console_file
