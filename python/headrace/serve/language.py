"""POST /v1/chat/completions and POST /v1/completions, whole or streamed, as OpenAI's API has them.

A field that is not enforced is refused, never ignored. Beyond OpenAI's: top_k, min_p, repetition_penalty, min_tokens,
stop_token_ids and ignore_eos, as other servers name them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ..generation import Generation, Piece, Sampling, TokenScore
from .access import writing_terms
from .answer import Answer
from .embeddings import find_model
from .errors import error_response, invalid
from .language_requests import ChatRequest, CompletionRequest, LanguageRequest, decode_chat, decode_completion
from .masking import OutputStream, check_ids, current_masker, mask_texts
from .requests import read_body
from .service import DisconnectWatch, Endpoint, Service, identity_of, request_id
from .tool_calls import MARK, Call, ToolStream, read_tools

if TYPE_CHECKING:
    from .._core import Stream, Tokenizer
    from ..generate_methods import Prompt
    from ..loaded_model import Model

CHAT_ROUTE = "/v1/chat/completions"
COMPLETIONS_ROUTE = "/v1/completions"
_encode = msgspec.json.Encoder().encode


def chat_endpoint(service: Service) -> Endpoint:
    """POST /v1/chat/completions."""

    @service.endpoint(CHAT_ROUTE)
    async def create_chat_completion(request: Request) -> Response:
        body = await decode_chat(await read_body(request, service.max_body_bytes))
        model = await find_model(service, body.model)
        call = _ChatCall(model, body, "chatcmpl")
        prompt: Prompt = body.messages
        if call.tools is not None:
            prompt = await asyncio.to_thread(call.prompt_with_tools)
        return await _answer(request, call, [prompt])

    return create_chat_completion


def completions_endpoint(service: Service) -> Endpoint:
    """POST /v1/completions."""

    @service.endpoint(COMPLETIONS_ROUTE)
    async def create_completion(request: Request) -> Response:
        body = await decode_completion(await read_body(request, service.max_body_bytes))
        model = await find_model(service, body.model)
        return await _answer(request, _CompletionCall(model, body, "cmpl"), body.prompts())

    return create_completion


class _Call:
    """One request for one or several texts, and how they are written."""

    object = ""
    chunk_object = ""

    def __init__(self, model: Model, request: LanguageRequest, prefix: str) -> None:
        self.model = model
        self.request = request
        self.id = f"{prefix}-{request_id(None)}"
        self.created = int(time.time())

    def choice(self, index: int, generation: Generation, prompt: Prompt) -> dict[str, Any]:
        raise NotImplementedError

    def chunk_choice(self, index: int, piece: Piece, prompt: Prompt | None) -> dict[str, Any]:
        """prompt: given with a choice's first piece, else None."""
        raise NotImplementedError

    def scores(self, tokens: tuple[TokenScore, ...]) -> dict[str, Any] | None:
        raise NotImplementedError

    def body(self, kind: str, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        whole = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model.name,
            "choices": choices,
        }
        if usage is not None:
            whole["usage"] = usage
        return _encode(whole)

    def sampling(self, index: int) -> Sampling:
        return self.request.sampling(index)


class _ChatCall(_Call):
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"
    request: ChatRequest

    def __init__(self, model: Model, request: ChatRequest, prefix: str) -> None:
        super().__init__(model, request, prefix)
        template = model.chat_template.source if request.tools and model.info.task == "generate" else ""
        mark = model.tokenizer.token_to_id(MARK) if template else None
        self.tools = read_tools(
            request.tools, request.tool_choice, request.parallel_tool_calls, template, mark
        )
        self._streams: dict[int, ToolStream] = {}
        if self.tools is not None and self.tools.is_required and request.form():
            raise invalid("tool_choice asks for a call, and a form for a text of it", param="tool_choice")

    def prompt_with_tools(self) -> list[int]:
        assert self.tools is not None
        return list(self.model.chat_template.encode(self.request.messages, tools=self.tools.tools).ids)

    def sampling(self, index: int) -> Sampling:
        sampling = super().sampling(index)
        grammar = self.tools.grammar() if self.tools else None
        return sampling if grammar is None else dataclasses.replace(sampling, grammar=grammar)

    def choice(self, index: int, generation: Generation, prompt: Prompt) -> dict[str, Any]:
        text, calls = self.tools.find(generation.text) if self.tools else (generation.text, [])
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if calls:
            message |= {"content": text or None, "tool_calls": [self._described(call) for call in calls]}
        return {
            "index": index,
            "message": message,
            "logprobs": self.scores(generation.tokens),
            "finish_reason": "tool_calls" if calls else generation.finish_reason,
        }

    def _described(self, call: Call) -> dict[str, Any]:
        assert self.tools is not None
        return call.described(self.tools.identity())

    def chunk_choice(self, index: int, piece: Piece, prompt: Prompt | None) -> dict[str, Any]:
        delta: dict[str, Any] = {"role": "assistant"} if prompt is not None else {}
        text, reason = piece.text, piece.finish_reason
        if self.tools:
            stream = self._streams.setdefault(index, ToolStream(self.tools))
            first = stream.count
            text, calls = stream.push(text, is_last=reason is not None)
            if calls:
                numbered = enumerate(calls, first)
                delta["tool_calls"] = [{"index": i, **self._described(call)} for i, call in numbered]
            if reason is not None and stream.count:
                reason = "tool_calls"
        if text or prompt is not None:
            delta["content"] = text
        return {
            "index": index,
            "delta": delta,
            "logprobs": self.scores(piece.tokens),
            "finish_reason": reason,
        }

    def scores(self, tokens: tuple[TokenScore, ...]) -> dict[str, Any] | None:
        if not self.request.logprobs:
            return None
        tokenizer = self.model.tokenizer
        return {"content": [_chat_score(tokenizer, token) for token in tokens], "refusal": None}


class _CompletionCall(_Call):
    object = chunk_object = "text_completion"
    request: CompletionRequest

    def choice(self, index: int, generation: Generation, prompt: Prompt) -> dict[str, Any]:
        return {
            "index": index,
            "text": self._echo(prompt) + generation.text,
            "logprobs": self.scores(generation.tokens),
            "finish_reason": generation.finish_reason,
        }

    def chunk_choice(self, index: int, piece: Piece, prompt: Prompt | None) -> dict[str, Any]:
        return {
            "index": index,
            "text": ("" if prompt is None else self._echo(prompt)) + piece.text,
            "logprobs": self.scores(piece.tokens),
            "finish_reason": piece.finish_reason,
        }

    def scores(self, tokens: tuple[TokenScore, ...]) -> dict[str, Any] | None:
        if self.request.logprobs is None:
            return None
        tokenizer = self.model.tokenizer
        return {
            "tokens": [tokenizer.decode([token.id], skip_special_tokens=False) for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [
                {tokenizer.decode([top.id], skip_special_tokens=False): top.logprob for top in token.top}
                for token in tokens
            ],
            "text_offset": [],
        }

    def _echo(self, prompt: Prompt) -> str:
        if not self.request.echo:
            return ""
        return prompt if isinstance(prompt, str) else self.model.tokenizer.decode(list(prompt))  # type: ignore[arg-type]


def _chat_score(tokenizer: Tokenizer, token: TokenScore) -> dict[str, Any]:
    def described(score: TokenScore) -> dict[str, Any]:
        text = tokenizer.decode([score.id], skip_special_tokens=False)
        return {"token": text, "logprob": score.logprob, "bytes": list(text.encode())}

    return {**described(token), "top_logprobs": [described(top) for top in token.top]}


async def _answer(request: Request, call: _Call, prompts: list[Any]) -> Response:
    """Every prompt, `n` times each, at once; choices are numbered in that order."""
    wanted = [(prompt, call.sampling(i)) for prompt in prompts for i in range(call.request.n)]
    if current_masker() is not None:
        if call.request.wanted_logprobs() is not None:
            raise invalid("logprobs would spell what this server masks: leave them out", param="logprobs")
        ids = [
            prompt for prompt in prompts if isinstance(prompt, list) and prompt and isinstance(prompt[0], int)
        ]
        await check_ids(call.model.tokenizer, ids, "prompt")
    terms = writing_terms([sampling for _, sampling in wanted])
    streams: list[Stream] = []
    try:
        for prompt, sampling in wanted:
            streams.append(await call.model.abegin(prompt, sampling, terms))
    except BaseException:
        _cancel(call.model, streams)
        raise
    asked = [prompt for prompt, _ in wanted]
    if call.request.stream:
        return StreamingResponse(
            _events(call, streams, asked, identity_of(request)),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
    try:
        with DisconnectWatch(request):
            generations = [
                await _whole(call.model, stream, counts_prompt=i % call.request.n == 0)
                for i, stream in enumerate(streams)
            ]
    except BaseException:
        _cancel(call.model, streams)
        raise
    if current_masker() is not None:
        texts = await mask_texts([one.text for one in generations])
        generations = [
            dataclasses.replace(one, text=text) for one, text in zip(generations, texts, strict=True)
        ]
    choices = [
        call.choice(i, generation, prompt)
        for i, (generation, prompt) in enumerate(zip(generations, asked, strict=True))
    ]
    return Answer(call.body(call.object, choices, _usage(call, streams)))


async def _whole(model: Model, stream: Stream, counts_prompt: bool) -> Generation:
    pieces = model.apieces(stream, counts_prompt=counts_prompt)
    return model._gather(stream, [piece async for piece in pieces])


def _cancel(model: Model, streams: list[Stream]) -> None:
    for stream in streams:
        if not stream.ended:
            model._language().cancel(stream.id)


def _usage(call: _Call, streams: list[Stream]) -> dict[str, Any]:
    n = call.request.n
    prompt_tokens = sum(stream.prompt_tokens for stream in streams[::n])
    generated = sum(stream.generated_tokens for stream in streams)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": prompt_tokens + generated,
        "prompt_tokens_details": {"cached_tokens": sum(stream.cached_tokens for stream in streams[::n])},
    }


async def _events(
    call: _Call, streams: list[Stream], prompts: list[Any], identity: str
) -> AsyncIterator[bytes]:
    """Server-sent events: a chunk for each piece of any choice, then the usage if it was asked for, then [DONE].

    An error after the first byte has no status of its own: it is an event with the body that it would have had.
    """
    usage = {"usage": None} if call.request.include_usage else {}
    try:
        async with aclosing(_merged(call.model, streams, call.request.n)) as pieces:
            written = [OutputStream() for _ in streams]
            seen: set[int] = set()
            async for index, piece in pieces:
                prompt = None if index in seen else prompts[index]
                seen.add(index)
                text = await written[index].push(piece.text, is_last=piece.finish_reason is not None)
                if text is not piece.text:
                    piece = dataclasses.replace(piece, text=text)
                choice = call.chunk_choice(index, piece, prompt)
                yield _event(call.body(call.chunk_object, [choice], None), usage)
    except Exception as error:
        yield _event(bytes(error_response(error, identity).body), {})
        return
    finally:
        _cancel(call.model, streams)
    if call.request.include_usage:
        yield _event(call.body(call.chunk_object, [], _usage(call, streams)), {})
    yield b"data: [DONE]\n\n"


def _event(body: bytes, more: dict[str, Any]) -> bytes:
    if more:
        body = body[:-1] + b"," + _encode(more)[1:]
    return b"data: " + body + b"\n\n"


async def _merged(model: Model, streams: list[Stream], n: int) -> AsyncGenerator[tuple[int, Piece], None]:
    """The pieces of several streams, `n` for each prompt, in the order in which they come."""
    if len(streams) == 1:
        async with aclosing(model.apieces(streams[0])) as pieces:
            async for piece in pieces:
                yield 0, piece
        return
    queue: asyncio.Queue[tuple[int, Piece | BaseException | None]] = asyncio.Queue()

    async def read(index: int, stream: Stream) -> None:
        try:
            async for piece in model.apieces(stream, counts_prompt=index % n == 0):
                queue.put_nowait((index, piece))
            queue.put_nowait((index, None))
        except Exception as error:
            queue.put_nowait((index, error))

    tasks = [asyncio.create_task(read(i, stream)) for i, stream in enumerate(streams)]
    left = len(streams)
    try:
        while left:
            index, news = await queue.get()
            if isinstance(news, BaseException):
                raise news
            if news is None:
                left -= 1
            else:
                yield index, news
    finally:
        for task in tasks:
            task.cancel()


LANGUAGE_ENDPOINTS: dict[str, Callable[[Service], Endpoint]] = {
    CHAT_ROUTE: chat_endpoint,
    COMPLETIONS_ROUTE: completions_endpoint,
}
