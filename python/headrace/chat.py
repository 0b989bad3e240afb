"""Chat templates: messages become the text a model was trained on, and no message can forge its control tokens.

A template (Jinja, in a sandbox) writes control tokens such as `<|im_end|>` between the messages. A message that holds
the same letters must not become the token. So while the template runs, such letters in messages, and halves that two
messages could join, carry a mark: a noncharacter that no message holds. Afterwards the marks are taken out again, and
no control token may cover a character that bore one.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgumentError, ModelNotFoundError
from .repository import resolve, small_file

if TYPE_CHECKING:
    from ._core import Encoding, Tokenizer

_MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]  # noncharacters: never text (Unicode 15, section 23.7)
_ROLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_TEMPLATE = 1_000_000
_MAX_RENDERED = 50_000_000


@dataclass(frozen=True)
class Rendered:
    """A rendered chat: its text, and where in it (in UTF-8 bytes) no control token may stand."""

    text: str
    guarded: tuple[int, ...]


class ChatTemplate:
    """A chat template and the tokenizer that it belongs to.

    Args:
        source: the Jinja template.
        tokenizer: whose special tokens messages must not forge.
        variables: names the template may use, such as bos_token.

    >>> tokenizer = headrace.Tokenizer.from_model("path/to/model")  # doctest: +SKIP
    >>> chat = headrace.ChatTemplate.from_model("path/to/model", tokenizer)  # doctest: +SKIP
    >>> chat.encode([{"role": "user", "content": "Hello"}]).ids  # doctest: +SKIP
    """

    def __init__(self, source: str, tokenizer: Tokenizer, variables: Mapping[str, Any] | None = None) -> None:
        if len(source) > _MAX_TEMPLATE:
            raise InvalidArgumentError(
                f"the chat template has {len(source)} characters; at most {_MAX_TEMPLATE} are allowed"
            )
        self.source = source
        self.tokenizer = tokenizer
        self._variables = dict(variables or {})

    @classmethod
    def from_model(cls, model: str | os.PathLike[str], tokenizer: Tokenizer) -> ChatTemplate:
        """The template of a model's folder: chat_template.jinja, or chat_template in tokenizer_config.json.

        Raises:
            ModelNotFoundError: the folder has neither.
        """
        folder = resolve(model)
        settings, template = (
            small_file(folder, name) for name in ("tokenizer_config.json", "chat_template.jinja")
        )
        config = json.loads(settings) if settings is not None else {}
        source = template.decode("utf-8") if template is not None else config.get("chat_template")
        if isinstance(source, list):  # several by name
            named = {entry["name"]: entry["template"] for entry in source}
            source = named.get("default", next(iter(named.values()), None))
        if not source:
            raise ModelNotFoundError(
                f"{folder}: no chat template: give one in chat_template.jinja or tokenizer_config.json"
            )
        variables = {}
        for name, value in config.items():
            if name.endswith("_token") and value is not None:
                variables[name] = value["content"] if isinstance(value, dict) else value
        return cls(source, tokenizer, variables)

    @cached_property
    def _template(self) -> Any:
        try:
            import jinja2
            import jinja2.ext
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            raise ImportError("chat templates need Jinja: pip install 'headrace[chat]'") from None

        def fail(message: str) -> None:
            raise InvalidArgumentError(f"the chat template refuses these messages: {message}")

        def as_json(value: Any, indent: int | None = None, **_: Any) -> str:
            return json.dumps(value, ensure_ascii=False, indent=indent)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = as_json
        environment.globals["raise_exception"] = fail
        environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateError as error:
            raise InvalidArgumentError(f"the chat template is no valid Jinja: {error}") from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> Rendered:
        """The text of a chat. `variables` are passed to the template, as enable_thinking is by some.

        Raises:
            InvalidArgumentError: the template refuses the messages, or fails on them.
        """
        import jinja2

        for i, message in enumerate(messages):
            role = message.get("role") if isinstance(message, Mapping) else None
            if not isinstance(role, str) or not _ROLE.fullmatch(role):
                raise InvalidArgumentError(
                    f"messages[{i}] must be a dict with a role of letters, digits, '_' or '-', such as 'user'"
                )
        whole = json.dumps(
            [list(map(dict, messages)), list(tools or []), variables], ensure_ascii=False, default=str
        )
        mark = next((mark for mark in _MARKS if mark not in whole and mark not in self.source), None)
        if mark is None:
            raise InvalidArgumentError(
                "the messages hold every noncharacter from U+FDD0 to U+FDEF: remove one"
            )
        specials = self.tokenizer.special_tokens()

        def guarded(value: Any) -> Any:
            if isinstance(value, str):
                return _marked(value, specials, mark)
            if isinstance(value, Mapping):
                return {name: guarded(item) for name, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [guarded(item) for item in value]
            return value

        try:
            text = self._template.render(
                **self._variables,
                **{name: guarded(value) for name, value in variables.items()},
                messages=[
                    {name: item if name == "role" else guarded(item) for name, item in message.items()}
                    for message in messages
                ],
                tools=guarded(list(tools)) if tools else None,
                add_generation_prompt=add_generation_prompt,
            )
        except jinja2.TemplateError as error:
            raise InvalidArgumentError(f"the chat template fails on these messages: {error}") from None
        if len(text) > _MAX_RENDERED:
            raise InvalidArgumentError(
                f"the rendered chat has {len(text)} characters; at most {_MAX_RENDERED}"
            )
        parts = text.split(mark)
        positions, at = [], 0
        for part in parts[:-1]:
            at += len(part.encode())
            positions.append(at)
        return Rendered("".join(parts), tuple(positions))

    def encode(self, messages: Sequence[Mapping[str, Any]], **settings: Any) -> Encoding:
        """The chat as tokens; settings as for `render`. What the template writes may be control tokens, what
        the messages say may not."""
        rendered = self.render(messages, **settings)
        return self.tokenizer.encode(
            rendered.text, add_special_tokens=False, allow_special=True, guarded=rendered.guarded
        )

    def __repr__(self) -> str:
        return f"ChatTemplate({len(self.source)} characters, {self.tokenizer!r})"


def _marked(text: str, tokens: Sequence[str], mark: str) -> str:
    """`text` with a mark before each token in it, and before what could become one beside its neighbours."""
    places = set()
    for token in tokens:
        at = text.find(token)
        while at >= 0:
            places.add(at)
            at = text.find(token, at + 1)
        for cut in range(1, len(token)):
            if text.endswith(token[:cut]):
                places.add(len(text) - cut)
            if text.startswith(token[cut:]):
                places.add(0)
    parts, last = [], 0
    for place in sorted(places):
        parts += [text[last:place], mark]
        last = place
    return "".join([*parts, text[last:]])
