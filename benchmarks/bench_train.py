"""From a CSV to a served model by three commands, beside a plain loop over the same rows: quality and training speed.

    python benchmarks/bench_train.py --data news.csv --name "AG News, 5,600 rows"
    python benchmarks/bench_train.py --data news.csv --speed-only

The data are split once, 80 % to train and 20 % to test. `headrace train`, `headrace evaluate` and `headrace serve` then
do their work as anyone would call them, and the served answers must be the evaluated ones. The plain loop is what a
textbook has: transformers' model, shuffled batches with dynamic padding, AdamW, a linear schedule. Quality lines go to
benchmarks/results/lifecycle.jsonl; the data do not.

Speed is that of the same steps, in turns: ours, the plain loop with our batches, the plain loop with shuffled ones.
"""

from __future__ import annotations

import contextlib
import csv
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import harness

TEST_SHARE = 0.2


def split_file(data: Path, folder: Path, seed: int) -> tuple[Path, Path]:
    """Two files with the rows of `data`, of each class 20 % in the second."""
    from headrace.lifecycle import split

    with data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    labels = np.array([names.index(row["label"]) for row in rows])
    parts = split(len(rows), labels=labels, validation=0, test=TEST_SHARE, seed=seed)
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


def plain_loop(
    train: Path,
    test: Path | None,
    *,
    epochs: int,
    rate: float,
    batch: int,
    bf16: bool,
    seed: int,
    order: list[np.ndarray] | None = None,
    steps: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """A textbook's loop; accuracy and macro recall on the test, rows a second of the training's steps."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        get_linear_schedule_with_warmup,
    )

    torch.manual_seed(seed)
    base = str(harness.model_path(None))
    rows, names, labels = read(train)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(names))
    encoded = tokenizer(rows, truncation=True, max_length=256)["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    total = epochs * -(-len(rows) // batch)
    schedule = get_linear_schedule_with_warmup(optimizer, round(0.06 * total), total)
    chance = np.random.default_rng(seed)
    seen, seconds, done = 0, 0.0, 0
    for _ in range(epochs):
        model.train()
        shuffled = chance.permutation(len(rows))
        batches = order or [shuffled[i : i + batch] for i in range(0, len(rows), batch)]
        begin = clock()
        for places in batches[:steps]:
            inputs = tokenizer.pad({"input_ids": [encoded[i] for i in places]}, return_tensors="pt")
            context = torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext()
            with context:
                loss = model(**inputs, labels=torch.tensor([labels[i] for i in places])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            seen, done = seen + len(places), done + 1
        seconds += clock() - begin
    found = {"rows_per_second": seen / seconds, "steps": done}
    if test is not None:
        texts, _, truth = read(test)
        model.eval()
        answers = []
        with torch.inference_mode():
            for i in range(0, len(texts), 64):
                inputs = tokenizer(
                    texts[i : i + 64], truncation=True, max_length=256, padding=True, return_tensors="pt"
                )
                answers += model(**inputs).logits.argmax(1).tolist()
        right = np.array(answers) == np.array(truth)
        found["accuracy"] = float(right.mean())
        found["recall_macro"] = float(
            np.mean([right[np.array(truth) == k].mean() for k in range(len(names))])
        )
    return found


def read(path: Path) -> tuple[list[str], list[str], list[int]]:
    """Texts, the names of the labels, and labels."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    return [row["text"] for row in rows], names, [names.index(row["label"]) for row in rows]


def our_steps(
    train: Path, options: Any, steps: int, clock: Callable[[], float]
) -> tuple[float, list[np.ndarray]]:
    """Rows a second of our loop's first steps, and the batches that they had."""
    from headrace.lifecycle.batches import epoch_order
    from headrace.lifecycle.inspection import inspect_files
    from headrace.lifecycle.loop import History, fit
    from headrace.lifecycle.recipes.classify import ClassifyRecipe
    from headrace.lifecycle.settings import TrainSettings

    class Enough(Exception):
        """So many steps were measured."""

    settings = TrainSettings(epochs=1, learning_rate=options.learning_rate, precision=options.precision)
    data = inspect_files({"train": train})["train"]
    recipe = ClassifyRecipe("demo:minilm", data.names, settings)
    recipe.use((recipe.encode(data), data.labels, np.arange(len(data.rows))), None)
    order = epoch_order(recipe.lengths, settings.batch_size, seed=settings.seed, epoch=0)
    begin = clock()

    def watch(step: int, total: int, history: History) -> None:
        if step == steps:
            raise Enough

    with contextlib.suppress(Enough):
        fit(recipe, settings, watch=watch)
    seconds = clock() - begin
    return sum(map(len, order[:steps])) / seconds, order


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
    parser.add_argument("--cpu-time", action="store_true", help="rows per second of processor time")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of speed, in turns")
    parser.add_argument("--steps", type=int, default=20, help="steps of each measurement of speed")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = split_file(options.data, folder, options.seed)
        if not options.speed_only:
            quality(options, folder, train, test)
        if not options.quality_only:
            few = folder / "few.csv"  # enough for batches as they are in a whole epoch
            with (
                train.open(encoding="utf-8", newline="") as file,
                few.open("w", encoding="utf-8", newline="") as out,
            ):
                rows = csv.reader(file)
                csv.writer(out).writerows(row for _, row in zip(range(3201), rows, strict=False))
            speed(options, few)


def quality(options: Any, folder: Path, train: Path, test: Path) -> None:
    """Three commands and the plain loop; writes a result line for each."""
    numbers = ["--epochs", str(options.epochs), "--learning-rate", str(options.learning_rate),
               "--precision", options.precision, "--seed", str(options.seed), "--validation", "0"]  # fmt: skip
    model = folder / "model"
    # Nothing is timed here: the plain loop runs meanwhile, in a process of its own.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        other = pool.submit(
            plain_loop,
            train,
            test,
            epochs=options.epochs,
            rate=options.learning_rate,
            batch=32,
            bf16=options.precision == "bf16",
            seed=options.seed,
        )
        command("train", "classify", "--data", str(train), "--test-file", str(test), "--base", "demo:minilm",
                "--out", str(model), *numbers)  # fmt: skip
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
        "base": "demo:minilm",
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
    """Rows a second of the same steps, in turns; printed, not kept."""
    clock = time.process_time if options.cpu_time else time.perf_counter
    times: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        ours, order = our_steps(train, options, options.steps, clock)
        times.setdefault("headrace", []).append(ours)
        for name, batches in (("plain loop, our batches", order), ("plain loop, shuffled", None)):
            found = plain_loop(train, None, epochs=1, rate=options.learning_rate, batch=32,
                               bf16=options.precision == "bf16", seed=0, order=batches,
                               steps=options.steps, clock=clock)  # fmt: skip
            times.setdefault(name, []).append(found["rows_per_second"])
        print({name: round(values[-1], 1) for name, values in times.items()}, flush=True)
    for name, values in times.items():
        print(json.dumps({"engine": name, "unit": "rows/s", **harness.spread(values)}))


if __name__ == "__main__":
    main()
