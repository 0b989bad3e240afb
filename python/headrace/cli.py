"""The command `headrace`. Everything heavy is imported by the command that needs it.

Errors are one line on stderr and exit code 2; `--json` prints what a program can read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from . import (
    audit_command,
    chat_command,
    explain_command,
    golden,
    inputs,
    key_command,
    lifecycle_commands,
    mask_command,
    package_command,
    seal_command,
    serve_command,
    task_commands,
)
from .errors import Error, InvalidArgumentError

_EMBED_HELP = """\
examples:
  headrace embed demo:minilm "a mill wheel" "a water turbine"
  headrace embed demo:minilm --file lines.txt --format npy --out vectors.npy
  sort -u names.txt | headrace embed demo:minilm --file - --format csv
  headrace embed models/e5-small --prompt-name query "what turns a mill wheel?"
"""
_TOKENIZE_HELP = """\
examples:
  headrace tokenize demo:minilm "tokenization is fun"     coloured in a terminal, a table in a pipe
  headrace tokenize path/to/tokenizer.json --ids "hello"  ids alone
  headrace tokenize demo:minilm --file notes.txt --count  how many tokens a file has
  headrace tokenize demo:minilm --json "hello"            ids, tokens and offsets (in characters)
Special tokens spelled out in a text, such as [SEP], are text unless --allow-special is given.
"""
_BENCH_HELP = """\
examples:
  headrace bench                                      starts the demo model and measures it
  headrace bench --connections 1,8,32 --seconds 5     one row for each number of connections
  headrace bench --rate 200 --url http://host:8000    requests arrive at random, 200 a second
  headrace bench --rate 100,200,400 --plot load.png   a curve of latency over rate
  headrace bench --kernels                            no server: each kernel beside what the processor could do
  headrace bench --kernels --isa avx2 --threads 1 --plot roofline.png
Latency counts from the moment a request was due, not from when a slow server let it be sent.
"""

# What --help lists, in the order of a model's life.
_GROUPS = {
    "serve models": "serve config models keys audit chat bench",
    "ask a model": "embed classify tag answer rerank fill-mask mask tokenize",
    "make a model": "data train evaluate compress explain package golden",
    "guard its files": "seal unseal verify",
    "this machine": "info",
}
_FIRST_STEPS = """\
first steps:
  headrace serve                             a server with the demo model, and a console at its address
  headrace serve path/to/models              one with every model in a folder
  headrace embed demo:minilm "a mill wheel"  an answer without a server
  headrace COMMAND --help                    what a command takes, with examples
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    parser = _parser()
    if not (sys.argv[1:] if arguments is None else arguments):
        parser.print_help()
        return 0
    options, rest = parser.parse_known_args(arguments)
    # Texts may also stand behind options, where argparse has closed its list already.
    if rest and (not hasattr(options, "texts") or any(item.startswith("-") for item in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.texts += rest
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except (Error, ImportError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # `headrace ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"headrace: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headrace",
        description="AI models as a service, at native speed.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", help="one of those below")
    texts: dict[str, str] = {}

    def command(name: str, run: Any, text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        texts[name] = text
        found = commands.add_parser(
            name,
            description=text,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        found.set_defaults(run=run)
        return found

    serve_command.add(command)
    key_command.add(command)
    audit_command.add(command)

    embed = command("embed", _embed, "Turn texts into vectors.", _EMBED_HELP)
    embed.add_argument("model", metavar="MODEL", help="folder or demo:minilm")
    embed.add_argument("texts", nargs="*", metavar="TEXT")
    embed.add_argument("--file", help="a text a line; - reads standard input")
    embed.add_argument("--format", choices=["json", "npy", "csv"], default="json")
    embed.add_argument("--out", help="file to write (default: standard output)")
    embed.add_argument("--prompt-name", metavar="NAME", help="one of the model's prompts, such as query")
    embed.add_argument(
        "--prompt", metavar="TEXT", help="what is to stand before each text, such as 'query: '"
    )
    embed.add_argument("--dimensions", type=int, help="keep the first so many numbers and normalise again")
    embed.add_argument(
        "--truncate", action="store_true", help="cut texts that are too long, else they are an error"
    )
    embed.add_argument("--threads", type=int, help="threads that compute (default: one a core)")
    inputs.add_precision(embed)

    task_commands.add(command)
    chat_command.add(command)
    mask_command.add(command)
    golden.add(command)
    lifecycle_commands.add(command)
    explain_command.add(command)
    package_command.add(command)
    seal_command.add(command)

    tokenize = command("tokenize", _tokenize, "Show the tokens of texts.", _TOKENIZE_HELP)
    tokenize.add_argument("model", metavar="MODEL", help="folder, demo:minilm, or a tokenizer's file")
    tokenize.add_argument("texts", nargs="*", metavar="TEXT")
    tokenize.add_argument("--file", help="a file that is one text; - reads standard input")
    tokenize.add_argument("--lines", action="store_true", help="each line of --file is a text")
    tokenize.add_argument("--ids", action="store_true", help="ids alone, a line for each text")
    tokenize.add_argument("--count", action="store_true", help="the number of tokens alone")
    tokenize.add_argument("--no-special-tokens", action="store_true", help="without the model's template")
    tokenize.add_argument(
        "--allow-special", action="store_true", help="special tokens in a text count as such"
    )
    tokenize.add_argument("--colour", choices=["auto", "always", "never"], default="auto")
    tokenize.add_argument("--json", action="store_true", help="a JSON line for each text")

    info = command("info", _info, "Show the version, the processor and the instruction set in use.")
    info.add_argument("--json", action="store_true")

    models = command("models", _models, "List the demo models, or those of a running server.")
    models.add_argument("--url", help="server to ask, such as http://127.0.0.1:8000")
    models.add_argument("--key", help="where the server requires one")
    models.add_argument("--json", action="store_true")

    bench = command(
        "bench", _bench, "Measure a server under load, or the kernels of this machine.", _BENCH_HELP
    )
    bench.add_argument("--kernels", action="store_true", help="measure the kernels, not a server")
    bench.add_argument(
        "--isa", help="with --kernels: these tables, such as avx2,avx512 (default: all that run here)"
    )
    bench.add_argument("--threads", help="with --kernels: such as 1,2 (default: one, and one a core)")
    bench.add_argument("--url", help="server to measure (default: one of its own with the demo model)")
    bench.add_argument("--model", help="default: the server's first")
    bench.add_argument("--key", help="where the server requires one")
    bench.add_argument(
        "--connections",
        default="32",
        help="closed loop: each sends again when answered (default %(default)s)",
    )
    bench.add_argument("--rate", help="open loop instead: requests a second, at random (Poisson) times")
    bench.add_argument(
        "--seconds", type=float, help="length of one measurement (default 10; of a kernel 0.1)"
    )
    bench.add_argument("--texts", metavar="FILE", help="a text a line (default: short English sentences)")
    bench.add_argument("--batch", type=int, default=1, help="texts a request (default %(default)s)")
    bench.add_argument(
        "--json", action="store_true", help="a JSON line for each measurement; one for all kernels"
    )
    bench.add_argument(
        "--plot", metavar="FILE.png", help="draw latencies, or kernels' rooflines (needs matplotlib)"
    )
    parser.epilog = _overview(texts)
    return parser


class _Version(argparse.Action):
    """argparse's own wants the version, and with it the core, before anybody asks."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ._core import __version__

        print(f"headrace {__version__}")
        parser.exit()


def _overview(texts: dict[str, str]) -> str:
    """The commands by what they are for, each with its one sentence."""
    lines = []
    for title, names in _GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<10} {texts.pop(name).rstrip('.')}" for name in names.split()), ""]
    assert not texts, f"commands without a group: {', '.join(texts)}"
    return "\n".join(lines) + "\n" + _FIRST_STEPS


def _embed(options: argparse.Namespace) -> int:
    texts = task_commands.read_texts(options)
    if options.format == "npy" and options.out is None and sys.stdout.isatty():
        raise InvalidArgumentError("npy is binary: give --out FILE or pipe the output")
    import numpy

    from ._core import embedding_objects_json
    from .engine import load

    with (
        load(options.model, threads=options.threads, precision=options.precision) as model,
        contextlib.ExitStack() as stack,
    ):
        vectors = model.embed(
            texts,
            prompt_name=options.prompt_name,
            prompt=options.prompt,
            truncate=options.truncate,
            dimensions=options.dimensions,
        )
        out = sys.stdout.buffer if options.out is None else stack.enter_context(open(options.out, "wb"))
        if options.format == "npy":
            # numpy asks a real file for its position, which a pipe does not have
            numpy.save(SimpleNamespace(write=out.write), vectors)
        elif options.format == "csv":
            numpy.savetxt(out, vectors, fmt="%.9g", delimiter=",")
        else:
            out.write(b'{"object":"list","data":%b}\n' % embedding_objects_json(vectors, False))
        out.flush()
    return 0


def _tokenize(options: argparse.Namespace) -> int:
    from .tokens import run

    return run(options)


def _info(options: argparse.Namespace) -> int:
    from . import info

    _print_table(info(), options.json)
    return 0


def _models(options: argparse.Namespace) -> int:
    if options.url is not None:
        from .client import Client

        with Client(options.url, api_key=options.key) as client:
            rows = client.models()
    else:
        from .repository import demo_models

        rows = [{"id": name, "installed": installed} for name, installed in demo_models().items()]
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        about = ", ".join(f"{key} {value}" for key, value in row.items() if key not in ("id", "object"))
        print(f"{row['id']:<16} {about}")
    if options.url is None and not all(row["installed"] for row in rows):
        print("install the demo model by: pip install 'headrace[demo]'")
    return 0


def _print_table(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(values))
        return
    for key, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        print(f"{key:<16} {shown}")


def _bench(options: argparse.Namespace) -> int:
    if options.kernels:
        from .kernel_bench import run as run_kernels

        return run_kernels(options)
    from .bench import run

    for name in ("isa", "threads"):
        if getattr(options, name) is not None:
            raise InvalidArgumentError(
                f"--{name} is for --kernels; a server is started by `headrace serve`, with options of its own"
            )
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
