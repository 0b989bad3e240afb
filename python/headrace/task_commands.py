"""`headrace classify`, `rerank`, `tag`, `answer` and `fill-mask`: a task on texts from the command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import inputs
from .errors import InvalidArgumentError
from .inputs import AGGREGATIONS

if TYPE_CHECKING:
    from .loaded_model import Model
    from .results import Entity

_CLASSIFY_HELP = """\
examples:
  headrace classify path/to/model "what a fine mill" "what a bad wheel"
  headrace classify path/to/model --file reviews.txt --top-k 1 --json
  headrace classify path/to/vit picture.jpg other.png     files, where the model sees pictures
"""
_RERANK_HELP = """\
examples:
  headrace rerank path/to/model "what turns the wheel" "the water" "the miller"
  headrace rerank path/to/model "what turns the wheel" --file lines.txt --top-n 5
"""
_TAG_HELP = """\
examples:
  headrace tag path/to/model "Maria Smith runs the mill in Paris."      coloured in a terminal
  headrace tag path/to/model --file lines.txt --aggregation average --json
"""
_ANSWER_HELP = """\
examples:
  headrace answer path/to/model "Who runs the mill?" "Maria runs the mill in Paris."
  headrace answer path/to/model "Who runs the mill?" --file report.txt --top-k 3 --json
"""
_FILL_MASK_HELP = """\
examples:
  headrace fill-mask path/to/model "The [MASK] turns the wheel."
  headrace fill-mask path/to/roberta "The <mask> turns the wheel." --top-k 10 --json
"""
# Backgrounds of the 256-colour palette, light enough for black letters.
_BACKGROUNDS = (153, 157, 229, 217, 183, 223, 195)


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the commands; `command(name, run, text, epilog)` makes the parser of one."""
    classify = command("classify", _classify, "Label texts, or pictures.", _CLASSIFY_HELP)
    _texts_arguments(classify)
    classify.add_argument("--top-k", type=int, help="so many labels a text (default: all)")
    _cut_argument(classify, "texts")

    rerank = command("rerank", _rerank, "Sort documents by how well they answer a query.", _RERANK_HELP)
    _model_argument(rerank)
    rerank.add_argument("query", metavar="QUERY")
    rerank.add_argument("texts", nargs="*", metavar="DOCUMENT")
    rerank.add_argument("--file", help="a document a line; - reads standard input")
    rerank.add_argument("--top-n", type=int, help="only so many of the best (default: all)")
    _cut_argument(rerank, "documents")

    tag = command("tag", _tag, "Find names, places and the like in texts.", _TAG_HELP)
    _texts_arguments(tag)
    tag.add_argument("--aggregation", choices=AGGREGATIONS, default="simple",
                     help="how tokens become entities (default %(default)s)")  # fmt: skip
    tag.add_argument("--stride", type=int, help="tokens that windows over a long text share")
    tag.add_argument("--colour", choices=["auto", "always", "never"], default="auto")

    answer = command("answer", _answer, "Find the answer to a question in a text.", _ANSWER_HELP)
    _model_argument(answer)
    answer.add_argument("question", metavar="QUESTION")
    answer.add_argument("context", nargs="?", metavar="CONTEXT")
    answer.add_argument("--file", help="a file that is the context; - reads standard input")
    answer.add_argument("--top-k", type=int, default=1, help="how many answers (default %(default)s)")
    answer.add_argument(
        "--max-answer-tokens", type=int, default=15, help="no answer is longer (default %(default)s)"
    )
    answer.add_argument(
        "--allow-no-answer", action="store_true", help="say so where the context has no answer"
    )

    fill = command("fill-mask", _fill_mask, "Fill the masked places of a text.", _FILL_MASK_HELP)
    _model_argument(fill)
    fill.add_argument("text", metavar="TEXT")
    fill.add_argument("--top-k", type=int, default=5, help="candidates a place (default %(default)s)")
    for parser in (classify, rerank, tag, answer, fill):
        parser.add_argument("--threads", type=int, help="threads that compute (default: one a core)")
        inputs.add_precision(parser)
        parser.add_argument("--json", action="store_true", help="print what a program can read")


def _model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="folder of Hugging Face files")


def _texts_arguments(parser: argparse.ArgumentParser) -> None:
    _model_argument(parser)
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    parser.add_argument("--file", help="a text a line; - reads standard input")


def _cut_argument(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--truncate", action="store_true", help=f"cut {what} that are too long, else they are an error"
    )


def read_texts(options: argparse.Namespace) -> list[str]:
    """The texts given as arguments, then the lines of --file. Raises InvalidArgumentError when there are none."""
    texts = list(options.texts)
    if options.file is not None:
        with contextlib.ExitStack() as stack:
            file = (
                sys.stdin
                if options.file == "-"
                else stack.enter_context(open(options.file, encoding="utf-8"))
            )
            try:
                texts += [line.rstrip("\r\n") for line in file]
            except UnicodeDecodeError as error:
                raise InvalidArgumentError(f"{options.file} is not UTF-8: {error}") from None
    if not texts:
        raise InvalidArgumentError("no text: give texts as arguments, or --file with one a line")
    return texts


def _load(options: argparse.Namespace) -> Model:
    from .engine import load

    return load(options.model, threads=options.threads, precision=options.precision)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _classify(options: argparse.Namespace) -> int:
    texts = read_texts(options)
    with _load(options) as model:
        sees = "image" in model.info.modalities
        given: Any = {"images": texts} if sees else {"texts": texts, "truncate": options.truncate}
        for text, labels in zip(texts, model.classify(top_k=options.top_k, **given), strict=True):
            if options.json:
                _print_json(
                    {"image" if sees else "text": text, "labels": [asdict(label) for label in labels]}
                )
            else:
                told = ", ".join(f"{label.label} {label.score:.4f}" for label in labels)
                print(f"{told}\t{_line(text)}")
    return 0


def _rerank(options: argparse.Namespace) -> int:
    documents = read_texts(options)
    with _load(options) as model:
        for ranked in model.rerank(options.query, documents, top_n=options.top_n, truncate=options.truncate):
            if options.json:
                _print_json(asdict(ranked))
            else:
                print(f"{ranked.score:.4f}\t{ranked.index}\t{_line(ranked.document)}")
    return 0


def _tag(options: argparse.Namespace) -> int:
    texts = read_texts(options)
    colour = options.colour == "always" or (options.colour == "auto" and sys.stdout.isatty())
    with _load(options) as model:
        kinds = sorted({label.split("-", 1)[-1] for label in model.info.labels})
        found = model.tag(texts, aggregation=options.aggregation, stride=options.stride)
        for text, entities in zip(texts, found, strict=True):
            if options.json:
                _print_json({"text": text, "entities": [asdict(entity) for entity in entities]})
            elif colour:
                print("".join(_coloured(text, entities, kinds)))
            else:
                for e in entities:
                    print(f"{e.label}\t{e.score:.4f}\t{e.start}\t{e.end}\t{_line(e.text)}")
    return 0


def _coloured(text: str, entities: list[Entity], kinds: list[str]) -> Iterator[str]:
    """The text with its entities on a colour for each kind, followed by the kind's name."""
    done = 0
    for entity in entities:
        yield _visible(text[done : entity.start])
        place = kinds.index(entity.label.split("-", 1)[-1]) % len(_BACKGROUNDS)
        yield f"\x1b[48;5;{_BACKGROUNDS[place]};38;5;16m{_visible(entity.text)}\x1b[2m {entity.label}\x1b[0m"
        done = max(done, entity.end)
    yield _visible(text[done:])


def _answer(options: argparse.Namespace) -> int:
    if (options.context is None) == (options.file is None):
        raise InvalidArgumentError("the context: give it as an argument or as --file, one of the two")
    context = options.context
    if options.file == "-":
        context = sys.stdin.read()
    elif options.file is not None:
        try:
            context = Path(options.file).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(f"{options.file} is not UTF-8: {error}") from None
    with _load(options) as model:
        found = model.answer(
            options.question,
            context,
            top_k=options.top_k,
            max_answer_tokens=options.max_answer_tokens,
            allow_no_answer=options.allow_no_answer,
        )
    if options.json:
        _print_json(asdict(found))
        return 0
    if found.best is None:
        print(f"{found.no_answer_score:.4f}\t(no answer)")
    for span in found.spans:
        print(f"{span.score:.4f}\t{span.start}\t{span.end}\t{_line(span.text)}")
    return 0


def _fill_mask(options: argparse.Namespace) -> int:
    with _load(options) as model:
        for i, candidates in enumerate(model.fill_mask(options.text, top_k=options.top_k)):
            if options.json:
                _print_json({"index": i, "candidates": [asdict(candidate) for candidate in candidates]})
                continue
            for candidate in candidates:
                print(f"{i}\t{candidate.score:.4f}\t{candidate.id}\t{_line(candidate.text)}")
    return 0


def _visible(text: str) -> str:
    """What a terminal may be sent: no control characters but line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"<{ord(c):04X}>" for c in text)


def _line(text: str) -> str:
    """The text on one line of a table."""
    return "".join(c if c.isprintable() else " " for c in text)
