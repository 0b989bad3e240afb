"""`headrace mask`: personal data out of texts, from the command line or a file."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .security.masking import Masked, Masker, SecondTier
    from .serve.second_tier import SecondTier as ServedTier

_HELP = """\
examples:
  headrace mask "Write to maria@example.com"               Write to [EMAIL]
  headrace mask --file notes.txt > clean.txt               a file, line by line; --file - reads standard input
  headrace mask --kinds email,phone,cn_mobile --file -     only these kinds
  headrace mask --mode reversible --json "call +44 20 7946 0958"
  HEADRACE_MASK_KEY=... headrace mask --mode hash --file log.txt
  headrace mask --model models/ner --presidio "Maria Smith"   [PERSON]; names by a model for tag, and presidio's kinds
modes:
  mask        [EMAIL]                    a label of the kind (default)
  hash        [EMAIL:9f86d081884c7d65]   the same value gives the same code; the key is in HEADRACE_MASK_KEY
  reversible  <EMAIL_1>                  numbered; --json tells what each stands for, so keep its output secret
  drop                                   nothing is left
kinds:
  email phone card iban ip passport
  cn_resident_id cn_mobile cn_uscc cn_plate cn_address hk_id macau_id tw_id hk_macau_permit
Names of people are found by --model only.
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `command(name, run, text, epilog)` makes its parser."""
    mask = command("mask", _mask, "Mask personal data in texts.", _HELP)
    mask.add_argument("texts", nargs="*", metavar="TEXT")
    mask.add_argument("--file", help="a file, masked line by line; - reads standard input")
    mask.add_argument(
        "--kinds",
        action="append",
        metavar="KIND,...",
        help="what to find (default: everything); may be repeated",
    )
    mask.add_argument("--mode", choices=["mask", "hash", "reversible", "drop"], default="mask",
                      help="what stands in its place (default %(default)s)")  # fmt: skip
    mask.add_argument("--model", help="also what this model for tag finds, such as names of persons")
    mask.add_argument(
        "--presidio", action="store_true", help="also what presidio-analyzer finds (extra presidio)"
    )
    mask.add_argument("--json", action="store_true", help="a JSON line for each text, with what was found")


def _mask(options: argparse.Namespace) -> int:
    from .security.masking import Masker

    key = os.environ.get("HEADRACE_MASK_KEY") if options.mode == "hash" else None
    if options.mode == "hash" and not key:
        raise InvalidArgumentError(
            "--mode hash needs a key of at least 16 bytes in the environment variable HEADRACE_MASK_KEY"
        )
    kinds = split_kinds(options.kinds, "--kinds")
    if not options.texts and options.file is None:
        raise InvalidArgumentError("no text: give texts as arguments, or --file (- reads standard input)")
    with contextlib.ExitStack() as stack:
        masker = Masker(kinds, options.mode, key, _second_tier(options, stack))
        for text, end in _texts(options):
            masked = masker.mask(text)
            if options.json:
                print(json.dumps(_as_json(masked), ensure_ascii=False))
            else:
                sys.stdout.write(masked.text + end)
    return 0


def of_server(options: argparse.Namespace, served: Sequence[str]) -> tuple[Masker | None, ServedTier | None]:
    """What the --mask options of `headrace serve` ask for. `served`: the names of its models."""
    if not options.mask:
        for name in ("model", "presidio"):
            if getattr(options, f"mask_{name}"):
                raise InvalidArgumentError(f"--mask-{name} is a second tier of masking: add --mask")
        return None, None
    from .security.masking import Masker

    key = None
    if options.mask_mode == "hash":
        key = os.environ.get("HEADRACE_MASK_KEY")
        if key is None:
            raise InvalidArgumentError(
                "--mask-mode hash needs a key of at least 16 characters in HEADRACE_MASK_KEY"
            )
    masker = Masker(split_kinds(options.mask_kinds, "--mask-kinds"), options.mask_mode, key)
    if options.mask_model is None and not options.mask_presidio:
        return masker, None
    if options.mask_model is not None and options.mask_model not in served:
        raise InvalidArgumentError(
            f"--mask-model {options.mask_model}: no such model is served; name one for tag among "
            f"{', '.join(served)}"
        )
    from .serve.second_tier import SecondTier as ServedTier

    return masker, ServedTier(options.mask_model, uses_presidio=options.mask_presidio)


def _second_tier(options: argparse.Namespace, stack: contextlib.ExitStack) -> SecondTier | None:
    """What --model and --presidio ask for; the model is closed with the stack."""
    if options.model is None and not options.presidio:
        return None
    from .engine import load
    from .security.second_tier import presidio, tagged

    model = None if options.model is None else stack.enter_context(load(options.model))
    if options.presidio:
        return presidio(model)
    assert model is not None
    return tagged(model)


def split_kinds(given: list[str] | None, option: str) -> list[str] | None:
    """Kinds, given with commas between or one by one; None where the option was not given.

    >>> from headrace.mask_command import split_kinds
    >>> split_kinds(["email,phone", "iban"], "--kinds")
    ['email', 'phone', 'iban']
    """
    if given is None:
        return None
    kinds = [kind.strip() for text in given for kind in text.split(",") if kind.strip()]
    if not kinds:
        raise InvalidArgumentError(f"{option} names none; leave it out to find every kind")
    return kinds


def _texts(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The texts and the lines of the file, each with what ends it."""
    for text in options.texts:
        yield text, "\n"
    if options.file is None:
        return
    with contextlib.ExitStack() as stack:
        file = sys.stdin.buffer if options.file == "-" else stack.enter_context(open(options.file, "rb"))
        for number, data in enumerate(file, 1):
            try:
                line = data.decode()
            except UnicodeDecodeError as error:
                name = "standard input" if options.file == "-" else options.file
                raise InvalidArgumentError(f"{name}, line {number}, is not UTF-8: {error}") from None
            text = line.rstrip("\r\n")
            yield text, line[len(text) :]


def _as_json(masked: Masked) -> dict[str, object]:
    shown: dict[str, object] = {
        "text": masked.text,
        "findings": [asdict(finding) for finding in masked.findings],
    }
    if masked.mapping:
        shown["mapping"] = masked.mapping
    return shown
