"""Bodies of the language model routes: every field is enforced or refused."""

from __future__ import annotations

from typing import Any

import msgspec

from ..generation import SAMPLING_NUMBERS, Sampling
from .errors import invalid
from .requests import Name, decode_masked
from .tool_calls import read_earlier_calls

MAX_CHOICES = 16
MAX_PROMPTS = 64
MAX_MESSAGES = 4096
# How `structured_outputs` names a form, and how Sampling does.
_FORMS = {"json": "json_schema", "regex": "regex", "choice": "choice", "grammar": "grammar"}


class LanguageRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What both routes know. `user` and `metadata` are the caller's own and change nothing."""

    model: Name
    n: int = 1
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    structured_outputs: dict[str, Any] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def include_usage(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))

    def wanted_logprobs(self) -> int | None:
        raise NotImplementedError

    def limit(self) -> int | None:
        return self.max_tokens

    def form(self) -> dict[str, Any]:
        """The form that the text must have, as Sampling takes it; empty for none."""
        given = self.structured_outputs
        if given is None:
            return {}
        if len(given) != 1 or (name := next(iter(given))) not in _FORMS:
            raise invalid(
                f"structured_outputs must have one of {', '.join(_FORMS)}, not {', '.join(given) or 'nothing'}",
                param="structured_outputs",
            )
        return {_FORMS[name]: given[name]}

    def check(self) -> None:
        self.form()
        if not 1 <= self.n <= MAX_CHOICES:
            raise invalid(f"n={self.n}: must be between 1 and {MAX_CHOICES}", param="n")
        if self.stream_options is not None:
            if not self.stream:
                raise invalid("stream_options is for stream=true only", param="stream_options")
            unknown = set(self.stream_options) - {"include_usage"}
            if unknown:
                raise invalid(f"stream_options.{min(unknown)} is not supported", param="stream_options")
        if (limit := self.limit()) is not None and limit < 1:
            raise invalid(f"max_tokens={limit}: must be at least 1", param="max_tokens")

    def sampling(self, index: int) -> Sampling:
        """Of choice `index`: with a seed, each has its own, so that they differ and can be had again."""
        seed = None if self.seed is None else self.seed + index
        given = {name: getattr(self, name) for name in SAMPLING_NUMBERS}
        return Sampling(
            max_tokens=self.limit(),
            logit_bias=self._bias(),
            seed=seed,
            stop=self.stop or (),
            stop_ids=self.stop_token_ids or (),
            min_tokens=self.min_tokens,
            ignore_eos=self.ignore_eos,
            logprobs=self.wanted_logprobs(),
            **self.form(),
            **{name: value for name, value in given.items() if value is not None},
        )

    def _bias(self) -> dict[int, float] | None:
        if self.logit_bias is None:
            return None
        try:
            return {int(token): bias for token, bias in self.logit_bias.items()}
        except ValueError as error:
            raise invalid(f"logit_bias must map token ids to numbers: {error}", param="logit_bias") from None


class ChatRequest(LanguageRequest):
    """The body of POST /v1/chat/completions."""

    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    def limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def wanted_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def form(self) -> dict[str, Any]:
        form = super().form()
        schema = _schema_of(self.response_format)
        if schema is None:
            return form
        if form:
            raise invalid("give response_format or structured_outputs, not both", param="response_format")
        return {"json_schema": schema}

    def check(self) -> None:
        super().check()
        if not 1 <= len(self.messages) <= MAX_MESSAGES:
            raise invalid(
                f"messages has {len(self.messages)} items: must have 1 to {MAX_MESSAGES}", param="messages"
            )
        for i, message in enumerate(self.messages):
            self.messages[i] = _plain(i, message)
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise invalid("give max_completion_tokens or max_tokens, not both", param="max_tokens")
        if self.top_logprobs is not None:
            if not self.logprobs:
                raise invalid("top_logprobs needs logprobs=true", param="top_logprobs")
            if not 0 <= self.top_logprobs <= 20:
                raise invalid(
                    f"top_logprobs={self.top_logprobs}: must be between 0 and 20", param="top_logprobs"
                )


class CompletionRequest(LanguageRequest):
    """The body of POST /v1/completions."""

    prompt: str | list[str | int | list[int]]
    echo: bool = False
    logprobs: int | None = None
    best_of: int | None = None

    def wanted_logprobs(self) -> int | None:
        return self.logprobs

    def check(self) -> None:
        super().check()
        if self.logprobs is not None and not 0 <= self.logprobs <= 20:
            raise invalid(f"logprobs={self.logprobs}: must be between 0 and 20", param="logprobs")
        if self.best_of not in (None, self.n):
            raise invalid("best_of is not supported: ask for n texts", param="best_of")
        if self.echo and self.logprobs is not None:
            raise invalid("echo with logprobs is not supported: ask for one of them", param="echo")

    def prompts(self) -> list[Any]:
        """A list of texts and lists of token ids."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return [prompt]
        if not prompt:
            raise invalid("prompt is an empty list: give at least one text", param="prompt")
        if all(isinstance(item, int) for item in prompt):
            return [prompt]
        if any(isinstance(item, int) for item in prompt):
            raise invalid("prompt mixes token ids with texts", param="prompt")
        if len(prompt) > MAX_PROMPTS:
            raise invalid(f"prompt has {len(prompt)} items: at most {MAX_PROMPTS}", param="prompt")
        return list(prompt)


_decode_chat = msgspec.json.Decoder(ChatRequest)
_decode_completion = msgspec.json.Decoder(CompletionRequest)


async def decode_chat(body: bytes) -> ChatRequest:
    """The checked request, masked; HttpError 400 that names the field for anything else."""
    request = await decode_masked(_decode_chat, body)
    request.check()
    return request


async def decode_completion(body: bytes) -> CompletionRequest:
    """The checked request, masked; HttpError 400 that names the field for anything else."""
    request = await decode_masked(_decode_completion, body)
    request.check()
    return request


def _schema_of(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    """The JSON schema that a response_format asks for; None for text."""
    if response_format is None:
        return None
    kind = response_format.get("type")
    if kind == "json_object" or kind == "text":
        return {"type": "object"} if kind == "json_object" else None
    described = response_format.get("json_schema")
    if kind != "json_schema" or not isinstance(described, dict):
        raise invalid(
            "response_format must be {'type': 'text'}, {'type': 'json_object'}, or "
            "{'type': 'json_schema', 'json_schema': {'name': ..., 'schema': {...}}}",
            param="response_format",
        )
    unknown = set(described) - {"name", "description", "schema", "strict"}
    schema = described.get("schema", {"type": "object"})
    if unknown or not isinstance(schema, dict):
        wrong = f"has an unknown field {min(unknown)!r}" if unknown else "has a schema that is no object"
        raise invalid(f"response_format.json_schema {wrong}", param="response_format")
    return schema


def _plain(index: int, message: dict[str, Any]) -> dict[str, Any]:
    """A message whose content is one text; parts of type text are joined, others refused."""
    if message.get("tool_calls") is not None:
        message = read_earlier_calls(index, message)
    content = message.get("content")
    if isinstance(content, str):
        return message
    if not isinstance(content, list):
        raise invalid(
            f"messages[{index}].content must be a text, or a list of parts of type text", param="messages"
        )
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise invalid(
                f"messages[{index}].content has a part that is no text: this model reads text only",
                param="messages",
            )
        texts.append(part["text"])
    return {**message, "content": "".join(texts)}
