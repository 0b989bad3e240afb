"""The keyword arguments of generate and its kin, for type checkers; generation.py says what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from .running import Priority


class GenerateArguments(TypedDict, total=False):
    """Those of `Sampling` and of `Terms`."""

    max_tokens: int | None
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float] | None
    seed: int | None
    stop: str | Sequence[str]
    stop_ids: Sequence[int]
    min_tokens: int
    ignore_eos: bool
    logprobs: int | None
    json_schema: Mapping[str, Any] | str | None
    regex: str | None
    choice: Sequence[str] | None
    grammar: str | None
    timeout: float | None
    priority: Priority
    tenant: str
