"""The description of the routes about the server itself: its state, its keys, the models that it may load."""

from __future__ import annotations

from typing import Any

from ..security.audit_pages import MAX_ROWS
from ..security.keys import MAX_LIFETIME, MAX_LIMIT
from .admin import AUDIT_ROUTE, KEY_ROUTE, KEYS_ROUTE, MAX_SCOPES, MODELS_ROUTE, PROMOTE_ROUTE
from .openapi import _object, _responses
from .status import ROUTE as STATUS_ROUTE

_STRING: dict[str, Any] = {"type": "string"}
_BOOLEAN: dict[str, Any] = {"type": "boolean"}
_NUMBER: dict[str, Any] = {"type": "number"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_STRINGS: dict[str, Any] = {"type": "array", "items": _STRING}
_NO_SCOPE = "The key has not the scope"
_UNKNOWN = "There is no key, or it is not valid"


def _fields(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


_LIMIT: dict[str, Any] = {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_LIMIT}
_LIMITS = dict.fromkeys(("requests_per_minute", "tokens_per_minute", "tokens_per_day"), _LIMIT)
_KEY = {
    "id": _STRING,
    "name": _STRING,
    "tenant": _STRING,
    "scopes": _STRINGS,
    "state": {"enum": ["active", "expired", "revoked"]},
    "created": _NUMBER,
    "expires": _or_null(_NUMBER),
    "revoked": _or_null(_NUMBER),
    "limits": _fields({}, _LIMITS),
    "certificate_name": _or_null(_STRING),
}
_MODEL = _fields(
    {
        "id": _STRING,
        "state": {"enum": ["ready", "trial", "shadow", "loading", "unloaded", "failed"]},
        "may": {
            "type": "array",
            "items": {"enum": ["infer", "manage"]},
            "description": "What the key may do.",
        },
    },
    {
        **dict.fromkeys(("version", "task", "architecture", "precision"), _STRING),
        "base": {**_STRING, "description": "Of an adapter: the model that it adapts."},
        **dict.fromkeys(("parameters", "dimensions", "max_tokens"), _COUNT),
        "share": {
            **_NUMBER,
            "description": "Of the requests, of a version on trial; its id is MODEL@VERSION.",
        },
        "compared": _fields(
            {
                **dict.fromkeys(("copies", "compared", "agreed", "dropped", "failed"), _COUNT),
                **dict.fromkeys(("mean_cosine", "min_cosine"), _or_null(_NUMBER)),
                "served_seconds": {**_NUMBER, "description": "Of a copied request, on average."},
                "shadow_seconds": {**_NUMBER, "description": "Of its copy."},
            }
        ),
        "bytes": {**_COUNT, "description": "In memory now."},
        "pinned": {**_BOOLEAN, "description": "Whether it stays in memory."},
        "last_used": _or_null({**_NUMBER, "description": "Seconds since 1970."}),
        "loads": _COUNT,
        "unloads": _COUNT,
        "requests": {**_COUNT, "description": "Since the model was loaded, as the following."},
        "tokens": {**_COUNT, "description": "Read and written."},
        "queued_tokens": {**_COUNT, "description": "Now."},
        "not_answered": {**_COUNT, "description": "Refused, expired, cancelled and failed."},
        "drift": {
            **_or_null(
                _fields(
                    {
                        **dict.fromkeys(("input_tokens", "output"), _or_null(_NUMBER)),
                        **dict.fromkeys(("reference", "window"), _COUNT),
                    }
                )
            ),
            "description": "Population stability indices of the latest texts (window) beside the reference's; null "
            "while there are too few.",
        },
    },
)
_LATENCY = _fields(
    {
        "bounds": {"type": "array", "items": _NUMBER},
        "counts": {"type": "array", "items": _COUNT, "description": "One more than bounds: what is above."},
    }
)

_STATUS: dict[str, Any] = {
    "summary": "The state of the server, and counts since its start",
    "description": "Of every model, as /metrics has it (scope metrics); cheap enough to be asked every second. Rates "
    "are the differences of two answers. `http` counts requests that run a model; `latency_seconds` is the time from "
    "body to answer, or to its beginning where it is streamed.",
    "responses": _responses(
        _object(
            "status",
            {
                "time": _NUMBER,
                "version": _STRING,
                "state": {"enum": ["ready", "loading", "draining"]},
                "keys": _fields({"required": _BOOLEAN, "kept": _BOOLEAN}),
                "key": _or_null(
                    _fields({"id": _STRING, "name": _STRING, "tenant": _STRING, "scopes": _STRINGS})
                ),
                "memory": _fields({"budget": _or_null(_COUNT), "used": _COUNT}),
                "http": _fields({"requests": _COUNT, "failed": _COUNT, "latency_seconds": _LATENCY}),
                "models": {"type": "array", "items": _MODEL},
            },
        ),
        {401: _UNKNOWN, 403: f"{_NO_SCOPE} metrics"},
    ),
}
_LIST: dict[str, Any] = {
    "summary": "List the keys",
    "description": "Every key, oldest first, with those that are over; their texts are kept nowhere (scope admin).",
    "responses": _responses(
        _object("list", {"data": {"type": "array", "items": _object("key", _KEY)}}),
        {
            401: _UNKNOWN,
            403: f"{_NO_SCOPE} admin",
            404: "The server keeps no keys",
            503: "Keys cannot be reached",
        },
    ),
}
_CREATE: dict[str, Any] = {
    "summary": "Make a key",
    "description": "`key` in the answer is the only time that it is told (scope admin).",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    **_fields(
                        {
                            "name": {"type": "string", "minLength": 1, "maxLength": 64},
                            "scopes": {**_STRINGS, "minItems": 1, "maxItems": MAX_SCOPES,
                                       "description": "infer, manage, infer:MODEL, manage:MODEL (a * may end the "
                                       "name), metrics, audit, admin."},
                        },
                        {
                            "tenant": {"type": ["string", "null"], "minLength": 1, "maxLength": 64,
                                       "description": "Whose caches it shares; by default a tenant of its name."},
                            "lifetime_seconds": {"type": ["number", "null"], "exclusiveMinimum": 0,
                                                 "maximum": MAX_LIFETIME, "description": "By default without end."},
                            "certificate_name": {"type": ["string", "null"], "minLength": 1, "maxLength": 255,
                                                 "description": "A client certificate's common name or URI, which "
                                                 "then is the key; `key` in the answer is null."},
                            "limits": {**_fields({}, _LIMITS), "additionalProperties": False},
                        },
                    ),
                    "additionalProperties": False,
                },
                "examples": {
                    "one model": {"value": {"name": "search", "scopes": ["infer:minilm"]}},
                    "for a while, with limits": {
                        "value": {
                            "name": "trial",
                            "scopes": ["infer"],
                            "lifetime_seconds": 604800,
                            "limits": {"requests_per_minute": 60, "tokens_per_day": 100000},
                        }
                    },
                },
            }
        },
    },
    "responses": {
        "201": _responses(_object("key", {**_KEY, "key": _STRING}), {})["200"],
        **{
            status: text
            for status, text in _responses(
                {},
                {
                    400: "The request is wrong; `param` names the field",
                    401: _UNKNOWN,
                    403: f"{_NO_SCOPE} admin",
                    404: "The server keeps no keys",
                    413: "The body is too large",
                    503: "Keys cannot be reached",
                },
            ).items()
            if status != "200"
        },
    },
}  # fmt: skip
_REVOKE: dict[str, Any] = {
    "summary": "Revoke a key",
    "description": "It is refused here at once, and within 5 seconds by every server of the same database (scope "
    "admin).",
    "parameters": [{"name": "id", "in": "path", "required": True, "schema": _STRING}],
    "responses": _responses(
        _object("key", _KEY),
        {401: _UNKNOWN, 403: f"{_NO_SCOPE} admin", 404: "No such key", 503: "Keys cannot be reached"},
    ),
}
_LOADABLE: dict[str, Any] = {
    "summary": "Models that may be loaded",
    "description": "Of those that the server was started with, or that lie in its folders, the ones that the key may "
    "manage, and the numbered versions there are. /v2/repository/models/{name}/load loads one.",
    "responses": _responses(
        _object(
            "list",
            {
                "data": {
                    "type": "array",
                    "items": _object("loadable_model", {"id": _STRING, "versions": _STRINGS}),
                }
            },
        ),
        {401: _UNKNOWN},
    ),
}

CONSOLE: dict[str, Any] = {
    "responses": {
        "200": {"description": "A page for a browser", "content": {"text/html": {"schema": _STRING}}}
    }
}
# (method, path) -> its description.
_AUDIT: dict[str, Any] = {
    "summary": "Read the audit log",
    "description": "Events in their order, a page at a time (scope audit). Ask again with `after` set to `next` until "
    "that is null; a page may be short and have a next one. Other parameters choose events: `since` and `until` in "
    "seconds since 1970, the others by what their field says.",
    "parameters": [
        {"name": "after", "in": "query", "schema": {**_COUNT, "default": 0, "maximum": 10**15}},
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": 100},
        },
        *(
            {"name": name, "in": "query", "schema": {**_NUMBER, "minimum": 0}, "example": 1.7e9}
            for name in ("since", "until")
        ),
        *({"name": name, "in": "query", "schema": _STRING} for name in ("event", "key", "tenant", "model")),
        *({"name": name, "in": "query", "schema": _STRING} for name in ("request", "route", "status")),
    ],
    "responses": _responses(
        _object("list", {"data": {"type": "array", "items": {"type": "object"}}, "next": _or_null(_COUNT)}),
        {
            400: "A parameter is wrong",
            401: _UNKNOWN,
            403: f"{_NO_SCOPE} audit",
            404: "The server keeps no audit log",
        },
    ),
}
_PROMOTE: dict[str, Any] = {
    "summary": "Give the version on trial, or the shadow, all requests",
    "description": "A shadow may be held to what its comparisons have shown (scope manage, for the model). The audit "
    "log has the request.",
    "parameters": [{"name": "name", "in": "path", "required": True, "schema": _STRING}],
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {
                    **_fields(
                        {},
                        {
                            "min_compared": {**_COUNT, "description": "Answers compared."},
                            "min_agreement": {**_NUMBER, "minimum": 0, "maximum": 1},
                            "min_cosine": {
                                **_NUMBER,
                                "minimum": -1,
                                "maximum": 1,
                                "description": "The mean.",
                            },
                        },
                    ),
                    "additionalProperties": False,
                },
                "examples": {"a gate": {"value": {"min_compared": 1000, "min_agreement": 0.99}}},
            }
        },
    },
    "responses": _responses(
        _object("promoted_model", {"id": _STRING, "version": _STRING}),
        {
            400: "The request is wrong",
            401: _UNKNOWN,
            403: f"{_NO_SCOPE} manage, for this model",
            404: "There is nothing beside the model",
            409: "The gate is not passed",
        },
    ),
}
ADMIN: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", STATUS_ROUTE): _STATUS,
    ("GET", KEYS_ROUTE): _LIST,
    ("POST", KEYS_ROUTE): _CREATE,
    ("DELETE", KEY_ROUTE): _REVOKE,
    ("GET", MODELS_ROUTE): _LOADABLE,
    ("GET", AUDIT_ROUTE): _AUDIT,
    ("POST", PROMOTE_ROUTE): _PROMOTE,
}
