"""Scopes: what a key allows, as words of the form VERB or VERB:MODEL.

infer            run any model                 infer:minilm    that one      infer:team-*    those that begin so
manage           load and unload any model     manage:minilm   that one
metrics          read /metrics and the statistics of every model
audit            read the audit log
admin            everything, and keys
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import InvalidArgumentError

OF_MODELS = ("infer", "manage")
OF_THE_SERVER = ("metrics", "audit", "admin")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\*?|\*")


def check_scope(text: str) -> str:
    """`text` itself. InvalidArgumentError for what is no scope."""
    verb, colon, model = text.partition(":")
    if verb in OF_MODELS and (not colon or _MODEL.fullmatch(model)):
        return text
    if verb in OF_THE_SERVER and not colon:
        return text
    raise InvalidArgumentError(
        f"scope={text[:64]!r}: must be infer, manage, infer:MODEL, manage:MODEL (a * may end the name), "
        "metrics, audit or admin"
    )


@dataclass(frozen=True)
class Limits:
    """What a key may use; None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None


@dataclass(frozen=True)
class Principal:
    """Who asks: the key's public id, its name, whose it is, and what it may do.

    >>> from headrace.security.scopes import Principal
    >>> team = Principal("k1", "search", "acme", frozenset({"infer:mini*"}))
    >>> team.allows("infer", "minilm"), team.allows("infer", "smollm2"), team.allows("manage", "minilm")
    (True, False, False)
    """

    id: str
    name: str
    tenant: str
    scopes: frozenset[str]
    limits: Limits = field(default_factory=Limits)

    def allows(self, verb: str, model: str | None = None) -> bool:
        """Whether a scope covers `verb`, on `model` where the verb is of models."""
        if verb in self.scopes or "admin" in self.scopes:
            return True
        if model is None:
            return False
        return f"{verb}:{model}" in self.scopes or _matches(verb, model, self.scopes)

    def may_see(self, model: str) -> bool:
        """Whether the model is shown in lists."""
        return any(self.allows(verb, model) for verb in OF_MODELS)


def _matches(verb: str, model: str, scopes: Iterable[str]) -> bool:
    return any(scope.endswith("*") and f"{verb}:{model}".startswith(scope[:-1]) for scope in scopes)


# Where a server has no keys, whoever reaches it may use its models, and nobody may change them.
ANYONE = Principal("", "anyone", "", frozenset({"infer", "metrics"}))
