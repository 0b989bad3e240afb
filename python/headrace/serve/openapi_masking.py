"""The description of the masking route."""

from __future__ import annotations

from typing import Any

from ..security.masking import KINDS
from .mask import MAX_KEY, MAX_TEXTS
from .openapi import _object, _responses, text_or_texts
from .requests import MAX_NAME

_COUNT = {"type": "integer", "minimum": 0}

MASK: dict[str, Any] = {
    "summary": "Take personal data out of texts",
    "description": "What is found, in places of the text as given, and the text without it. Nothing is kept, and "
    "without `model` no model runs (scope infer, for any model). The modes are `mask` ([EMAIL]), `hash` (a keyed "
    "code), `reversible` (<EMAIL_1>, with `mapping` to put the values back) and `drop`.",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["input"],
                    "additionalProperties": False,
                    "properties": {
                        "input": text_or_texts(MAX_TEXTS),
                        "mode": {"enum": ["mask", "hash", "reversible", "drop"], "default": "mask"},
                        "kinds": {
                            "anyOf": [
                                {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": len(KINDS),
                                    "items": {"enum": list(KINDS)},
                                },
                                {"type": "null"},
                            ],
                            "description": "What to find; by default everything.",
                        },
                        "model": {
                            "anyOf": [
                                {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
                                {"type": "null"},
                            ],
                            "description": "A served model for `tag`, for what has no rules, such as names: kinds "
                            "person, location and organization.",
                        },
                        "key": {
                            "anyOf": [
                                {"type": "string", "minLength": 16, "maxLength": MAX_KEY},
                                {"type": "null"},
                            ],
                            "description": "For `hash` only: the same key gives the same codes again. Without one, "
                            "a random key of this request.",
                        },
                    },
                },
                "examples": {
                    "a label": {"value": {"input": "Write to maria@example.com"}},
                    "placeholders": {"value": {"input": ["call +44 20 7946 0958"], "mode": "reversible"}},
                },
            }
        },
    },
    "responses": _responses(
        _object(
            "list",
            {
                "mode": {"type": "string"},
                "data": {
                    "type": "array",
                    "items": _object(
                        "masked_text",
                        {
                            "index": _COUNT,
                            "text": {"type": "string"},
                            "findings": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["kind", "start", "end"],
                                    "properties": {
                                        "kind": {"type": "string"},
                                        "start": _COUNT,
                                        "end": _COUNT,
                                    },
                                },
                                "description": "In characters of the input.",
                            },
                            "mapping": {
                                "type": "object",
                                "additionalProperties": {"type": "string"},
                                "description": "Of `reversible`: from each placeholder to what it stands for.",
                            },
                        },
                    ),
                },
            },
        ),
        {
            400: "The request is wrong",
            404: "No such model",
            413: "The body is too large",
            429: "Too much is queued: try again after `retry-after-ms`",
            503: "The model is still being loaded",
        },
    ),
}
