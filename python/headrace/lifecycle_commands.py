"""`headrace data`, `train`, `evaluate` and `compress`: from a file with labels to a model that can be served."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import inputs
from .errors import InvalidArgumentError
from .lifecycle_options import PACKAGED, TEXT_TASKS, add_data, add_settings, data_settings, given

_DATA_HELP = """\
examples:
  headrace data news.csv                                      what is in it, and what is wrong, by row
  headrace data news.csv --label-column topic --json
  headrace data sentences.conll --task tag
Rows are counted from 1; the header of a CSV is no row. Files of any size are read in bounded memory.
"""
_TRAIN_HELP = """\
examples:
  headrace train classify --data news.csv --base demo:minilm --out news-model
  headrace train classify --data news.csv --base demo:minilm --out news-model --dry-run     looks at the data alone
  headrace train classify --data train.parquet --test test.parquet --base models/bert --out m --class-weights balanced
  headrace train classify --data news.csv --base demo:minilm --out news-model --resume      after a kill
  headrace train tag --data train.conll --base models/bert --out ner-model
  headrace train tabular --data churn.csv --out churn --estimator boosting      or logistic, dense
  headrace train recommend --data ratings.csv --out next --min-rating 3
  headrace train image --data photos --out photos-model                         photos/CLASS/*.jpg, or a CSV of paths
  headrace train image --data photos --base models/vit-base --out photos-model
  headrace train classify --data news.csv --base models/bert --out m --ray-workers 4        or by torchrun, see the docs
then:
  headrace evaluate news-model --data news.csv                the rows that were held out of this file
  headrace serve news-model
Data: .csv, .tsv, .jsonl, .parquet, .arrow, .conll, folders of `datasets`. The model's folder has training.json (what it
was made of), loss.png, and the files that transformers reads.
"""
_EVALUATE_HELP = """\
examples:
  headrace evaluate news-model --data test.csv
  headrace evaluate news-model --data test.csv --report report.html --json
  headrace evaluate news-model --data test.csv --compare older-model       is the difference real?
  headrace evaluate news-model --data test.csv --slice-column country      figures by country, and their gaps
Answers come from the engine that serves the model: what is measured is what is served.
"""
_COMPRESS_HELP = """\
methods:
{methods}
examples:
  headrace compress news-model --method int8 --data news.csv --out news-int8
  headrace compress news-model --method prune-neurons --recover-epochs 1 --precision int8 --data news.csv --out m
  headrace compress news-model --method distill --student-layers 3 --data news.csv --out news-small
  headrace compress models/qwen --method q4 --data texts.jsonl --out qwen-q4
then:
  headrace serve news-int8                                    in the precision that the folder names
Prints what was lost, with its interval, and the speed gained, both measured in the engine that serves; DIR has
compression.json and a section in the model card (README.md).
"""
_RECOVERY = (
    "batch_size", "learning_rate", "schedule", "warmup", "weight_decay", "clip", "seed", "max_tokens", "patience",
    "class_weights", "checkpoint_steps", "validation", "test", "lora_rank", "lora_alpha",
)  # fmt: skip


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the commands; `command(name, run, text, epilog)` makes the parser of one."""
    data = command(
        "data", _data, "Say what a file of labelled data holds, and what is wrong with it.", _DATA_HELP
    )
    data.add_argument("data", metavar="FILE")
    data.add_argument("--task", choices=TEXT_TASKS, default="classify", help="(default %(default)s)")
    data.add_argument("--json", action="store_true")
    add_data(data, TEXT_TASKS)

    train = command("train", _train, "Train a model on a file of labelled data.", _TRAIN_HELP)
    train.usage = (
        "headrace train TASK --data FILE [--base MODEL] --out DIR [options of all tasks, or of TASK]"
    )
    tasks = (*TEXT_TASKS, *PACKAGED)
    train.add_argument("task", metavar="TASK", choices=tasks, help=", ".join(tasks))
    train.add_argument("--data", required=True, metavar="FILE")
    train.add_argument(
        "--base", metavar="MODEL",
        help="folder, .gguf or demo model: what to begin with (not of tabular and recommend; of image, if any)",
    )  # fmt: skip
    train.add_argument("--out", required=True, metavar="DIR", help="the model's folder, to be made")
    train.add_argument("--validation-file", metavar="FILE", help="rows to choose the best epoch by")
    train.add_argument("--test-file", metavar="FILE", help="rows to measure the result with")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    train.add_argument("--overwrite", action="store_true", help="what is in DIR goes")
    train.add_argument("--dry-run", action="store_true", help="report on the data, train nothing")
    train.add_argument("--json", action="store_true", help="print what a program can read")
    train.add_argument(
        "--ray-workers", type=int, metavar="N", help="train on N workers of Ray (extra cluster)"
    )
    recipe = train.add_argument_group("recipe, of all tasks")
    encoders = train.add_argument_group("of classify, tag, embed and rerank")
    groups = add_data(train, tasks)
    groups["data"].add_argument("--group-column", metavar="NAME", help="rows of one group stay in one part")
    groups["data"].add_argument("--time-column", metavar="NAME", help="the latest rows test")
    groups["data"].add_argument(
        "--keep-duplicates", action="store_true", help="train on repeated rows too (in one part)"
    )
    groups["tabular"].add_argument(
        "--estimator", choices=["boosting", "logistic", "dense"], help="(default boosting)"
    )
    groups["recommend"].add_argument("--min-rating", type=float, help="rows with less are left out")
    groups["recommend"].add_argument(
        "--network",
        choices=["two-towers", "ncf"],
        help="two-towers: a vector of the person times one of the item; ncf (neural collaborative filtering): and a "
        "perceptron over both, slower (default two-towers)",
    )
    groups["image"].add_argument("--image-size", type=int, help="without a base: the side in pixels")
    own = {"class_weights": groups["classify"], "freeze_layers": encoders, "folds": encoders}
    adapter = dict.fromkeys(("lora_rank", "lora_alpha"), groups["generate"])
    add_settings(recipe, others={**own, **adapter})

    evaluate = command("evaluate", _evaluate, "Measure how good a model is.", _EVALUATE_HELP)
    evaluate.add_argument("model", metavar="DIR")
    evaluate.add_argument("--data", required=True, metavar="FILE")
    evaluate.add_argument("--compare", metavar="DIR", help="another model, on the same rows")
    evaluate.add_argument("--slice-column", metavar="NAME", help="also by the values of this column")
    evaluate.add_argument(
        "--rows", choices=["auto", "all", "train", "validation", "test"], default="auto",
        help="auto: of the file that the model was trained on its test rows, else all (default %(default)s)",
    )  # fmt: skip
    evaluate.add_argument(
        "--bootstrap", type=int, default=1000, help="samples (default %(default)s); 0: none"
    )
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--report", metavar="FILE.html", help="write a page with plots")
    evaluate.add_argument("--predictions", metavar="FILE.jsonl", help="write each row's answer")
    evaluate.add_argument("--threads", type=int, help="threads that compute (default: one a core)")
    evaluate.add_argument("--json", action="store_true", help="print what a program can read")
    add_data(evaluate, (*TEXT_TASKS, *PACKAGED))
    inputs.add_precision(evaluate)
    _add_compress(command)


def _add_compress(command: Callable[..., argparse.ArgumentParser]) -> None:
    from .lifecycle.compression.settings import IMPORTANCES, METHODS, PRECISIONS

    methods = "\n".join(f"  {name:<15} {text}" for name, text in METHODS.items())
    compress = command(
        "compress", _compress, "Make a model smaller and faster, and measure it.",
        _COMPRESS_HELP.replace("{methods}", methods),
    )  # fmt: skip
    compress.usage = "headrace compress MODEL --method METHOD --data FILE --out DIR [options of METHOD]"
    compress.add_argument("model", metavar="MODEL", help="folder, .gguf or demo model")
    compress.add_argument("--method", required=True, metavar="METHOD", help=", ".join(METHODS))
    compress.add_argument("--data", required=True, metavar="FILE", help="rows to change and to measure it by")
    compress.add_argument("--out", required=True, metavar="DIR", help="the model's folder, to be made")
    compress.add_argument("--test-file", metavar="FILE", help="rows to measure with")
    compress.add_argument("--resume", action="store_true", help="go on with the training of a killed run")
    compress.add_argument("--overwrite", action="store_true", help="what is in DIR goes")
    compress.add_argument("--json", action="store_true", help="print what a program can read")
    measuring = compress.add_argument_group("measuring")
    measuring.add_argument("--turns", type=int, default=9, help="of speed (default %(default)s)")
    measuring.add_argument(
        "--bootstrap", type=int, default=1000, help="samples of intervals (default %(default)s); 0: none"
    )
    measuring.add_argument("--threads", type=int, help="threads that compute (default: one a core)")
    pruning = compress.add_argument_group("of prune-heads, prune-neurons, prune-layers and prune-weights")
    pruning.add_argument("--share", type=float, help="the share that goes (default 0.5)")
    pruning.add_argument("--importance", choices=IMPORTANCES, default="taylor",
                         help="what goes first, but of prune-weights (default %(default)s)")  # fmt: skip
    pruning.add_argument(
        "--importance-rows", type=int, default=512, help="that tell it (default %(default)s)"
    )
    distill = compress.add_argument_group("of distill")
    distill.add_argument("--student", metavar="MODEL", help="a folder (default: layers of the model itself)")
    distill.add_argument("--student-layers", type=int, metavar="N", help="(default: a half)")
    distill.add_argument("--temperature", type=float, default=2.0, help="of logits (default %(default)s)")
    distill.add_argument("--label-weight", type=float, default=0.5,
                         help="the labels' beside the teacher's (default %(default)s)")  # fmt: skip
    distill.add_argument("--hidden-weight", type=float, default=1.0,
                         help="of hidden states (default %(default)s)")  # fmt: skip
    recovery = compress.add_argument_group("of prune-* and distill: recovery")
    recovery.add_argument("--recover-epochs", type=int, metavar="N",
                          help="training afterwards (default: 3 of distill, else 0)")  # fmt: skip
    recovery.add_argument("--precision", choices=PRECISIONS, default="auto",
                          help="what the result is served in (default: f32)")  # fmt: skip
    groups = add_data(compress, TEXT_TASKS)
    adapter = dict.fromkeys(("lora_rank", "lora_alpha"), groups["generate"])
    add_settings(recovery, _RECOVERY, {"class_weights": groups["classify"], **adapter})


def _task(options: argparse.Namespace) -> str:
    return (
        "multilabel" if options.task == "classify" and options.multi_label is not None else str(options.task)
    )


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _data(options: argparse.Namespace) -> int:
    from .lifecycle.inspection import inspect_files

    return _report(
        inspect_files({"train": options.data}, _task(options), data_settings(options), keep=False), options
    )


def _report(found: dict[str, Any], options: argparse.Namespace) -> int:
    """Prints what the files hold; 1 where something stops a training."""
    reports = {part: one.report for part, one in found.items()}
    if options.json:
        _print_json({part: report.to_dict() for part, report in reports.items()})
    else:
        print("\n".join(map(str, reports.values())))
    return 1 if any(report.errors for report in reports.values()) else 0


def _train(options: argparse.Namespace) -> int:
    from .lifecycle.settings import TrainSettings, settings_for

    reading = data_settings(options)
    if options.base is None and options.task in TEXT_TASKS:
        raise InvalidArgumentError(f"--base is missing: `train {options.task}` begins with a model")
    if options.dry_run:
        if options.task in PACKAGED:
            raise InvalidArgumentError(f"--dry-run: not for {options.task}")
        from .lifecycle.inspection import inspect_files

        files = {"train": options.data, "validation": options.validation_file, "test": options.test_file}
        some = {part: path for part, path in files.items() if path is not None}
        return _report(inspect_files(some, _task(options), reading, keep=False), options)
    from .lifecycle.training import train

    wanted = given(options, [one.name for one in fields(TrainSettings)])
    settings = settings_for(options.task, from_scratch=options.base is None, **wanted)
    more = {name: getattr(options, name) for name in ("estimator", "min_rating", "network", "image_size")}
    result = train(
        options.task,
        options.data,
        options.base,
        options.out,
        settings,
        validation_file=options.validation_file,
        test_file=options.test_file,
        data_settings=reading,
        resume=options.resume,
        overwrite=options.overwrite,
        ray_workers=options.ray_workers,
        **{name: value for name, value in more.items() if value is not None},
    )
    if int(os.environ.get("RANK", "0")):
        return 0  # of several processes the first one tells
    if options.json:
        from .lifecycle.evaluation import plain

        values = {"out": str(result.out), "task": result.task, "rows": result.rows, "metrics": result.metrics}
        _print_json(
            plain({**values, "seconds": round(result.seconds, 3), "history": result.history.to_dict()})
        )
    else:
        for problem in result.data.problems:
            print(f"{problem.action}: {problem}", file=sys.stderr)
        print(result)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from .lifecycle.evaluation import evaluate

    if options.bootstrap < 0:
        raise InvalidArgumentError(f"--bootstrap {options.bootstrap}: must be 0 or more")
    result = evaluate(
        options.model,
        options.data,
        data_settings=data_settings(options),
        rows=options.rows,
        compare=options.compare,
        bootstrap=options.bootstrap,
        seed=options.seed,
        predictions=options.predictions,
        precision=options.precision,
        threads=options.threads,
    )
    if options.report is not None:
        result.write_report(Path(options.report))
    if options.json:
        _print_json(result.to_dict())
    else:
        print(result)
    return 0


def _compress(options: argparse.Namespace) -> int:
    from .lifecycle.compression.run import compress
    from .lifecycle.compression.settings import CompressSettings
    from .lifecycle.settings import TrainSettings

    own = [one.name for one in fields(CompressSettings) if one.name != "training"]
    training = TrainSettings(**given(options, _RECOVERY))
    result = compress(
        options.model,
        options.data,
        options.out,
        CompressSettings(**{name: getattr(options, name) for name in own}, training=training),
        test_file=options.test_file,
        data_settings=data_settings(options),
        resume=options.resume,
        overwrite=options.overwrite,
        turns=options.turns,
        bootstrap=options.bootstrap,
        threads=options.threads,
    )
    if options.json:
        _print_json({"out": str(result.out), "base": result.base, **result.to_dict()})
    else:
        print(result)
    return 0
