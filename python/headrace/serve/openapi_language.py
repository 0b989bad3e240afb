"""The description of the language model routes; language_requests.py enforces it, and the tests send each example."""

from __future__ import annotations

from typing import Any

from .language_requests import MAX_CHOICES, MAX_MESSAGES, MAX_PROMPTS
from .openapi import _object, _responses
from .requests import MAX_NAME
from .tool_calls import MAX_TOOLS

_ERRORS = {
    400: "The request is wrong (`param` names the field), or has a field that is not enforced here",
    404: "No such model",
    413: "The body is too large",
    429: "Too many prompts wait: try again after `retry-after-ms`",
    503: "The model is still being loaded",
}
_INTEGER = {"type": "integer"}
_NUMBER = {"type": "number"}


def _or_null(kind: str, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    described: dict[str, Any] = {"type": [kind, "null"]}
    if low is not None:
        described["minimum"] = low
    if high is not None:
        described["maximum"] = high
    return described


_COMMON: dict[str, Any] = {
    "model": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
    "n": {"type": "integer", "minimum": 1, "maximum": MAX_CHOICES, "default": 1},
    "stream": {
        "type": "boolean",
        "default": False,
        "description": "Server-sent events, a chunk for each piece.",
    },
    "stream_options": {
        "type": ["object", "null"],
        "properties": {"include_usage": {"type": "boolean"}},
        "additionalProperties": False,
    },
    "max_tokens": _or_null("integer", 1),
    "temperature": _or_null("number", 0, 100),
    "top_p": _or_null("number", 0, 1),
    "top_k": _or_null("integer", 0),
    "min_p": _or_null("number", 0, 1),
    "repetition_penalty": _or_null("number", 0.01, 100),
    "presence_penalty": _or_null("number", -2, 2),
    "frequency_penalty": _or_null("number", -2, 2),
    "logit_bias": {"type": ["object", "null"], "additionalProperties": {"type": "number"}},
    "seed": _or_null("integer"),
    "stop": {
        "oneOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}, "maxItems": 16},
            {"type": "null"},
        ],
        "description": "Ends the text, and is not part of it.",
    },
    "stop_token_ids": {"type": ["array", "null"], "items": {"type": "integer"}},
    "min_tokens": {"type": "integer", "minimum": 0, "default": 0},
    "ignore_eos": {"type": "boolean", "default": False},
    "structured_outputs": {
        "type": ["object", "null"],
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {
            "json": {"type": ["object", "string", "boolean"]},
            "regex": {"type": "string"},
            "choice": {"type": "array", "items": {"type": "string"}},
            "grammar": {"type": "string", "description": "In Lark's syntax."},
        },
        "additionalProperties": False,
        "description": "The form that the text must have.",
    },
    "user": _or_null("string"),
    "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
}
_USAGE = {
    "type": "object",
    "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
    "properties": {
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), _INTEGER),
        "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": _INTEGER}},
    },
}


def _route(
    summary: str, kind: str, required: dict[str, Any], optional: dict[str, Any], example: dict[str, Any]
) -> dict[str, Any]:
    properties = {**_COMMON, **required, **optional}
    schema = {
        "type": "object",
        "required": ["model", *required],
        "properties": properties,
        "additionalProperties": False,
    }
    answer = _object(
        kind, {"id": {"type": "string"}, "created": _INTEGER, "choices": {"type": "array"}, "usage": _USAGE}
    )
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": _responses(answer, _ERRORS),
    }


ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": _route(
        "Answer a chat",
        "chat.completion",
        {
            "messages": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_MESSAGES,
                "items": {"type": "object", "required": ["role"]},
            }
        },
        {
            "max_completion_tokens": _or_null("integer", 1),
            "logprobs": _or_null("boolean"),
            "top_logprobs": _or_null("integer", 0, 20),
            "response_format": {
                "type": ["object", "null"],
                "required": ["type"],
                "properties": {
                    "type": {"enum": ["text", "json_object", "json_schema"]},
                    "json_schema": {"type": "object", "properties": {"schema": {"type": "object"}}},
                },
                "description": "The text is JSON, of that schema where one is given.",
            },
            "tools": {
                "type": ["array", "null"],
                "maxItems": MAX_TOOLS,
                "items": {"type": "object", "required": ["type", "function"]},
                "description": "Functions that the model may call, where its chat template knows tools.",
            },
            "tool_choice": {
                "type": ["string", "object", "null"],
                "description": "none, auto, required, or the function that must be called.",
            },
            "parallel_tool_calls": _or_null("boolean"),
        },
        {
            "model": "smollm2",
            "messages": [{"role": "user", "content": "Name the capital of France."}],
            "max_tokens": 20,
            "temperature": 0,
        },
    ),
    "/v1/completions": _route(
        "Go on with a text",
        "text_completion",
        {
            "prompt": {
                "oneOf": [
                    {"type": "string"},
                    {"type": "array", "maxItems": MAX_PROMPTS},
                ],
                "description": "A text, several, token ids, or several lists of them.",
            }
        },
        {
            "echo": {"type": "boolean", "default": False},
            "logprobs": _or_null("integer", 0, 20),
            "best_of": _or_null("integer", 1),
        },
        {"model": "smollm2", "prompt": "Water flows", "max_tokens": 8, "temperature": 0},
    ),
}
