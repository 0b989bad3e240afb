"""What people pass as texts -> a list that the core takes, checked before any work starts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from .errors import InvalidArgumentError


def as_texts(texts: Any, name: str = "input") -> list[str]:
    """`texts`, called `name` in messages, as a list of str. It may be
    a str, a list or tuple, a numpy array, a pandas or polars Series, any iterable.

    Raises:
        InvalidArgumentError: nothing in it, or an item that is not a non-empty str; the message says which.
    """
    if isinstance(texts, str):
        items: list[Any] = [texts]
    elif isinstance(texts, list):
        items = texts
    elif isinstance(texts, (bytes, bytearray, dict)):
        raise InvalidArgumentError(
            f"texts is of type {type(texts).__name__}; give a str or a sequence of str"
        )
    elif getattr(texts, "ndim", 1) != 1:
        raise InvalidArgumentError(f"texts has {texts.ndim} dimensions; give one column of texts")
    elif hasattr(texts, "to_list"):  # pandas and polars
        items = texts.to_list()
    elif hasattr(texts, "tolist"):  # numpy
        items = texts.tolist()
    elif hasattr(texts, "__iter__"):
        items = list(texts)
    else:
        raise InvalidArgumentError(
            f"texts is of type {type(texts).__name__}; give a str or a sequence of str"
        )
    if not items:
        raise InvalidArgumentError(f"{_listed(name)} an empty list; give at least one text")
    for i, item in enumerate(items):
        if not isinstance(item, str):
            raise InvalidArgumentError(
                f"{name}[{i}] is of type {type(item).__name__}; every text must be a str"
            )
        if not item:
            raise InvalidArgumentError(f"{name}[{i}] is an empty string; every text needs a character")
    return items


def _listed(name: str) -> str:
    return "the input is" if name == "input" else f"{name} is"


AGGREGATIONS = ("none", "simple", "first", "average", "max")  # of tag
PRECISIONS = ("auto", "f32", "bf16", "int8", "q8", "q4")
TASKS = ("embed", "classify", "rerank", "tag", "answer", "fill_mask", "generate")


def task_name(task: str | None) -> str:
    """As the core has it; "" is what the model's files say. Raises InvalidArgumentError for others."""
    name = "" if task is None else str(task).replace("-", "_")
    if name and name not in TASKS:
        raise InvalidArgumentError(f"task={task!r}: must be one of {', '.join(TASKS)}")
    return name


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The option --precision of a command that loads a model."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the model's matrices; auto: as a GGUF stores them, else bf16 where the processor has it, else f32; "
        "q8 and q4 are for language models",
    )


MOST_THREADS = 4096


def check_threads(threads: int | None) -> None:
    """InvalidArgumentError for numbers of threads that no machine has."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise InvalidArgumentError(
            f"threads={threads}: must be between 1 and {MOST_THREADS}, or None for every processor"
        )


MOST_PROPOSED = 32


def proposed_tokens(speculation: str | int) -> int:
    """`LanguageOptions.speculation` as the core takes it: "auto" is -1, "off" 0. InvalidArgumentError for others."""
    known = {"auto": -1, "off": 0}
    if isinstance(speculation, str) and speculation in known:
        return known[speculation]
    is_number = isinstance(speculation, int) and not isinstance(speculation, bool)
    if is_number and 0 <= int(speculation) <= MOST_PROPOSED:
        return int(speculation)
    raise InvalidArgumentError(
        f"speculation={speculation!r}: must be 'auto', 'off' or a number of tokens from 0 to {MOST_PROPOSED}"
    )


def add_speculation(parser: argparse.ArgumentParser) -> None:
    """The option --speculation of a command that serves language models."""
    parser.add_argument(
        "--speculation",
        default="auto",
        metavar="auto|off|N",
        type=lambda given: int(given) if given.isdecimal() else given,
        help="tokens of a language model's text that are tried at a time, where it repeats itself or its prompt; texts "
        "are the same (default %(default)s)",
    )


def add_draft(parser: argparse.ArgumentParser) -> None:
    """The option --draft of a command that serves language models."""
    parser.add_argument(
        "--draft",
        action="append",
        metavar="MODEL=DRAFT",
        help="a smaller model of the same vocabulary that guesses what MODEL writes next; texts are the same; may be "
        "repeated",
    )


def drafts(given: list[str] | None, models: Mapping[str, object]) -> dict[str, str] | None:
    """What --draft says, by model. Raises InvalidArgumentError for a model that is not served.

    >>> drafts(["large=models/small"], {"large": None})
    {'large': 'models/small'}
    """
    if not given:
        return None
    found: dict[str, str] = {}
    for argument in given:
        name, _, draft = argument.partition("=")
        if not draft:
            raise InvalidArgumentError(f"--draft {argument}: must be MODEL=DRAFT")
        if name not in models:
            raise InvalidArgumentError(
                f"--draft {argument}: no model is named {name!r}; served: {', '.join(models)}"
            )
        found[name] = draft
    return found


KV_TYPES = ("auto", "f32", "bf16", "int8")


def check_kv(kv: str) -> None:
    """Raises InvalidArgumentError unless keys and values can be kept in `kv`."""
    if kv not in KV_TYPES:
        raise InvalidArgumentError(f"kv={kv!r}: must be one of {', '.join(KV_TYPES)}")


def add_kv(parser: argparse.ArgumentParser) -> None:
    """The option --kv-cache-type of a command that serves language models."""
    parser.add_argument(
        "--kv-cache-type",
        choices=KV_TYPES,
        default="auto",
        help="what keys and values of texts are kept in; bf16 takes half of f32's memory, int8 about a quarter; auto: "
        "f32 with --precision f32, else bf16",
    )


def check_precision(precision: str, device: str) -> None:
    """Raises InvalidArgumentError unless both are names that `headrace.load` knows."""
    from . import devices

    if precision not in PRECISIONS:
        raise InvalidArgumentError(f"precision={precision!r}: must be one of {', '.join(PRECISIONS)}")
    devices.check(device)
