"""How fast texts become ids, beside every rival: new text, text seen before, single short texts, two threads.

Each round gives every engine the same new documents in turn, another engine first each time, and then the same
documents again ("repeated"). Every engine has been warmed on other documents before. Exactness is the share of
documents whose ids equal the reference's, `tokenizers`.

    HEADRACE_SHARED=... python benchmarks/bench_tokenizers.py
    HEADRACE_SHARED=... python benchmarks/bench_tokenizers.py --families gpt2 minilm --threads 2

Needs the folder tokenizers/ of HEADRACE_SHARED (or --vocabularies): one folder for each family with a
tokenizer.json(.gz). The text is workloads/corpus.txt.gz beside it: prose, code and many scripts.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

FAMILIES = (
    "minilm gpt2 llama3 qwen3 cl100k gptoss deepseek_v3 llama2 gemma3 xlmr_unigram albert_unigram".split()  # noqa: SIM905
)
DOCUMENT_BYTES = 4000


def documents(path: Path) -> list[str]:
    """The corpus in documents of about 4,000 bytes, whole lines."""
    found: list[str] = []
    lines: list[str] = []
    size = 0
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as corpus:
        for line in corpus:
            lines.append(line)
            size += len(line.encode())
            if size >= DOCUMENT_BYTES:
                found.append("".join(lines))
                lines, size = [], 0
    if lines:
        found.append("".join(lines))
    return found


def prepared(source: Path, target: Path) -> Path:
    """A folder with tokenizer.json unpacked and the family's other files, for engines that want paths."""
    folder = target / source.name
    folder.mkdir()
    for path in source.iterdir():
        if path.name == "tokenizer.json.gz":
            (folder / "tokenizer.json").write_bytes(gzip.decompress(path.read_bytes()))
        else:
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def seconds(call: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    answer = call(*arguments)
    taken = time.perf_counter() - start
    del answer
    return taken


def load_engines(names: list[str], folder: Path, threads: int) -> dict[str, Any]:
    import tokenizer_engines

    engines: dict[str, Any] = {}
    for name in names:
        try:
            engines[name] = tokenizer_engines.ENGINES[name](folder, threads)
        except Exception as error:  # a rival that refuses the family is not in its race
            print(f"  {name}: not in this race: {str(error)[:150]}", file=sys.stderr)
    return engines


def exactness(engines: dict[str, Any], texts: list[str]) -> dict[str, float]:
    right = engines["tokenizers"].ids(engines["tokenizers"].encode(texts))
    shares = {}
    for name in list(engines):
        try:
            answers = engines[name].ids(engines[name].encode(texts))
            shares[name] = sum(a == b for a, b in zip(answers, right, strict=True)) / len(texts)
        except BaseException as error:  # pyo3's panics are no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            print(f"  {name}: fails on this corpus: {str(error)[:150]}", file=sys.stderr)
            del engines[name]
    return shares


def race(
    engines: dict[str, Any], blocks: list[list[str]]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """MB/s of each round, on new text and on the same text again."""
    new: dict[str, list[float]] = {name: [] for name in engines}
    repeated: dict[str, list[float]] = {name: [] for name in engines}
    names = list(engines)
    for number, block in enumerate(blocks):
        megabytes = sum(len(text.encode()) for text in block) / 1e6
        order = names[number % len(names) :] + names[: number % len(names)]
        for name in order:
            new[name].append(megabytes / seconds(engines[name].encode, block))
        for name in order:
            repeated[name].append(megabytes / min(seconds(engines[name].encode, block) for _ in range(2)))
    return new, repeated


def short_texts(engines: dict[str, Any], texts: list[str], rounds: int) -> dict[str, tuple[float, float]]:
    """Microseconds for a text of 50 characters: in a batch of 1,000, and alone."""
    batch = [text[:50] for text in texts][:1000]
    batch = (batch * (1000 // len(batch) + 1))[:1000]
    one = "The quick brown fox jumps over the lazy dog again."
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            found[name][0].append(seconds(engine.encode, batch) * 1e6 / len(batch))
            start = time.perf_counter()
            for _ in range(1000):
                engine.one(one)
            found[name][1].append((time.perf_counter() - start) * 1000)
    return {name: (min(batches), min(alone)) for name, (batches, alone) in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = os.environ.get("HEADRACE_SHARED", "")
    parser.add_argument("--vocabularies", type=Path, default=Path(shared) / "tokenizers")
    parser.add_argument("--corpus", type=Path, default=Path(shared) / "workloads" / "corpus.txt.gz")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--engines", nargs="+", help="default: every one that is installed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--block-mb", type=float, default=1.0, help="new text of a round (default %(default)s)"
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    os.environ["RAYON_NUM_THREADS"] = os.environ["RAYON_RS_NUM_THREADS"] = str(arguments.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if arguments.threads > 1 else "false"
    import tokenizer_engines

    texts = documents(arguments.corpus)
    per_block = max(1, int(arguments.block_mb * 1e6 / DOCUMENT_BYTES))
    # Documents in turn from all over the corpus, which is sorted by kind.
    shuffled = [text for start in range(61) for text in texts[start::61]]
    blocks = [shuffled[i : i + per_block] for i in range(0, len(shuffled), per_block)]
    warm, blocks = blocks[0] + blocks[1], blocks[2 : 2 + arguments.rounds]
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for family in arguments.families:
            folder = prepared(arguments.vocabularies / family, Path(scratch))
            print(family, file=sys.stderr)
            names = arguments.engines or tokenizer_engines.installed()
            engines = load_engines(
                list(dict.fromkeys(["headrace", "tokenizers", *names])), folder, arguments.threads
            )
            shares = exactness(engines, warm)
            new, repeated = race(engines, blocks)
            short = short_texts(engines, shuffled[: 2 * per_block], arguments.rounds)
            for name in engines:
                line = {
                    "engine": name,
                    "family": family,
                    "threads": arguments.threads,
                    "unit": "MB/s",
                    "new": harness.spread(new[name], 1),
                    "repeated": harness.spread(repeated[name], 1),
                    "short_batch_us": round(short[name][0], 3),
                    "short_alone_us": round(short[name][1], 3),
                    "exact": round(shares[name], 5),
                    "documents": len(warm),
                    "version": harness.versions(name)[name],
                }
                lines.append(line)
                print(
                    f"  {name:<14} new {line['new']['median']:>7} repeated {line['repeated']['median']:>7} MB/s, "
                    f"50 characters {line['short_batch_us']} / {line['short_alone_us']} us, exact {shares[name]:.4%}",
                    file=sys.stderr,
                )
            del engines
    harness.write("tokenizers", lines, arguments.out)


if __name__ == "__main__":
    main()
