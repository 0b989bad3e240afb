"""The description of the tasks' routes; tasks.py enforces it, and the tests send each example."""

from __future__ import annotations

from typing import Any

from ..attributions.explanation import MAX_EVALUATIONS, MAX_REQUEST, MAX_REQUEST_IMAGES
from ..tasks.answer import MAX_ANSWER_TOKENS
from ..tasks.answer import MAX_TOP_K as MAX_ANSWERS
from ..tasks.fill_mask import MAX_TOP_K as MAX_CANDIDATES
from .explaining import MAX_SEGMENTS
from .openapi import IMAGE_PARTS, IMAGES, INPUT_OR_IMAGES, TEXT, _object, _responses, text_or_texts
from .requests import MAX_INPUTS, MAX_NAME
from .tasks import MAX_STRIDE

_TEXTS = {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": TEXT}
_SCORE: dict[str, Any] = {"type": "number"}
_INDEX: dict[str, Any] = {"type": "integer", "minimum": 0}
_TRUNCATE = {
    "type": "boolean",
    "default": False,
    "description": "Cut what is too long; `usage.truncated_inputs` says how many were cut. Else it is refused.",
}
_STRIDE = {
    "type": ["integer", "null"],
    "minimum": 0,
    "maximum": MAX_STRIDE,
    "description": "Tokens that neighbouring windows over a long text share.",
}
_USAGE = {
    "type": "object",
    "required": ["prompt_tokens", "total_tokens"],
    "properties": dict.fromkeys(("prompt_tokens", "total_tokens", "truncated_inputs"), _INDEX),
}
_ERRORS = {
    400: "The request is wrong (`param` names the field), or the model has another task (code `wrong_task`)",
    404: "No such model",
    413: "The body is too large",
    429: "Too much is queued: try again after `retry-after-ms`",
    503: "The model is still being loaded",
}


def _count(low: int, high: int, default: int | None, description: str = "") -> dict[str, Any]:
    kind: Any = "integer" if default is not None else ["integer", "null"]
    return {"type": kind, "minimum": low, "maximum": high, "default": default, "description": description}


def _properties(**kinds: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(kinds), "properties": kinds}


def _items(kind: str, **more: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _object(kind, {"index": _INDEX, **more})}


def _route(
    summary: str,
    description: str,
    required: dict[str, Any],
    optional: dict[str, Any],
    answer: dict[str, Any],
    examples: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    body = {
        "type": "object",
        "additionalProperties": False,
        "required": ["model", *required],
        "properties": {
            "model": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
            **required,
            **optional,
            "user": {"type": ["string", "null"], "description": "Accepted and not used."},
        },
    }
    shown = {name: {"value": value} for name, value in examples.items()}
    schema = _object(answer.pop("object"), {**answer, "model": {"type": "string"}, "usage": _USAGE})
    return {
        "summary": summary,
        "description": description,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "examples": shown}},
        },
        "responses": _responses(schema, _ERRORS),
    }


EXPLAIN: dict[str, Any] = {
    "anyOf": [
        {"type": "boolean"},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "method": {
                    "enum": ["auto", "shap", "occlusion"],
                    "default": "auto",
                    "description": "shap adds up to value - baseline_value; occlusion leaves out one piece at a time.",
                },
                "target": {
                    "type": ["string", "integer", "null"],
                    "description": "The label or output to explain; by default the best.",
                },
                "max_evaluations": _count(2, MAX_REQUEST, MAX_EVALUATIONS, "Of each input."),
                "segments": _count(1, MAX_SEGMENTS, None, "So many pieces of each input at most."),
                "baseline": {"description": "Of /v1/predict: the item that stands for nothing."},
                "seed": _count(0, (1 << 32) - 1, 0),
            },
        },
    ],
    "default": False,
    "description": "What each word, patch or feature did for the answer. The model is asked up to `max_evaluations` "
    f"times for each input, and at most {MAX_REQUEST} times in all "
    f"(of pictures {MAX_REQUEST_IMAGES}), which usage counts.",
}
_EXPLANATION: dict[str, Any] = {
    "type": "object",
    "required": ["target", "method", "value", "baseline_value", "evaluations", "pieces"],
    "properties": {
        "target": {"type": "string"},
        "method": {"enum": ["shap", "occlusion"]},
        "value": _SCORE,
        "baseline_value": _SCORE,
        "baseline": {"type": "string", "description": "What stands for a piece that is not there."},
        "evaluations": _INDEX,
        "grid": {"type": "array", "items": _INDEX, "description": "Rows and columns of a picture's patches."},
        "pieces": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "attribution"],
                "properties": {
                    "name": {"type": "string"},
                    "attribution": _SCORE,
                    "error": {**_SCORE, "description": "Standard error, where sampled."},
                    "start": _INDEX,
                    "end": _INDEX,
                    "value": {},
                },
            },
        },
    },
}


def _explained(items: dict[str, Any]) -> dict[str, Any]:
    """Rows that may have an explanation."""
    items["items"]["properties"]["explanation"] = _EXPLANATION
    return items


_LABEL = _properties(label={"type": "string"}, score=_SCORE)
_PLACE: dict[str, Any] = {"score": _SCORE, "start": _INDEX, "end": _INDEX, "text": {"type": "string"}}
_SPAN = _properties(**_PLACE)

TASKS: dict[str, dict[str, Any]] = {
    "/v1/classify": _route(
        "Classify texts",
        "For each text, or pair of texts, the model's labels, best first.",
        {
            "input": {
                "anyOf": [
                    TEXT,
                    _TEXTS,
                    {**_TEXTS, "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": TEXT}},
                    IMAGE_PARTS,
                ]
            }
        },
        {
            "top_k": _count(1, 1 << 16, None, "So many labels a text; by default all."),
            "truncate": _TRUNCATE,
            "images": IMAGES,
            "explain": EXPLAIN,
        },
        {
            "object": "list",
            "data": _explained(_items("classification", labels={"type": "array", "items": _LABEL})),
        },
        {
            "one text": {"model": "toy-classify", "input": "A mill wheel turns."},
            "several": {"model": "toy-classify", "input": ["good water", "bad water"], "top_k": 1},
            "pairs": {"model": "toy-classify", "input": [["the mill runs", "the mill turns"]]},
            "and why": {"model": "toy-classify", "input": "The good water turns.", "explain": True},
        },
    ),
    "/v1/rerank": _route(
        "Rank documents by how well they answer a query",
        "A cross-encoder reads the query with each document. The shape is that of Cohere's and Jina's rerank.",
        {
            "query": TEXT,
            "documents": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_INPUTS,
                "items": {"anyOf": [TEXT, _properties(text=TEXT)]},
            },
        },
        {
            "top_n": _count(1, MAX_INPUTS, None, "Only so many of the best; by default all."),
            "return_documents": {"type": "boolean", "default": False},
            "truncate": {**_TRUNCATE, "description": "Cut documents that do not fit beside the query."},
        },
        {
            "object": "list",
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "relevance_score"],
                    "properties": {
                        "index": _INDEX,
                        "relevance_score": _SCORE,
                        "document": _properties(text=TEXT),
                    },
                },
            },
        },
        {
            "documents": {
                "model": "toy-rerank",
                "query": "what turns the wheel",
                "documents": ["the water", "the mill in paris"],
            },
            "the best, with its text": {
                "model": "toy-rerank",
                "query": "what turns the wheel",
                "documents": ["the water", {"text": "the river"}],
                "top_n": 1,
                "return_documents": True,
            },
        },
    ),
    "/v1/tag": _route(
        "Find entities in texts",
        "Names, places, parts of speech: what the model was trained to mark. Texts of any length are read in windows; "
        "`start` and `end` count characters (code points).",
        {"input": text_or_texts(MAX_INPUTS)},
        {
            "aggregation": {
                "enum": ["none", "simple", "first", "average", "max"],
                "default": "simple",
                "description": "How tokens become entities, as in transformers' pipelines.",
            },
            "stride": _STRIDE,
            "ignore_labels": {
                "type": "array",
                "maxItems": 1000,
                "items": {"type": "string"},
                "default": ["O"],
            },
        },
        {
            "object": "list",
            "data": _items(
                "tags",
                entities={"type": "array", "items": _properties(label={"type": "string"}, **_PLACE)},
            ),
        },
        {
            "one text": {"model": "toy-tag", "input": "Maria Smith runs the mill in Paris."},
            "by words": {"model": "toy-tag", "input": ["Maria runs.", "Paris"], "aggregation": "average"},
        },
    ),
    "/v1/answer": _route(
        "Answer a question out of a text",
        "The place in the context that answers the question. Contexts of any length are read in windows.",
        {"question": TEXT, "context": TEXT},
        {
            "top_k": _count(1, MAX_ANSWERS, 1, "How many answers are told."),
            "max_answer_tokens": _count(1, MAX_ANSWER_TOKENS, 15, "No answer is longer."),
            "window": _count(8, MAX_STRIDE, None, "Tokens that are read together; by default 384."),
            "stride": _STRIDE,
            "allow_no_answer": {
                "type": "boolean",
                "default": False,
                "description": "Let `best` be null where the model thinks that the context has no answer.",
            },
        },
        {
            "object": "answer",
            "best": {"anyOf": [_SPAN, {"type": "null"}]},
            "answers": {"type": "array", "items": _SPAN},
            "no_answer_score": _SCORE,
        },
        {
            "question": {
                "model": "toy-answer",
                "question": "What turns the wheel?",
                "context": "The water turns the wheel of the mill.",
                "top_k": 2,
            }
        },
    ),
    "/v1/fill-mask": _route(
        "Fill masked places",
        "For each mask token in the text the tokens that fit it, best first.",
        {
            "input": {
                **TEXT,
                "description": "With the model's mask token, [MASK] or <mask>, once or more often.",
            }
        },
        {"top_k": _count(1, MAX_CANDIDATES, 5, "Candidates for each place."), "truncate": _TRUNCATE},
        {
            "object": "list",
            "data": _items(
                "mask",
                candidates={
                    "type": "array",
                    "items": _properties(text={"type": "string"}, id=_INDEX, score=_SCORE),
                },
            ),
        },
        {"one place": {"model": "toy-fill-mask", "input": "The [MASK] turns the wheel.", "top_k": 3}},
    ),
}

_ANY: dict[str, Any] = {
    "description": "Any JSON value; of a model of tensors an object with its inputs or outputs by name, those of bytes "
    "in base64 (RFC 4648, with padding)."
}
PREDICT: dict[str, Any] = _route(
    "Run a function or a model of tensors",
    "Of one item (`input`) or several (`inputs`). With `stream`, server-sent events: one for each piece that the "
    "function yields.",
    {},
    {
        "input": _ANY,
        "inputs": {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": _ANY},
        "stream": {"type": "boolean", "default": False},
        "explain": EXPLAIN,
    },
    {"object": "prediction", "output": _ANY},
    {
        "one item": {"model": "double", "input": 21},
        "several": {"model": "double", "inputs": [1, 2, 3]},
        "and why": {"model": "churn", "input": {"age": 31, "visits": 4}, "explain": {"method": "shap"}},
    },
)
PREDICT["requestBody"]["content"]["application/json"]["schema"]["oneOf"] = [
    {"required": ["input"]},
    {"required": ["inputs"]},
]
TASKS["/v1/classify"]["requestBody"]["content"]["application/json"]["schema"] |= {
    "required": ["model"],
    "oneOf": INPUT_OR_IMAGES,
}
_content = PREDICT["responses"]["200"]["content"]
_content["application/json"]["schema"] = {
    "type": "object",
    "required": ["object", "model", "usage"],
    "properties": {
        "object": {"enum": ["prediction", "list"]},
        "output": _ANY,
        "explanation": _EXPLANATION,
        "data": _explained(_items("prediction", output=_ANY)),
        "model": {"type": "string"},
        "usage": _properties(items=_INDEX),
    },
}
_content["text/event-stream"] = {"schema": {"type": "string"}}
