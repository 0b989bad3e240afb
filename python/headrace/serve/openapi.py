"""The description of the routes for /openapi.json, and the page at /docs that shows it.

The hot route reads its body itself, so FastAPI cannot derive these; the tests send every example here.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import re
from typing import Any

from .images import MAX_IMAGES
from .requests import MAX_INPUTS, MAX_NAME

DESCRIPTION = (
    "Text embeddings at native speed, in the shape of OpenAI's API: set `base_url` of any OpenAI client to "
    "this server's address and `/v1`."
)

_TOKEN_IDS = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
}
_TEXT = {"type": "string", "minLength": 1}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field that is wrong."},
                "code": {"type": ["string", "null"], "description": "A name for programs."},
            },
        }
    },
}
_MODEL_OBJECT = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
        "task": {"type": "string"},
        "dimensions": {"type": "integer"},
        "max_tokens": {"type": "integer"},
        "precision": {"type": "string"},
        "loaded": {"type": "boolean", "description": "In memory; else the next request loads it."},
        "labels": {"type": "array", "items": {"type": "string"}},
        "inputs": {"type": "integer", "minimum": 0, "description": "How many tensors a model of such takes."},
        "files": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Those of its inputs that take bytes, such as pictures.",
        },
        "similarity": {"type": "string"},
        "prompts": {"type": "object", "additionalProperties": {"type": "string"}},
        "default_prompt_name": {"type": ["string", "null"]},
    },
}


TEXT: dict[str, Any] = {"type": "string", "minLength": 1}


def text_or_texts(most: int) -> dict[str, Any]:
    """A text, or a list of at most so many."""
    return {"anyOf": [TEXT, {"type": "array", "minItems": 1, "maxItems": most, "items": TEXT}]}


def _object(kind: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["object", *properties],
        "properties": {"object": {"const": kind}, **properties},
    }


# What any route may answer where the server has keys or is called by names of its own.
GUARDED = {
    401: "There is no valid key",
    403: "The key does not allow this",
    421: "The request calls this server by another name",
}


def _responses(schema: dict[str, Any], errors: dict[int, str]) -> dict[str, Any]:
    found = {"200": {"description": "The answer", "content": {"application/json": {"schema": schema}}}}
    for status, description in {**GUARDED, **errors}.items():
        found[str(status)] = {"description": description, "content": {"application/json": {"schema": _ERROR}}}
    return found


_IMAGE = {
    "type": "string",
    "minLength": 1,
    "description": "Base64 of a JPEG, PNG, WebP or GIF, or a data: URL of it.",
}
IMAGES: dict[str, Any] = {
    "anyOf": [_IMAGE, {"type": "array", "minItems": 1, "maxItems": MAX_IMAGES, "items": _IMAGE}],
    "description": "Pictures instead of `input`, for models that see. A form (multipart/form-data) with files named "
    "image means the same.",
}
INPUT_OR_IMAGES: list[dict[str, Any]] = [{"required": ["input"]}, {"required": ["images"]}]
IMAGE_PARTS: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_IMAGES,
    "items": {
        "type": "object",
        "required": ["type", "image_url"],
        "properties": {
            "type": {"const": "image_url"},
            "image_url": {"type": "object", "required": ["url"], "properties": {"url": _IMAGE}},
        },
    },
    "description": "Pictures as OpenAI has them in chats; `url` is a data: URL, nothing is fetched.",
}

EMBEDDINGS: dict[str, Any] = {
    "summary": "Embed texts",
    "description": "One vector for each text, in their order. A text longer than the model takes is refused "
    "unless `truncate` is true; `usage.truncated_inputs` then says how many were cut.",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["model"],
                    "oneOf": INPUT_OR_IMAGES,
                    "properties": {
                        "model": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
                        "input": {
                            "anyOf": [
                                _TEXT,
                                {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": _TEXT},
                                _TOKEN_IDS,
                                {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": _TOKEN_IDS},
                                IMAGE_PARTS,
                            ],
                            "description": "A text, texts, the token ids of one text, or of several; ids are "
                            "taken as they are, so [CLS] and [SEP] belong to them.",
                        },
                        "encoding_format": {
                            "enum": ["float", "base64", None],
                            "default": "float",
                            "description": "base64: the little-endian f32 bytes; shorter and faster.",
                        },
                        "dimensions": {
                            "type": ["integer", "null"],
                            "minimum": 1,
                            "description": "Keep the first so many numbers, and normalise again.",
                        },
                        "user": {"type": ["string", "null"], "description": "Accepted and not used."},
                        "truncate": {"type": "boolean", "default": False},
                        "images": IMAGES,
                        "prompt_name": {
                            "type": ["string", "null"],
                            "minLength": 1,
                            "maxLength": MAX_NAME,
                            "description": "One of the model's prompts (see /v1/models), such as query, to stand "
                            "before each text; by default the model's default_prompt_name, if it has one.",
                        },
                    },
                },
                "examples": {
                    "one text": {"value": {"model": "minilm", "input": "A mill wheel turns."}},
                    "several texts": {
                        "value": {
                            "model": "minilm",
                            "input": ["A mill wheel turns.", "水车在转动。"],
                            "dimensions": 64,
                        }
                    },
                    "token ids": {
                        "value": {
                            "model": "minilm",
                            "input": [[101, 1037, 4971, 5217, 102], [101, 7592, 102]],
                        }
                    },
                    "base64": {"value": {"model": "minilm", "input": "short", "encoding_format": "base64"}},
                    "cut what is too long": {
                        "value": {"model": "minilm", "input": "word " * 20, "truncate": True}
                    },
                },
            }
        },
    },
    "responses": _responses(
        _object(
            "list",
            {
                "data": {
                    "type": "array",
                    "items": _object(
                        "embedding",
                        {
                            "index": {"type": "integer"},
                            "embedding": {"anyOf": [{"type": "array", "items": {"type": "number"}}, _TEXT]},
                        },
                    ),
                },
                "model": {"type": "string"},
                "usage": {
                    "type": "object",
                    "required": ["prompt_tokens", "total_tokens"],
                    "properties": {
                        "prompt_tokens": {"type": "integer"},
                        "total_tokens": {"type": "integer"},
                        "truncated_inputs": {"type": "integer"},
                    },
                },
            },
        ),
        {
            400: "The request is wrong; `param` names the field",
            404: "No such model",
            413: "The body is too large",
            429: "Too much is queued: try again after `retry-after-ms`",
            503: "The model is still being loaded",
        },
    ),
}

MODELS: dict[str, Any] = {
    "summary": "List the models",
    "responses": _responses(_object("list", {"data": {"type": "array", "items": _MODEL_OBJECT}}), {}),
}

MODEL: dict[str, Any] = {
    "summary": "One model",
    "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
    "responses": _responses(_MODEL_OBJECT, {404: "No such model"}),
}


@functools.cache
def page() -> tuple[bytes, str]:
    """The documentation page and the content-security-policy that allows its one script and nothing else."""
    text = importlib.resources.files(__package__).joinpath("docs.html").read_bytes()
    script = re.search(rb"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[1] if script else b"").digest()).decode()
    return text, (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
