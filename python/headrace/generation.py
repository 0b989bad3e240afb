"""What language models are asked and what they answer with."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from . import _core
    from .running import Priority

# Settings of `Sampling` that the core and the HTTP routes know by the same names.
SAMPLING_NUMBERS = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)

FORMS = ("json_schema", "regex", "choice", "grammar")


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token with the natural logarithm of its probability, by the model itself: before temperature and penalties.

    `top` holds the likeliest tokens at its place, where they were asked for, each with an empty `top`.
    """

    id: int
    logprob: float
    top: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more of a text: `text` may be empty while a character or a stop string is not complete.

    `finish_reason` is None but in the last piece: "stop" (the model or a stop string ended the text) or "length".
    """

    text: str
    tokens: tuple[TokenScore, ...] = ()
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A generated text and its costs.

    `cached_tokens` of the prompt had been computed for an earlier request; `accepted_tokens` of the text were proposed
    by speculation, and so came without a step of their own. `tokens` is empty where a server was asked, which tells
    only how many there are.
    """

    text: str
    finish_reason: str
    tokens: tuple[TokenScore, ...] = field(repr=False)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    accepted_tokens: int = 0
    token_count: int | None = field(default=None, repr=False)

    @property
    def generated_tokens(self) -> int:
        return len(self.tokens) if self.token_count is None else self.token_count

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when a text ends.

    Args:
        max_tokens: tokens generated at most; None: as many as the context has room for.
        temperature: 0 always takes the likeliest token; 1 draws by the model's own probabilities.
        top_p: draw only among the likeliest tokens that together have this probability.
        top_k: draw only among so many of the likeliest; 0: all.
        min_p: draw only among those at least this times as likely as the likeliest.
        repetition_penalty, presence_penalty, frequency_penalty: against saying things again; 1, 0 and 0 do nothing.
        logit_bias: token id -> what is added to its logit, between -100 and 100.
        seed: the same seed gives the same text, whatever else the machine does; None: another one each time.
        stop: a string or several that end the text, and are not part of it.
        stop_ids: the same by tokens.
        min_tokens: the text does not end before.
        ignore_eos: take the model's own end of text for a token like others.
        logprobs: how many of the likeliest tokens to tell at each place; None: no probabilities.
        json_schema, regex, choice, grammar: the form that the text must have, one of them: a JSON schema (a mapping or
            its JSON), a regular expression, one of several texts, or a grammar in Lark's syntax. Needs the extra
            `structured`.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    stop: str | Sequence[str] = ()
    stop_ids: Sequence[int] = ()
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int | None = None
    json_schema: Mapping[str, Any] | str | None = None
    regex: str | None = None
    choice: Sequence[str] | None = None
    grammar: str | None = None

    @property
    def form(self) -> tuple[str, Any] | None:
        """The name and value of the form that is asked for, if any; InvalidArgumentError for several."""
        given = [(name, value) for name in FORMS if (value := getattr(self, name)) is not None]
        if len(given) > 1:
            raise InvalidArgumentError(
                f"{' and '.join(name for name, _ in given)}: a text can have one form; give one of them"
            )
        if given and (self.ignore_eos or self.min_tokens):
            raise InvalidArgumentError(
                f"{given[0][0]} with ignore_eos or min_tokens: a text of a form ends where the form does"
            )
        return given[0] if given else None

    def arguments(self) -> dict[str, Any]:
        """As the core takes them."""
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidArgumentError(
                f"max_tokens={self.max_tokens}: must be at least 1, or None for no limit"
            )
        seed = random.getrandbits(63) if self.seed is None else self.seed
        return {
            "max_tokens": self.max_tokens or 0,
            "min_tokens": self.min_tokens,
            **{name: getattr(self, name) for name in SAMPLING_NUMBERS},
            "logit_bias": list((self.logit_bias or {}).items()),
            "seed": seed % 2**64,
            "stop": [self.stop] if isinstance(self.stop, str) else list(self.stop),
            "stop_ids": list(self.stop_ids),
            "ignore_eos": self.ignore_eos,
            "top_logprobs": -1 if self.logprobs is None else self.logprobs,
        }


@dataclass(frozen=True, kw_only=True)
class Terms:
    """When and for whom a request runs, in the core's units."""

    timeout: float | None = None
    priority: Priority = "normal"
    tenant: str = ""

    def arguments(self) -> dict[str, Any]:
        from .running import make_terms

        terms = make_terms(self.timeout, self.priority, "wait", None)
        return {"timeout_us": terms.timeout_us, "priority": terms.priority, "tenant": self.tenant}


def take(stream: _core.Stream) -> Piece | None:
    """What came since the last look; None for nothing. Raises what the stream ended with."""
    text, tokens, reason, error = stream.take()
    if error is not None:
        raise error
    if not text and not tokens and reason is None:
        return None
    return Piece(text, tuple(map(_token, tokens)), reason)


def _token(given: tuple[int, float, list[tuple[int, float]]]) -> TokenScore:
    identity, logprob, top = given
    return TokenScore(identity, logprob, tuple(TokenScore(i, p) for i, p in top))
