"""From a CSV to a served model by three commands, beside a plain loop over the same rows: quality and training speed.

    python benchmarks/bench_train.py --data news.csv --name "AG News"
    python benchmarks/bench_train.py --data news.csv --name "AG News" --speed-only
    python benchmarks/bench_train.py --data news.csv --name "AG News" --quality-only --rows 5600 --epochs 2

Quality is that of `--rows` of the data's rows, of each class in proportion: 80 % to train and 20 % to test. `headrace
train`, `headrace evaluate` and `headrace serve` do their work as anyone would call them, and the served answers must be
the evaluated ones. The plain loop is what a textbook has: transformers' model, shuffled batches with dynamic padding,
AdamW, a linear schedule.

Speed is that of steps in turns, in one process: `--steps` of ours, then as many of the plain loop with the very same
batches, then as many of one with shuffled batches; `--rounds` of that, and one before that is not counted. Lines go to
benchmarks/results/lifecycle.jsonl; the data do not.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import harness
from headrace.lifecycle import DataSettings

TEST_SHARE = 0.2
BATCH = 32


def split_file(data: Path, folder: Path, seed: int, count: int | None = None) -> tuple[Path, Path]:
    """Two files with the rows of `data`, or with `count` of them: of each class 20 % in the second."""
    from headrace.lifecycle import split

    with data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    labels = np.array([names.index(row["label"]) for row in rows])
    test = TEST_SHARE * min(1.0, (count or len(rows)) / len(rows))
    parts = split(len(rows), labels=labels, validation=0, test=test, seed=seed)
    if count is not None and count < len(rows):
        left = count - len(parts["test"])
        fewer = split(len(parts["train"]), labels=labels[parts["train"]], validation=0, test=left / len(parts["train"]),
                      seed=seed)["test"]  # fmt: skip
        parts["train"] = parts["train"][fewer]
    paths = []
    for part in ("train", "test"):
        paths.append(folder / f"{part}.csv")
        with paths[-1].open("w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, ["text", "label"])
            out.writeheader()
            out.writerows({"text": rows[i]["text"], "label": rows[i]["label"]} for i in parts[part])
    return paths[0], paths[1]


def command(*arguments: str) -> dict[str, Any]:
    """What a headrace command prints as JSON."""
    run = [sys.executable, "-m", "headrace.cli", *arguments, "--json"]
    found: dict[str, Any] = json.loads(
        subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout
    )
    return found


def served(model: Path, texts: list[str]) -> list[str]:
    """The first label of each text, by REST."""
    run = [sys.executable, "-m", "headrace.cli", "serve", f"m={model}", "--port", "0", "--json"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            found = []
            for i in range(0, len(texts), 32):
                body = json.dumps({"model": "m", "input": texts[i : i + 32], "truncate": True}).encode()
                request = urllib.request.Request(
                    f"{url}/v1/classify", body, {"content-type": "application/json"}
                )
                with urllib.request.urlopen(request, timeout=120) as answer:
                    found += [item["labels"][0]["label"] for item in json.load(answer)["data"]]
            return found
        finally:
            process.terminate()


class PlainLoop:
    """A textbook's loop over the rows of a file, step by step."""

    def __init__(self, train: Path, options: Any, epochs: int) -> None:
        import torch
        import transformers

        torch.manual_seed(options.seed)
        base = str(harness.model_path(options.model))
        rows, self.names, self._labels = read(train)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(base)
        self.model = transformers.AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=len(self.names), dtype=torch.float32
        )
        self.model.train()
        self._encoded = self.tokenizer(rows, truncation=True, max_length=256)["input_ids"]
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=options.learning_rate, weight_decay=0.01
        )
        total = epochs * -(-len(rows) // BATCH)
        self._schedule = transformers.get_linear_schedule_with_warmup(
            self._optimizer, round(0.06 * total), total
        )
        self._bf16 = options.precision == "bf16"
        self._chance = np.random.default_rng(options.seed)

    def epoch(self) -> Iterator[np.ndarray]:
        """Shuffled batches."""
        shuffled = self._chance.permutation(len(self._encoded))
        yield from (shuffled[i : i + BATCH] for i in range(0, len(shuffled), BATCH))

    def step(self, places: np.ndarray) -> None:
        import torch

        inputs = self.tokenizer.pad({"input_ids": [self._encoded[i] for i in places]}, return_tensors="pt")
        context = torch.autocast("cpu", dtype=torch.bfloat16) if self._bf16 else contextlib.nullcontext()
        with context:
            loss = self.model(**inputs, labels=torch.tensor([self._labels[i] for i in places])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()
        loss.item()  # as anyone looks at it

    def figures(self, test: Path) -> dict[str, float]:
        """Accuracy and macro recall."""
        import torch

        texts, _, labels = read(test)
        self.model.eval()
        answers = []
        with torch.inference_mode():
            for i in range(0, len(texts), 64):
                inputs = self.tokenizer(
                    texts[i : i + 64], truncation=True, max_length=256, padding=True, return_tensors="pt"
                )
                answers += self.model(**inputs).logits.argmax(1).tolist()
        truth = np.array(labels)
        right = np.array(answers) == truth
        recalls = [right[truth == k].mean() for k in range(len(self.names))]
        return {"accuracy": float(right.mean()), "recall_macro": float(np.mean(recalls))}


def plain_quality(train: Path, test: Path, options: Any) -> dict[str, float]:
    """The plain loop's figures after all its epochs."""
    loop = PlainLoop(train, options, options.epochs)
    for _ in range(options.epochs):
        for places in loop.epoch():
            loop.step(places)
    return loop.figures(test)


def read(path: Path) -> tuple[list[str], list[str], list[int]]:
    """Texts, the names of the labels, and labels."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    return [row["text"] for row in rows], names, [names.index(row["label"]) for row in rows]


def main() -> None:
    parser = harness.parser("lifecycle", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="a CSV with the columns text and label")
    parser.add_argument("--name", default=None, help="the data set's name and size, for the result")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed-only", action="store_true")
    parser.add_argument("--quality-only", action="store_true")
    parser.add_argument(
        "--rows", type=int, default=2000, help="of the data, for the quality (default %(default)s)"
    )
    parser.add_argument("--cpu-time", action="store_true", help="rows per second of processor time")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each loop (default %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn (default %(default)s)")
    parser.add_argument("--threads", type=int, help="of torch (default: its own)")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.speed_only:
            quality(options, folder, *split_file(options.data, folder, options.seed, options.rows))
        if not options.quality_only:
            # Ten times what is stepped over, within reason: batches of like lengths are as in a whole epoch.
            wanted = min(3200, 10 * BATCH * options.steps * (options.rounds + 1))
            speed(
                options, split_file(options.data, folder, options.seed, round(wanted / (1 - TEST_SHARE)))[0]
            )


def quality(options: Any, folder: Path, train: Path, test: Path) -> None:
    """Three commands and the plain loop; writes a result line for each."""
    numbers = ["--epochs", str(options.epochs), "--learning-rate", str(options.learning_rate),
               "--precision", options.precision, "--seed", str(options.seed), "--validation", "0"]  # fmt: skip
    model = folder / "model"
    # Nothing is timed here: the plain loop runs meanwhile, in a process of its own.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        other = pool.submit(plain_quality, train, test, options)
        command("train", "classify", "--data", str(train), "--test-file", str(test),
                "--base", options.model or "demo:minilm", "--out", str(model), *numbers)  # fmt: skip
        predictions = folder / "predictions.jsonl"
        found = command("evaluate", str(model), "--data", str(test), "--predictions", str(predictions))
        texts, _, _ = read(test)
        answers = [json.loads(line)["found"] for line in predictions.read_text().splitlines()]
        agreeing = sum(one == other for one, other in zip(served(model, texts), answers, strict=True))
        if agreeing != len(answers):
            raise SystemExit(f"{agreeing} of {len(answers)} served answers are the evaluated ones")
        plain = other.result()
    shared = {
        "task": "classify",
        "data": options.name or options.data.name,
        "base": options.model or "demo:minilm",
        "train_rows": len(read(train)[0]),
        "test_rows": len(texts),
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "precision": options.precision,
        "seed": options.seed,
        "unit": "share",
    }
    lines = [
        {**shared, "engine": "headrace", "served_equal": agreeing,
         **{name: round(found["metrics"][name], 4) for name in ("accuracy", "recall_macro")},
         "interval": [round(end, 4) for end in found["intervals"]["accuracy"]],
         "version": harness.versions("headrace")["headrace"]},
        {**shared, "engine": "plain loop",
         **{name: round(plain[name], 4) for name in ("accuracy", "recall_macro")},
         "version": harness.versions("transformers")["transformers"]},
    ]  # fmt: skip
    harness.write("lifecycle", lines, options.out)


def speed(options: Any, train: Path) -> None:
    """Rows a second of steps in turns; writes a result line for each loop."""
    import torch

    from headrace.lifecycle.batches import epoch_order
    from headrace.lifecycle.inspection import inspect_files
    from headrace.lifecycle.loop import History, fit
    from headrace.lifecycle.recipes.classify import ClassifyRecipe
    from headrace.lifecycle.settings import TrainSettings

    class Enough(Exception):
        """So many turns were measured."""

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    settings = TrainSettings(
        epochs=1, learning_rate=options.learning_rate, precision=options.precision, seed=options.seed
    )
    data = inspect_files({"train": train}, settings=DataSettings(keep_duplicates=True))["train"]
    recipe = ClassifyRecipe(options.model or "demo:minilm", data.names, settings)
    recipe.use((recipe.encode(data), data.labels, np.arange(len(data.rows))), None)
    order = epoch_order(recipe.lengths, settings.batch_size, seed=settings.seed, epoch=0)
    alike, shuffled = PlainLoop(train, options, 1), PlainLoop(train, options, 1)
    same = (data.rows[places] - 1 for places in order)  # rows that were dropped have numbers too
    others = {
        "plain loop, our batches": (alike, same),
        "plain loop, shuffled": (shuffled, shuffled.epoch()),
    }
    rates: dict[str, list[float]] = {name: [] for name in ("headrace", *others)}
    begin = clock()

    def watch(step: int, total: int, history: History) -> None:
        nonlocal begin
        if step % options.steps:
            return
        rates["headrace"].append(sum(map(len, order[step - options.steps : step])) / (clock() - begin))
        for name, (loop, batches) in others.items():
            mine = list(itertools.islice(batches, options.steps))
            begin = clock()
            for places in mine:
                loop.step(places)
            rates[name].append(sum(map(len, mine)) / (clock() - begin))
        print({name: round(values[-1], 1) for name, values in rates.items()}, file=sys.stderr, flush=True)
        if step == options.steps * (options.rounds + 1):
            raise Enough
        begin = clock()

    with contextlib.suppress(Enough):
        fit(recipe, settings, watch=watch)
    counted = {name: values[1:] for name, values in rates.items()}  # the first turn warmed up
    shared = {
        "task": "classify", "data": options.name or options.data.name, "base": options.model or "demo:minilm",
        "precision": options.precision, "threads": torch.get_num_threads(), "batch": BATCH, "steps": options.steps,
        "unit": "rows/s of processor time" if options.cpu_time else "rows/s",
        "version": harness.versions("headrace", "torch", "transformers"),
    }  # fmt: skip
    lines = []
    for name, values in counted.items():
        ratios = [one / other for one, other in zip(counted["headrace"], values, strict=True)]
        lines.append(
            {
                **shared,
                "engine": name,
                **harness.spread(values),
                "headrace_times_this": harness.spread(ratios),
            }
        )
    harness.write("lifecycle", lines, options.out)


if __name__ == "__main__":
    main()
