"""Keys made, listed and revoked over HTTP, for the scope admin; and what may be loaded, for those who manage models.

What `headrace keys` does beside a server, for those who reach it only over the network. Each change has a record of its
own in the audit log, besides that of its request.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..errors import InvalidArgumentError, ModelNotFoundError
from ..key_command import described
from ..repository import versions_in
from ..security.audit_pages import MAX_ROWS, Wanted, read_page
from ..security.scopes import Limits
from ..shadow import PromotionGate
from .access import Call, current_call, managing_call
from .answer import Answer
from .errors import HttpError, invalid
from .model_control import loadable
from .requests import decode, read_body
from .service import Endpoint, Service
from .status import NO_STORE, status_endpoint
from .status import ROUTE as STATUS_ROUTE

if TYPE_CHECKING:
    from ..security.keyring import KeyRing

T = TypeVar("T")
KEYS_ROUTE = "/v1/admin/keys"
KEY_ROUTE = "/v1/admin/keys/{id}"
MODELS_ROUTE = "/v1/admin/models"
AUDIT_ROUTE = "/v1/admin/audit"
PROMOTE_ROUTE = "/v1/admin/models/{name}/promote"
MAX_SCOPES = 100
_MAX_BODY_BYTES = 65_536
_encode = msgspec.json.Encoder().encode


class LimitsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a key may use; None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None

    def limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.tokens_per_day)


class KeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/admin/keys."""

    name: str
    scopes: Annotated[list[str], msgspec.Meta(max_length=MAX_SCOPES)]
    tenant: str | None = None
    lifetime_seconds: float | None = None
    certificate_name: str | None = None
    limits: LimitsRequest = msgspec.field(default_factory=LimitsRequest)


_decoder = msgspec.json.Decoder(KeyRequest)


def _answer(value: Any, status: int = 200) -> Response:
    return Answer(_encode(value), status, headers=NO_STORE)


def _admitted(service: Service) -> tuple[Call, KeyRing]:
    """The call of someone who may have to do with keys, and where they are. HttpError 403, 404."""
    call = managing_call("admin")
    call.need("admin")
    ring = None if service.access is None else service.access.ring
    if ring is None:
        raise HttpError(
            404, "this server keeps no keys of its own: start it with --require-keys", code="no_keys"
        )
    return call, ring


async def _in_thread(work: Callable[[], T]) -> T:
    """What waits for the catalogue, away from the event loop, and not given up halfway when its client leaves."""
    try:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, work))
    except OSError as error:
        raise HttpError(503, f"keys cannot be reached: {error}", code="keys_unavailable") from error


def _record(service: Service, call: Call, event: str, key: dict[str, Any]) -> None:
    """Which key was made or ended, by whom."""
    assert service.access is not None
    audit = service.access.audit
    if audit is not None:
        told = {"subject": key["id"], "name": key["name"], "scopes": " ".join(key["scopes"])}
        audit.add({"event": event, "request": call.identity, "key": call.principal.id, **told})


def list_keys_endpoint(service: Service) -> Endpoint:
    """GET /v1/admin/keys."""

    @service.endpoint(KEYS_ROUTE)
    async def list_keys(request: Request) -> Response:
        _, ring = _admitted(service)
        keys = await _in_thread(ring.all_keys)
        return _answer({"object": "list", "data": [_key_object(described(key)) for key in keys]})

    return list_keys


def create_key_endpoint(service: Service) -> Endpoint:
    """POST /v1/admin/keys."""

    @service.endpoint(KEYS_ROUTE)
    async def create_key(request: Request) -> Response:
        call, ring = _admitted(service)
        wanted = decode(_decoder, await read_body(request, min(service.max_body_bytes, _MAX_BODY_BYTES)))

        def work() -> tuple[str, dict[str, Any]]:
            text, key = ring.create(
                wanted.name,
                wanted.scopes,
                tenant=wanted.tenant,
                lifetime=wanted.lifetime_seconds,
                limits=wanted.limits.limits(),
                certificate=wanted.certificate_name,
            )
            return text, described(key)

        try:
            text, made = await _in_thread(work)
        except InvalidArgumentError as error:
            raise _named(error) from None
        _record(service, call, "key_created", made)
        return _answer({**_key_object(made), "key": text or None}, 201)

    return create_key


def revoke_key_endpoint(service: Service) -> Endpoint:
    """DELETE /v1/admin/keys/{id}."""

    @service.endpoint(KEY_ROUTE)
    async def revoke_key(request: Request) -> Response:
        call, ring = _admitted(service)
        identity = request.path_params["id"]
        try:
            ended = described(await _in_thread(lambda: ring.revoke(identity)))
        except ModelNotFoundError:
            raise HttpError(404, f"no key has the id {identity[:32]!r}", code="key_not_found") from None
        _record(service, call, "key_revoked", ended)
        return _answer(_key_object(ended))

    return revoke_key


def _key_object(key: dict[str, Any]) -> dict[str, Any]:
    return {"object": "key", **key}


_FIELDS = {
    "name": "name",
    "tenant": "tenant",
    "scope": "scopes",
    "scopes": "scopes",
    "lifetime": "lifetime_seconds",
    "certificate_name": "certificate_name",
}


def _named(error: InvalidArgumentError) -> HttpError:
    """A 400 that names the field; messages begin with what is wrong."""
    word = str(error).partition("=")[0].partition(":")[0]
    return invalid(str(error), param=_FIELDS.get(word, "limits"))


def loadable_models_endpoint(service: Service) -> Endpoint:
    """GET /v1/admin/models."""

    @service.endpoint(MODELS_ROUTE)
    async def list_loadable(request: Request) -> Response:
        call = current_call()

        def work() -> list[dict[str, Any]]:
            found = {
                name: path
                for name, path in loadable(service).items()
                if call is not None and call.principal.allows("manage", name)
            }
            return [
                {"id": name, "object": "loadable_model", "versions": versions_in(path)}
                for name, path in sorted(found.items())
            ]

        return _answer({"object": "list", "data": await asyncio.to_thread(work)})

    return list_loadable


_NUMBERS = {"after": int, "limit": int, "since": float, "until": float}
_TEXTS = ("event", "key", "tenant", "model", "request", "route", "status")


def _wanted(query: Mapping[str, str]) -> Wanted:
    """Of the query's parameters; HttpError 400 that names one that is wrong."""
    numbers: dict[str, Any] = {}
    for name, kind in _NUMBERS.items():
        if name in query:
            try:
                value = kind(query[name][:32])
            except ValueError:
                value = math.nan
            is_right = math.isfinite(value) and value >= (1 if name == "limit" else 0)
            if not is_right or (name == "limit" and value > MAX_ROWS):
                raise invalid(f"{name}={query[name][:32]!r}: must be a number within its range", param=name)
            numbers[name] = value
    if unknown := set(query) - set(_NUMBERS) - set(_TEXTS):
        known = ", ".join([*_NUMBERS, *_TEXTS])
        raise invalid(f"{min(unknown)[:64]!r} is not known here: known are {known}", param=min(unknown)[:64])
    return Wanted(**numbers, fields={name: query[name] for name in _TEXTS if name in query})


def audit_endpoint(service: Service) -> Endpoint:
    """GET /v1/admin/audit."""

    @service.endpoint(AUDIT_ROUTE)
    async def read_audit(request: Request) -> Response:
        managing_call("audit").need("audit")
        audit = None if service.access is None else service.access.audit
        if audit is None:
            raise HttpError(404, "this server keeps no audit log: start it with --audit", code="no_audit")
        wanted = _wanted(request.query_params)
        page = await asyncio.to_thread(read_page, audit.folder, wanted)
        return _answer({"object": "list", "data": page.rows, "next": page.next})

    return read_audit


class PromoteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/admin/models/{name}/promote: what the shadow must have shown."""

    min_compared: Annotated[int, msgspec.Meta(ge=0)] = 0
    min_agreement: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    min_cosine: Annotated[float, msgspec.Meta(ge=-1, le=1)] = -1.0


_promote_decoder = msgspec.json.Decoder(PromoteRequest)


def promote_endpoint(service: Service) -> Endpoint:
    """POST /v1/admin/models/{name}/promote."""

    @service.endpoint(PROMOTE_ROUTE)
    async def promote(request: Request) -> Response:
        name = request.path_params["name"]
        managing_call("manage").use("manage", name, is_known=service.knows(name))
        wanted = decode(
            _promote_decoder, await read_body(request, min(service.max_body_bytes, _MAX_BODY_BYTES)) or b"{}"
        )
        gate = PromotionGate(wanted.min_compared, wanted.min_agreement, wanted.min_cosine)
        work = partial(service.engine.promote, name, gate=gate)  # which loads the model's adapters anew
        try:
            model = await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, work))
        except InvalidArgumentError as error:
            raise HttpError(409, str(error), code=error.code) from None
        except ModelNotFoundError as error:
            raise HttpError(404, str(error), code=error.code or "no_candidate") from None
        return _answer({"object": "promoted_model", "id": name, "version": model.info.version})

    return promote


def admin_endpoints(service: Service) -> dict[tuple[str, str], Endpoint]:
    """(method, path) -> endpoint, of what is told and changed of the server itself."""
    return {
        ("GET", STATUS_ROUTE): status_endpoint(service),
        ("GET", KEYS_ROUTE): list_keys_endpoint(service),
        ("POST", KEYS_ROUTE): create_key_endpoint(service),
        ("DELETE", KEY_ROUTE): revoke_key_endpoint(service),
        ("GET", MODELS_ROUTE): loadable_models_endpoint(service),
        ("GET", AUDIT_ROUTE): audit_endpoint(service),
        ("POST", PROMOTE_ROUTE): promote_endpoint(service),
    }
