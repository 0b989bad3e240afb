"""How an engine runs language models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from . import inputs
from .errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True)
class LanguageOptions:
    """How an engine runs language models.

    Args:
        context: tokens of the longest text, prompt and answer together; None: what the model was made for, as far as
            the cache holds it.
        cache_tokens: tokens whose keys and values are kept, of all texts together; None: what 2 GiB hold.
        step_tokens: tokens computed at a time; fewer make others' tokens come more evenly, more read long prompts
            sooner.
        max_sequences: texts that are written at a time.
        speculation: how many tokens that followed the same words before, in the prompt or the text, are tried at a
            time; the text is the same, it comes sooner. "auto": as many as are measured to be worth their time; "off";
            or a number, at most so many and whatever they cost.
        kv: what keys and values are kept in, which is most of the memory that texts take: "f32", "bf16" (half of it),
            "int8" (about a quarter: a scale for each head and token) or "auto": f32 beside matrices of f32, else
            bf16, which changes less than they do.
        draft: a smaller model of the same vocabulary, which guesses what comes next where that is measured to be worth
            its time; texts are the same, they come sooner. For all language models, or by name in a mapping.
    """

    context: int | None = None
    cache_tokens: int | None = None
    step_tokens: int = 256
    max_sequences: int = 64
    speculation: Literal["auto", "off"] | int = "auto"
    kv: Literal["auto", "f32", "bf16", "int8"] = "auto"
    draft: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None

    def __post_init__(self) -> None:
        inputs.proposed_tokens(self.speculation)
        inputs.check_kv(self.kv)
        if self.draft is not None and inputs.proposed_tokens(self.speculation) == 0:
            raise InvalidArgumentError(
                "draft= has nothing to do with speculation='off': say 'auto' or a number"
            )

    def draft_of(self, name: str) -> str | os.PathLike[str] | None:
        """The draft model of the model of that name."""
        return self.draft.get(name) if isinstance(self.draft, Mapping) else self.draft
