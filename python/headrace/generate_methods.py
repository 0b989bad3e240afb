"""What a Model that generates text does: whole or piece by piece, blocking or awaited."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .chat import ChatTemplate
from .errors import InvalidArgumentError, ModelNotFoundError
from .generation import Generation, Piece, Sampling, Terms, TokenScore, take
from .running import INLINE_CHARACTERS, Runner
from .usage import add_phase, add_usage

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from . import _core
    from .generation_arguments import GenerateArguments
    from .loaded_model import Model
    from .structured import Forms

Prompt = str | Sequence[int] | Sequence[Mapping[str, Any]]
_WAIT_US = 100_000  # how often a waiting thread lets Python handle Ctrl-C


class GenerateMethods(Runner):
    """generate and stream, with their async twins agenerate and astream."""

    _generator: _core.Generator | None

    def generate(self, prompt: Prompt, **settings: Unpack[GenerateArguments]) -> Generation:
        """The text that follows a prompt, or the answer to a chat.

        Args:
            prompt: a text that the model goes on with; token ids; or messages, `[{"role": "user", "content": "..."}]`,
                which the model's own chat template puts together.
            settings: as `headrace.Sampling` describes them (max_tokens, temperature, seed, stop, json_schema, ...), and
                timeout in seconds.

        Raises:
            InvalidArgumentError: a setting out of its range, a form that does not compile, or a prompt longer than the
                context.
            OverloadedError: too many prompts wait.
            DeadlineError: the timeout passed.

        >>> import headrace
        >>> with headrace.load("demo:smollm2") as model:
        ...     model.generate([{"role": "user", "content": "Name the capital of France."}], temperature=0).text
        'The capital of France is Paris.'
        """
        sampling, terms = split_settings(settings)
        stream = self._begin(self.prompt_ids(prompt), sampling, terms)
        return self._gather(stream, list(self._pieces(stream)))

    def stream(self, prompt: Prompt, **settings: Unpack[GenerateArguments]) -> Iterator[Piece]:
        """`generate`, piece by piece as it comes; leaving the loop ends the work.

        >>> import headrace
        >>> with headrace.load("demo:smollm2") as model:
        ...     for piece in model.stream("Water flows", max_tokens=5, temperature=0):
        ...         print(piece.text, end="")
         from the top of the
        """
        sampling, terms = split_settings(settings)
        return self._pieces(self._begin(self.prompt_ids(prompt), sampling, terms))

    async def agenerate(self, prompt: Prompt, **settings: Unpack[GenerateArguments]) -> Generation:
        """`generate` for asyncio; cancelling the task cancels the work."""
        sampling, terms = split_settings(settings)
        stream = await self.abegin(prompt, sampling, terms)
        return self._gather(stream, [piece async for piece in self.apieces(stream)])

    async def astream(
        self, prompt: Prompt, **settings: Unpack[GenerateArguments]
    ) -> AsyncGenerator[Piece, None]:
        """`stream` for asyncio; cancelling the task, or closing the iterator, cancels the work."""
        sampling, terms = split_settings(settings)
        stream = await self.abegin(prompt, sampling, terms)
        async for piece in self.apieces(stream):
            yield piece

    async def abegin(self, prompt: Prompt, sampling: Sampling, terms: Terms) -> _core.Stream:
        """Queues a request as a server makes it; `apieces` reads its answer."""
        import asyncio

        from .completions import completions_of_running_loop

        queue = completions_of_running_loop().queue
        if prompt_size(prompt) <= INLINE_CHARACTERS and sampling.form is None:
            return self._begin(self.prompt_ids(prompt), sampling, terms, queue)

        def begin() -> _core.Stream:  # a grammar may take a while to compile
            return self._begin(self.prompt_ids(prompt), sampling, terms, queue)

        return await asyncio.get_running_loop().run_in_executor(None, begin)

    async def apieces(
        self, stream: _core.Stream, *, counts_prompt: bool = True
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of a stream from `abegin`.

        counts_prompt: whether its prompt is counted for the request; of several texts behind one prompt only the first
        one's is.
        """
        from .completions import completions_of_running_loop

        completions = completions_of_running_loop()
        begun, is_first = time.perf_counter(), True
        try:
            while True:
                await completions.wait(stream)
                piece = take(stream)
                if piece is None:
                    continue
                if is_first:
                    begun, is_first = add_phase("first token", begun), False
                yield piece
                if piece.finish_reason is not None:
                    return
        finally:
            add_usage(stream.prompt_tokens if counts_prompt else 0, stream.generated_tokens)
            add_phase("further tokens", begun)
            self._conclude(stream)

    def prompt_ids(self, prompt: Prompt) -> NDArray[np.int32]:
        """The tokens of a prompt, special ones included: int32 [n].

        No text or message can forge a control token; only the chat template writes them.
        """
        self._check_task("generate")
        if isinstance(prompt, str):
            return np.asarray(self.tokenizer.encode(prompt).ids, dtype=np.int32)
        items: list[Any] = list(prompt)
        if not items:
            raise InvalidArgumentError("the prompt is empty: give a text, token ids or messages")
        if all(isinstance(item, Mapping) for item in items):
            return np.asarray(self.chat_template.encode(items).ids, dtype=np.int32)
        if not all(isinstance(item, (int, np.integer)) and not isinstance(item, bool) for item in items):
            raise InvalidArgumentError("the prompt must be a text, a list of token ids or a list of messages")
        if min(items) < 0 or max(items) >= self.info.vocabulary:
            raise InvalidArgumentError(f"token ids must be between 0 and {self.info.vocabulary - 1}")
        return np.asarray(items, dtype=np.int32)

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The model's own chat template. ModelNotFoundError where it has none."""
        generator = self._language()
        source = generator.chat_template
        if not source:
            if not os.path.isdir(self.info.path):
                raise ModelNotFoundError(f"{self.info.path}: this model has no chat template: give it a text")
            return ChatTemplate.from_model(self.info.path, self.tokenizer)
        names = {"eos_token": generator.end_ids[:1], "bos_token": [generator.begin_id]}
        tokens = {
            name: self.tokenizer.id_to_token(ids[0]) for name, ids in names.items() if ids and ids[0] >= 0
        }
        return ChatTemplate(source, self.tokenizer, tokens)

    @property
    def tokenizer(self) -> _core.Tokenizer:
        """The model's tokenizer, the very one that the engine uses."""
        return self._core.tokenizer(self._core_name) if self._generator is None else self._generator.tokenizer

    @property
    def _adapter_name(self) -> str:
        """In the core; empty for a model without one."""
        return "" if self.info.base is None else self._core_name

    def _language(self) -> _core.Generator:
        self._check_task("generate")
        assert self._generator is not None
        return self._generator

    def _begin(
        self,
        ids: NDArray[np.int32],
        sampling: Sampling,
        terms: Terms,
        queue: _core.CompletionQueue | None = None,
    ) -> _core.Stream:
        form = sampling.form
        mask = None if form is None else self._forms.mask(*form)
        stream = self._language().submit(
            ids,
            **sampling.arguments(),
            **terms.arguments(),
            queue=queue,
            mask=mask,
            adapter=self._adapter_name,
        )
        if self._shadow is not None:
            from .shadow import copy_of_prompt

            self._offer(stream, lambda: copy_of_prompt(cast("Model", self), ids, sampling, terms))
        return stream

    def _conclude(self, stream: _core.Stream) -> None:
        """Nobody reads it any more."""
        if stream.ended:
            self._ended(stream)
            return
        self._language().cancel(stream.id)
        if self._shadow is not None:
            self._shadow.forget(stream)

    @cached_property
    def _forms(self) -> Forms:
        from .structured import Forms

        return Forms(self.tokenizer, self.info.vocabulary, self._language().end_ids)

    def _pieces(self, stream: _core.Stream) -> Iterator[Piece]:
        generator = self._language()
        try:
            while True:
                if not generator.wait(stream, _WAIT_US):
                    continue
                piece = take(stream)
                if piece is None:
                    continue
                yield piece
                if piece.finish_reason is not None:
                    return
        finally:
            self._conclude(stream)

    @staticmethod
    def _gather(stream: _core.Stream, pieces: list[Piece]) -> Generation:
        tokens: list[TokenScore] = [token for piece in pieces for token in piece.tokens]
        return Generation(
            text="".join(piece.text for piece in pieces),
            finish_reason=pieces[-1].finish_reason or "",
            tokens=tuple(tokens),
            prompt_tokens=stream.prompt_tokens,
            cached_tokens=stream.cached_tokens,
            accepted_tokens=stream.accepted_tokens,
        )


def split_settings(settings: Mapping[str, Any]) -> tuple[Sampling, Terms]:
    """What is of `Sampling` and what is of `Terms`; InvalidArgumentError for what is of neither."""
    terms = {name: settings[name] for name in Terms.__dataclass_fields__ if name in settings}
    rest = {name: value for name, value in settings.items() if name not in terms}
    unknown = [name for name in rest if name not in Sampling.__dataclass_fields__]
    if unknown:
        known = ", ".join([*Sampling.__dataclass_fields__, *Terms.__dataclass_fields__])
        raise InvalidArgumentError(f"unknown setting {unknown[0]!r}: known are {known}")
    return Sampling(**rest), Terms(**terms)


def prompt_size(prompt: Prompt) -> int:
    """Characters, or about as many, by which a caller decides where to tokenise."""
    if isinstance(prompt, str):
        return len(prompt)
    return sum(len(str(item.get("content", ""))) if isinstance(item, Mapping) else 1 for item in prompt)
