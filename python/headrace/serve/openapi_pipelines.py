"""The description of the pipelines' route."""

from __future__ import annotations

from typing import Any

from .openapi import _object, _responses, text_or_texts
from .pipelines import MAX_TEXTS

_COUNT = {"type": "integer", "minimum": 0}
_OUTPUT = {
    "description": "Documents, best first; a label; entities; a text; or what the chosen model answered."
}

PIPELINE: dict[str, Any] = {
    "summary": "Run texts through a pipeline",
    "description": "A pipeline is a few steps of served models, such as retrieve and rerank, under a name of its own: "
    "`/v1/models` lists it with the task `pipeline`.",
    "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
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
                        "steps": {
                            "type": "boolean",
                            "default": False,
                            "description": "Also what each step gave.",
                        },
                        "timeout": {
                            "type": ["number", "null"],
                            "exclusiveMinimum": 0,
                            "maximum": 3600,
                            "description": "Seconds that all steps of a text may take.",
                        },
                        "user": {"type": ["string", "null"]},
                    },
                },
                "examples": {"a query": {"value": {"input": "what turns the wheel?"}}},
            }
        },
    },
    "responses": _responses(
        _object(
            "list",
            {
                "model": {"type": "string"},
                "data": {
                    "type": "array",
                    "items": _object("pipeline_result", {"index": _COUNT, "output": _OUTPUT}),
                },
                "usage": {
                    "type": "object",
                    "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
                    "properties": dict.fromkeys(
                        ("prompt_tokens", "completion_tokens", "total_tokens"), _COUNT
                    ),
                },
            },
        ),
        {
            400: "The request is wrong, or a text is too long for a step",
            404: "No such pipeline",
            413: "The body is too large",
            429: "Too much is queued: try again after `retry-after-ms`",
            503: "The pipeline is still being loaded",
            504: "The time was over",
        },
    ),
}
