"""`headrace chat`: a conversation in a terminal, or one question and its answer."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from . import inputs
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .loaded_model import Model

_HELP = """\
examples:
  headrace chat demo:smollm2                                  a conversation; /reset begins anew, Ctrl-D ends it
  headrace chat demo:smollm2 "Name the capital of France."    one answer
  headrace chat models/llama.gguf --system "Be terse." --temperature 0 --json "Hello"
  headrace chat demo:smollm2 --raw "Water flows"              goes on with a text, without the chat template
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `command(name, run, text, epilog)` makes its parser."""
    chat = command("chat", _chat, "Talk to a language model.", _HELP)
    chat.add_argument("model", metavar="MODEL", help="folder, .gguf file or demo:smollm2")
    chat.add_argument(
        "texts", nargs="*", metavar="TEXT", help="one question; default: a conversation in the terminal"
    )
    chat.add_argument("--system", metavar="TEXT", help="what the model is told before everything else")
    chat.add_argument("--raw", action="store_true", help="the question is a text to go on with")
    chat.add_argument("--max-tokens", type=int, default=512, help="of an answer (default %(default)s)")
    chat.add_argument("--temperature", type=float, default=0.7, help="0: the likeliest (default %(default)s)")
    chat.add_argument("--top-p", type=float, default=0.95, help="(default %(default)s)")
    chat.add_argument("--seed", type=int, help="the same seed gives the same answer")
    chat.add_argument("--threads", type=int, help="threads that compute (default: one a core)")
    inputs.add_precision(chat)
    chat.add_argument("--json", action="store_true", help="a JSON line for each answer")


def _chat(options: argparse.Namespace) -> int:
    from . import load

    question = " ".join(options.texts)
    if not question and (options.raw or options.json) and sys.stdin.isatty():
        raise InvalidArgumentError("--raw and --json are for a question on the command line or in a pipe")
    with load(options.model, precision=options.precision, threads=options.threads) as model:
        model._check_task("generate")
        messages = [{"role": "system", "content": options.system}] if options.system else []
        if question:
            _say(model, options, messages, question)
            return 0
        return _converse(model, options, messages)


def _converse(model: Model, options: argparse.Namespace, begin: list[dict[str, Any]]) -> int:
    """Questions from the terminal, or a line each from a pipe, until there are no more."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # arrow keys and history
        print(f"{model.name}: {model.info.parameters / 1e6:.0f} million parameters, {model.info.precision}. "
              "/reset begins anew, Ctrl-C stops an answer, Ctrl-D ends.")  # fmt: skip
    messages = list(begin)
    while True:
        try:
            question = input("> " if is_terminal else "")
        except EOFError:
            if is_terminal:
                print()
            return 0
        if question.strip() == "/reset":
            messages = list(begin)
        elif question.strip():
            _say(model, options, messages, question)


def _say(model: Model, options: argparse.Namespace, messages: list[dict[str, Any]], question: str) -> None:
    """Prints the answer as it comes, and adds both to the conversation."""
    messages.append({"role": "user", "content": question})
    settings: dict[str, Any] = {
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
    }
    prompt = question if options.raw else messages
    if options.json:
        answer = model.generate(prompt, **settings)
        shown = {name: value for name, value in asdict(answer).items() if name != "tokens"}
        print(
            json.dumps({**shown, "generated_tokens": answer.generated_tokens}, ensure_ascii=False), flush=True
        )
        messages.append({"role": "assistant", "content": answer.text})
        return
    text = ""
    pieces = model.stream(prompt, **settings)
    try:
        for piece in pieces:
            text += piece.text
            print(piece.text, end="", flush=True)
    except KeyboardInterrupt:
        pieces.close()  # type: ignore[attr-defined]
        print(" [stopped]", end="")
    print()
    messages.append({"role": "assistant", "content": text})
