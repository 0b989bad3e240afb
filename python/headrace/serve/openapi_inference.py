"""What /openapi.json says of the routes of the Open Inference Protocol and of text-embeddings-inference."""

from __future__ import annotations

from typing import Any

from ..predict.signature import DATATYPES
from .openapi import GUARDED

_STRING = {"type": "string"}
_PARAMETERS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": _STRING,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 8},
        "datatype": {"enum": sorted(set(DATATYPES.values()))},
        "parameters": _PARAMETERS,
        "data": {"type": "array"},
    },
    "additionalProperties": False,
}
_INFER = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": _STRING,
        "parameters": _PARAMETERS,
        "inputs": {"type": "array", "items": _TENSOR, "minItems": 1},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": _STRING, "parameters": _PARAMETERS},
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
_EXAMPLE = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a mill wheel"]}]}


def _body(required: dict[str, Any], example: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    properties = {**required, "model": {"type": ["string", "null"]}}
    return {"type": "object", "required": list(required), "properties": properties}, example


_INPUTS = {"type": ["string", "array"]}
_BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/v2/repository/index": (
        {"type": "object", "properties": {"ready": {"type": "boolean"}}},
        {"ready": True},
    ),
    "/": _body({"inputs": _INPUTS}, {"inputs": "a mill wheel"}),
    "/embed": _body({"inputs": _INPUTS}, {"inputs": ["a mill wheel", "a river"]}),
    "/similarity": _body(
        {"inputs": {"type": "object"}},
        {"inputs": {"source_sentence": "a mill wheel", "sentences": ["a water wheel", "a shop"]}},
    ),
    "/rerank": _body(
        {"query": _STRING, "texts": {"type": "array", "items": _STRING}},
        {"query": "what turns?", "texts": ["a wheel", "a stone"]},
    ),
    "/predict": _body({"inputs": _INPUTS}, {"inputs": "a mill wheel"}),
    "/tokenize": _body({"inputs": _INPUTS}, {"inputs": "a mill wheel"}),
    "/decode": _body({"ids": {"type": "array"}}, {"ids": [101, 1037, 4971, 102]}),
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _STRING}}
_ERRORS = {
    400: "The request is wrong; the message names what",
    **GUARDED,
    404: "There is no such model or version",
    409: "The model is being loaded already",
    422: "The model cannot be loaded",
    429: "Too much is queued; see retry-after",
    500: "An internal error, or the model could not be loaded",
    503: "The server drains, or the model is still being loaded",
    504: "The request's time was over",
}


def described(path: str, summary: str) -> dict[str, Any]:
    """The description of one route."""
    answers = {
        "200": {
            "description": "The answer",
            "content": {"application/json": {"schema": {"type": ["object", "array"]}}},
        }
    }
    for status, text in _ERRORS.items():
        answers[str(status)] = {"description": text, "content": {"application/json": {"schema": _ERROR}}}
    route: dict[str, Any] = {"summary": summary, "responses": answers}
    if path in _BODIES or path.endswith("/infer"):
        schema, example = (_INFER, _EXAMPLE) if path.endswith("/infer") else _BODIES[path]
        content = {"application/json": {"schema": schema, "example": example}}
        route["requestBody"] = {"required": not path.endswith("/index"), "content": content}
    if names := [part.strip("{}") for part in path.split("/") if part.startswith("{")]:
        route["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": _STRING} for name in names
        ]
    return route
