"""Loading and unloading models of a running server, for those whose key has the scope manage.

Only what the operator has named when the server was started can be loaded: a client gives a name, never a path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..errors import CorruptFileError, Error, ModelNotFoundError
from ..repository import MODEL_NAME, models_in
from .access import current_call
from .answer import Answer
from .errors import HttpError, invalid
from .requests import read_body
from .service import Service

_IGNORED = ("unload_dependents",)  # of Triton's clients: there are none


def _check(service: Service, name: str) -> None:
    call = current_call()
    if call is None:
        raise HttpError(
            403, "models are managed with a key of the scope manage: start the server with --require-keys",
            code="insufficient_scope",
        )  # fmt: skip
    call.use("manage", name)
    if not MODEL_NAME.fullmatch(name):
        raise invalid(f"{name[:128]!r} is not a model's name", param="name")


def _source(service: Service, name: str, version: Any) -> Path | str:
    """Where the operator said that the model is."""
    path = service.sources.get(name)
    if path is None:
        for folder in service.folders:
            found = {model.name: model for model in models_in(folder) or ()}
            if name in found:
                path = str(found[name])
                break
    if path is None:
        raise HttpError(
            404,
            f"no model {name!r} was named when this server was started, and none is in its folders",
            code="model_not_found",
            param="model",
        )
    if version is None:
        return path
    if not (isinstance(version, (str, int)) and str(version).isascii() and str(version).isdigit()):
        raise invalid(f"version={version!r:.64}: must be the number of one of its folders", param="version")
    numbered = Path(path).expanduser() / str(version)
    if path.startswith("demo:") or not numbered.is_dir():
        raise HttpError(404, f"model {name!r} has no version {str(version)[:32]!r}", code="model_not_found")
    return numbered


async def load(service: Service, name: str, settings: dict[str, Any]) -> None:
    """Loads a model, or its newest version or the one in `settings` in place of what is served; no request is lost."""
    _check(service, name)
    if unknown := set(settings) - {"version", *_IGNORED}:
        raise invalid(
            f"the parameter {min(unknown)[:64]!r} is not known here: known is version", param="parameters"
        )
    if name in service.loading:
        raise HttpError(409, f"model {name!r} is being loaded already", code="model_loading")
    path = _source(service, name, settings.get("version"))
    engine = service.engine
    is_there = any(info.name == name for info in engine.models())
    work = partial(engine.replace if is_there else engine.add, name, path, precision=service.precision)
    if not is_there:
        service.loading.add(name)
    try:
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, work))
    except (CorruptFileError, ModelNotFoundError) as error:
        # Not the client's fault, and not ours to hide from who manages models; paths stay in the log.
        raise HttpError(
            422, f"model {name!r} cannot be loaded: {_without_path(error, path)}", code="model_unusable"
        ) from error
    finally:
        service.loading.discard(name)
    service.failed.discard(name)


def _without_path(error: Error, path: Path | str) -> str:
    return str(error).replace(str(path), "its folder")


async def unload(service: Service, name: str, settings: dict[str, Any]) -> None:
    """Stops serving a model; what is under way is finished."""
    _check(service, name)
    if unknown := set(settings) - set(_IGNORED):
        raise invalid(
            f"the parameter {min(unknown)[:64]!r} is not known here: there is none", param="parameters"
        )
    service.engine.retire(name)


class _Body(msgspec.Struct):
    parameters: dict[str, Any] = {}


def handler(
    work: Callable[[Service, str, dict[str, Any]], Awaitable[None]],
) -> Callable[[Service, Request], Awaitable[Response]]:
    """A handler of the Open Inference Protocol's repository extension."""

    async def answer(service: Service, request: Request) -> Response:
        body = await read_body(request, service.max_body_bytes, any_type=True)
        try:
            wanted = msgspec.json.decode(body, type=_Body) if body else _Body()
        except msgspec.DecodeError as error:
            raise invalid(f"the body is not what this route takes: {error}") from None
        await work(service, request.path_params["name"], wanted.parameters)
        return Answer(b"{}")

    return answer
