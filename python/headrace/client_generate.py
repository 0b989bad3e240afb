"""generate and stream of both clients: a body from what the Model's methods take, and their results from the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import InvalidArgumentError
from .generation import FORMS, Generation, Piece

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .client import _Protocol, _Send
    from .generate_methods import Prompt
    from .generation_arguments import GenerateArguments

    Base: TypeAlias = _Protocol
else:
    Base = object

_Steps: TypeAlias = "Generator[Any, Any, Any]"
_CHAT, _TEXT = "/v1/chat/completions", "/v1/completions"
# How HTTP names what Sampling names otherwise.
_NAMES = {"stop_ids": "stop_token_ids"}
_FORM_NAMES = {"json_schema": "json"}
_NOT_OVER_HTTP = ("timeout", "priority", "tenant", "logprobs")


class GenerateSteps(Base):
    """What both clients do."""

    def _generation_request(
        self, prompt: Prompt, model: str, settings: Mapping[str, Any], is_stream: bool
    ) -> _Send:
        from .client import _Send

        body: dict[str, Any] = {"model": model}
        items = prompt if isinstance(prompt, str) else list(prompt)
        is_chat = not isinstance(items, str) and bool(items) and isinstance(items[0], Mapping)
        body["messages" if is_chat else "prompt"] = items
        for name, value in settings.items():
            if name in _NOT_OVER_HTTP:
                raise InvalidArgumentError(f"{name} is not a setting of a client: give it to a Model")
            if value is None:
                continue
            if name in FORMS:
                given = json.loads(value) if name == "json_schema" and isinstance(value, str) else value
                body["structured_outputs"] = {_FORM_NAMES.get(name, name): given}
            elif name == "logit_bias":
                body[name] = {str(token): bias for token, bias in value.items()}
            else:
                body[_NAMES.get(name, name)] = value if isinstance(value, (str, int, float)) else list(value)
        if is_stream:
            body |= {"stream": True}
        try:
            content = json.dumps(body, ensure_ascii=False).encode()
        except (TypeError, UnicodeEncodeError) as error:
            raise InvalidArgumentError(f"the request cannot be written as JSON: {error}") from None
        return _Send("POST", _CHAT if is_chat else _TEXT, content)

    def _generate(self, prompt: Prompt, model: str, settings: Mapping[str, Any]) -> _Steps:
        request = self._generation_request(prompt, model, settings, False)
        answer = json.loads((yield from self._exchange(request)))
        [choice] = answer["choices"]
        usage = answer["usage"]
        return Generation(
            text=_text(choice.get("message") or choice) or "",
            finish_reason=choice["finish_reason"],
            tokens=(),
            prompt_tokens=usage["prompt_tokens"],
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
            token_count=usage["completion_tokens"],
        )

    def _piece(self, line: str) -> Piece | None:
        """What a line of the stream says; None for those that say nothing. Raises what the server tells."""
        from .client import _Reply

        if not line.startswith("data:"):
            return None
        data = line[5:].strip()
        if data == "[DONE]":
            return None
        event = json.loads(data)
        if "error" in event:
            raise self._error(_Reply(500, {}, data.encode()))
        if not event.get("choices"):
            return None
        [choice] = event["choices"]
        return Piece(_text(choice.get("delta") or choice) or "", finish_reason=choice.get("finish_reason"))


def _text(choice: Mapping[str, Any]) -> str | None:
    found = choice.get("content", choice.get("text"))
    return found if isinstance(found, str) else None


class GenerateCalls(GenerateSteps):
    """The methods of Client. Settings and results are those of the Model's methods of the same names."""

    if TYPE_CHECKING:

        def _run(self, steps: _Steps) -> Any: ...
        def _lines(self, send: _Send) -> Iterator[str]: ...

    def generate(self, prompt: Prompt, *, model: str, **settings: Unpack[GenerateArguments]) -> Generation:
        """The text that `model` writes after a text, token ids or messages."""
        return self._run(self._generate(prompt, model, settings))  # type: ignore[no-any-return]

    def stream(self, prompt: Prompt, *, model: str, **settings: Unpack[GenerateArguments]) -> Iterator[Piece]:
        """The same, piece by piece as it is written. Leaving the loop ends the work."""
        for line in self._lines(self._generation_request(prompt, model, settings, True)):
            piece = self._piece(line)
            if piece is not None:
                yield piece


class AsyncGenerateCalls(GenerateSteps):
    """The same for AsyncClient."""

    if TYPE_CHECKING:

        async def _run(self, steps: _Steps) -> Any: ...
        def _lines(self, send: _Send) -> AsyncIterator[str]: ...

    async def generate(
        self, prompt: Prompt, *, model: str, **settings: Unpack[GenerateArguments]
    ) -> Generation:
        """As Client.generate; cancelling the task ends the work."""
        return await self._run(self._generate(prompt, model, settings))  # type: ignore[no-any-return]

    async def stream(
        self, prompt: Prompt, *, model: str, **settings: Unpack[GenerateArguments]
    ) -> AsyncIterator[Piece]:
        """As Client.stream."""
        async for line in self._lines(self._generation_request(prompt, model, settings, True)):
            piece = self._piece(line)
            if piece is not None:
                yield piece
