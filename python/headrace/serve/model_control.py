"""Loading and unloading models of a running server, for those whose key has the scope manage.

Only what the operator has named when the server was started can be loaded: a client gives a name, never a path.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..errors import CorruptFileError, Error, InvalidArgumentError, ModelNotFoundError, UnsupportedError
from ..repository import MODEL_NAME, is_pipeline, models_in, resolve
from .access import managing_call
from .answer import Answer
from .errors import HttpError, invalid
from .requests import read_body
from .service import Service

_IGNORED = ("unload_dependents",)  # of Triton's clients: there are none


def _check(service: Service, name: str) -> None:
    managing_call("manage").use("manage", name, is_known=service.knows(name) or name in loadable(service))
    if not MODEL_NAME.fullmatch(name):
        raise invalid(f"{name[:128]!r} is not a model's name", param="name")


def loadable(service: Service) -> dict[str, str]:
    """Where the operator said that models are, by name; reads the folders."""
    found = {model.name: str(model) for folder in service.folders for model in models_in(folder) or ()}
    return {**found, **service.sources}


def _source(service: Service, name: str, version: Any) -> Path | str:
    """Where the operator said that the model is, or a version of it."""
    path = loadable(service).get(name)
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


def _share(settings: dict[str, Any], name: str, most: str) -> float | None:
    share = settings.get(name)
    if share is None:
        return None
    is_number = isinstance(share, (int, float)) and not isinstance(share, bool)
    if not is_number or not 0 <= share <= 1 or (share == 1 and name == "share"):
        raise invalid(
            f"{name}={share!r:.64}: must be a number from 0 (ends a trial) to {most}", param="parameters"
        )
    return float(share)


async def load(service: Service, name: str, settings: dict[str, Any]) -> None:
    """Loads a model, or its newest version or the one in `settings` in place of what is served; no request is lost.

    With a share, it is put on trial beside what is served; with `shadow`, it gets copies of that share of the requests.
    Loading such a version without either gives it all requests.
    """
    _check(service, name)
    if unknown := set(settings) - {"version", "share", "shadow", *_IGNORED}:
        raise invalid(
            f"the parameter {min(unknown)[:64]!r} is not known here: known are version, share and shadow",
            param="parameters",
        )
    share, shadow = _share(settings, "share", "below 1"), _share(settings, "shadow", "1")
    if share is not None and shadow is not None:
        raise invalid("share and shadow: a version gets requests or copies; give one", param="parameters")
    if name in service.loading:
        raise HttpError(409, f"model {name!r} is being loaded already", code="model_loading")
    path = _source(service, name, settings.get("version"))
    engine = service.engine
    if is_pipeline(path) and (settings.get("share") is not None or settings.get("shadow") is not None):
        raise invalid("a pipeline cannot be on trial: load it without share and shadow", param="parameters")
    is_there = any(each.name == name for each in engine.residences())
    wanted = share if shadow is None else shadow
    if wanted is not None and not is_there:
        raise HttpError(
            409, f"model {name!r} is not served, so nothing can be on trial beside it", code="no_model"
        )
    if wanted == 0:
        engine.drop_candidate(name)
        return
    work = _work(service, name, path, share, is_there)
    if shadow is not None:
        work = partial(engine.shadow, name, path, share=shadow, precision=service.precision)
    if not is_there:
        service.loading.add(name)
    try:
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, work))
    except (CorruptFileError, ModelNotFoundError, InvalidArgumentError, UnsupportedError) as error:
        if error.code == "model_too_large":
            raise
        # Not the client's fault, and not ours to hide from who manages models; paths stay in the log.
        raise HttpError(
            422,
            f"model {name!r} cannot be loaded: {_without_path(error, path)}",
            code=error.code or "model_unusable",
        ) from error
    finally:
        service.loading.discard(name)
    service.failed.discard(name)


def _work(
    service: Service, name: str, path: Path | str, share: float | None, is_there: bool
) -> Callable[[], Any]:
    engine, precision = service.engine, service.precision
    if is_pipeline(path):
        return partial(engine.add_pipeline, name, path)
    if share is not None:
        return partial(engine.try_candidate, name, path, share=share, precision=precision)
    candidate = engine.candidate(name)
    if candidate is not None and os.path.realpath(candidate.model.info.path) == os.path.realpath(
        resolve(path)
    ):
        return partial(engine.promote, name)
    return partial(engine.replace if is_there else engine.add, name, path, precision=precision)


def _without_path(error: Error, path: Path | str) -> str:
    return str(error).replace(str(path), "its folder")


async def unload(service: Service, name: str, settings: dict[str, Any]) -> None:
    """Stops serving a model; what is under way is finished."""
    _check(service, name)
    if unknown := set(settings) - set(_IGNORED):
        raise invalid(
            f"the parameter {min(unknown)[:64]!r} is not known here: there is none", param="parameters"
        )
    if name in service.engine.pipelines:
        service.engine.remove_pipeline(name)
        return
    service.engine.retire(service.engine.resolve(name))


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
