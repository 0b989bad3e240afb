"""`headrace tokenize`: the tokens of texts, coloured in a terminal, as a table in a pipe, or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InvalidArgumentError
from .repository import resolve

if TYPE_CHECKING:
    from ._core import Encoding, Tokenizer

# Backgrounds of the 256-colour palette, light enough for black letters.
_BACKGROUNDS = (153, 157, 229, 217, 183)
_ADDED = 250
_VISIBLE = {"\n": "\u21b5\n", "\r": "\u240d", "\t": "\u2192\t", "\x00": "\u2400"}


def load_tokenizer(model: str) -> Tokenizer:
    """The tokenizer of a MODEL argument: a model's folder, `demo:minilm`, or a tokenizer's file."""
    from ._core import Tokenizer

    path = Path(model).expanduser()
    if not model.startswith("demo:") and path.is_file():
        return Tokenizer.from_file(path)
    return Tokenizer.from_model(resolve(model))


def run(options: argparse.Namespace) -> int:
    tokenizer = load_tokenizer(options.model)
    settings = {
        "add_special_tokens": not options.no_special_tokens,
        "allow_special": options.allow_special,
    }
    colour = options.colour == "always" or (options.colour == "auto" and sys.stdout.isatty())
    total = texts = 0
    for text in _texts(options):
        texts += 1
        if options.count:
            tokens = tokenizer.count(text, **settings)
            print(json.dumps({"num_tokens": tokens}) if options.json else tokens)
            total += tokens
            continue
        encoding = tokenizer.encode(text, **settings)
        total += len(encoding)
        if options.json:
            print(json.dumps(_as_json(encoding), ensure_ascii=False))
        elif options.ids:
            print(*encoding.ids)
        elif colour:
            print(coloured(encoding))
        else:
            print("\n".join(_table(encoding)))
    if colour and not options.json:
        print(f"\x1b[2m{total} tokens in {texts} text{'s' * (texts != 1)}; {tokenizer!r}\x1b[0m")
    return 0


def _texts(options: argparse.Namespace) -> Iterator[str]:
    yield from options.texts
    if options.file is not None:
        name = "standard input" if options.file == "-" else options.file
        data = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(f"{name} is not UTF-8: {error}") from None
        yield from text.splitlines() if options.lines else [text]
    elif not options.texts:
        raise InvalidArgumentError("no text: give texts as arguments, or --file (- reads standard input)")


def coloured(encoding: Encoding) -> str:
    """The tokens side by side on changing backgrounds, and their ids below, for a terminal."""
    shown = []
    text = encoding.text
    for i, (token, (begin, end), added) in enumerate(
        zip(encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True)
    ):
        background = _ADDED if added else _BACKGROUNDS[i % len(_BACKGROUNDS)]
        # A token's own text says more than its spelling in the vocabulary, where it has one.
        part = token if added or begin == end else text[begin:end]
        part = "".join(_visible(character) for character in part)
        # The colour ends before a line does, or it would fill the rest of the line.
        lines = f"\x1b[0m\n\x1b[48;5;{background};38;5;16m".join(part.split("\n"))
        shown.append(f"\x1b[48;5;{background};38;5;16m{lines}\x1b[0m")
    return f"{''.join(shown)}\n\x1b[2m{' '.join(map(str, encoding.ids))}\x1b[0m"


def _visible(character: str) -> str:
    if character in _VISIBLE:
        return _VISIBLE[character]
    return character if character.isprintable() else f"<{ord(character):04X}>"


def _table(encoding: Encoding) -> Iterable[str]:
    yield "id\ttoken\tbegin\tend"
    for identity, token, (begin, end) in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True):
        yield f"{identity}\t{json.dumps(token, ensure_ascii=False)}\t{begin}\t{end}"


def _as_json(encoding: Encoding) -> dict[str, object]:
    return {
        "ids": encoding.ids,
        "tokens": encoding.tokens,
        "offsets": encoding.offsets,
        "num_tokens": encoding.num_tokens,
    }
