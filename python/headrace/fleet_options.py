"""Options of `headrace serve` for many models, and for those who look after them."""

from __future__ import annotations

import argparse

from .errors import InvalidArgumentError
from .memory import parse_bytes


def add(serve: argparse.ArgumentParser) -> None:
    """Adds them to the command's parser."""
    serve.add_argument(
        "--memory-budget",
        type=size,
        metavar="SIZE",
        help="what models may take, such as 4GiB: those of a folder are loaded when they are asked for, and those used "
        "longest ago are unloaded (default: all stay)",
    )
    serve.add_argument(
        "--cache-tokens",
        type=int,
        metavar="N",
        help="tokens that a language model's cache holds (default: what 2 GiB hold)",
    )


def size(text: str) -> int:
    """Bytes; for argparse."""
    try:
        return parse_bytes(text)
    except InvalidArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
