"""What compressing costs and gives: quality, size and speed of a trained model as f32, bf16, int8, pruned, distilled.

    python benchmarks/bench_compress.py --data news.csv --name "AG News, 5,600 rows"

The base is demo:minilm, trained as bench_train.py does it; 80 % of the rows train and recover, 20 % measure. A line is
one recipe of `headrace compress`: quality on the same rows of both, with the paired interval of the difference, and
the ratio of speeds in our engine, in turns with the same model in f32. Lines go to
benchmarks/results/compression.jsonl; the data do not. `--work` keeps the models, and goes on from those that are
there; `--quality-only` times nothing, as on a busy machine.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import harness
from bench_train import read, split_file

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


def main() -> None:
    parser = harness.parser("compression", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="a CSV with the columns text and label")
    parser.add_argument("--name", default=None, help="the data set's name and size, for the result")
    parser.add_argument("--epochs", type=int, default=2, help="of the base")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--max-tokens", type=int, default=128, help="of a text in training")
    parser.add_argument("--threads", type=int, default=None, help="of the engine")
    parser.add_argument("--turns", type=int, default=15, help="measurements of speed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", default=";".join(RECIPES), help="some of them: 'int8;half the heads'")
    parser.add_argument("--work", type=Path, help="folder that keeps the models")
    parser.add_argument("--quality-only", action="store_true", help="time nothing")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        lines = run(options, work, options.recipes.split(";"))
    harness.write("compression", lines, options.out)


def run(options: Any, work: Path, chosen: list[str]) -> list[dict[str, Any]]:
    """A line for each recipe, and one for f32."""
    from headrace import lifecycle

    train, test = split_file(options.data, work, options.seed)
    training = lifecycle.TrainSettings(
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        max_tokens=options.max_tokens,
        seed=options.seed,
        validation=0,
        test=0,
    )
    base = work / "base"
    if not (base / "training.json").is_file():
        resume = base.exists()
        lifecycle.train("classify", train, "demo:minilm", base, training, test_file=test, resume=resume)
    shared = {
        "task": "classify",
        "unit": "share of rows answered right",
        "max_tokens": options.max_tokens,
        "data": options.name or options.data.name,
        "base": "demo:minilm, trained on it",
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "seed": options.seed,
        "version": harness.versions("headrace")["headrace"],
        "isa": harness.core().isa(),
    }
    lines = []
    for name in chosen:
        out = work / name.replace(" ", "-").replace(",", "")
        record = out / "compression.json"
        if not record.is_file():
            settings = lifecycle.CompressSettings(**RECIPES[name], training=training)
            print(
                lifecycle.compress(
                    base, train, out, settings, test_file=test, resume=True, turns=1, threads=options.threads
                ),
                flush=True,
            )
        gain = None if options.quality_only else speed(base, out, test, options)
        lines.append({**shared, "recipe": name, **line(json.loads(record.read_text(encoding="utf-8")), gain)})
    first = lines[0]
    reference = {**shared, "recipe": "f32", "rows": first["rows"], **first.pop("f32")}
    for other in lines[1:]:
        del other["f32"]
    return [reference, *lines]


def speed(base: Path, out: Path, test: Path, options: Any) -> Any:
    """How much faster the model is than its base in f32, on the texts of the test."""
    import headrace
    from headrace.lifecycle.compression.speed import compare

    texts = read(test)[0]
    with (
        headrace.load(base, precision="f32", threads=options.threads) as before,
        headrace.load(out, threads=options.threads) as after,
    ):
        gain = compare(before, after, texts, turns=options.turns)
    print(f"{out.name}: {gain}", flush=True)
    return gain


def line(record: dict[str, Any], gain: Any) -> dict[str, Any]:
    """Of compression.json what a table has; "f32": the same of the base."""
    quality, size = record["quality"], record["size"]
    lost = next(one for one in quality["differences"] if one["name"] == "accuracy")

    def figures(which: str) -> dict[str, Any]:
        metrics = quality[which]["metrics"]
        return {
            **{name: round(metrics[name], 4) for name in ("accuracy", "recall_macro")},
            "interval": [round(end, 4) for end in quality[which]["intervals"]["accuracy"]],
            "disk_bytes": size[which]["disk"],
            "memory_bytes": size[which]["memory"],
            "parameters": size[which]["parameters"],
        }

    return {
        "method": record["method"],
        "parameters_of_method": record["parameters"],
        "rows": quality["rows"],
        **figures("after"),
        "accuracy_difference": round(lost["value"], 4),
        "difference_interval": [round(lost["low"], 4), round(lost["high"], 4)],
        **(
            {}
            if gain is None
            else {
                "speed_ratio": round(gain.ratio, 3),
                "speed_interval": [round(gain.low, 3), round(gain.high, 3)],
                "turns": gain.turns,
                "speed_is_real": gain.is_real,
            }
        ),
        "f32": figures("before"),
    }


if __name__ == "__main__":
    main()
