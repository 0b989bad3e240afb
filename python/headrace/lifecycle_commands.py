"""`headrace data`, `train`, `evaluate` and `compress`: from a file with labels to a model that can be served."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import inputs
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .lifecycle.scan import DataSettings

_TASKS = ("classify", "tag", "embed", "rerank", "generate")
_PACKAGED = ("tabular", "recommend", "image")
_PARTS = (
    *("text", "label", "tokens", "tags", "query", "document", "anchor", "positive", "negative", "prompt"),
    *("path", "user", "item", "rating", "when"),
)
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
    data.add_argument("--task", choices=_TASKS, default="classify", help="(default %(default)s)")
    data.add_argument("--json", action="store_true")
    _data_arguments(data)

    train = command("train", _train, "Train a model on a file of labelled data.", _TRAIN_HELP)
    tasks = (*_TASKS, *_PACKAGED)
    train.add_argument("task", metavar="TASK", choices=tasks, help=", ".join(tasks))
    train.add_argument("--data", required=True, metavar="FILE")
    train.add_argument(
        "--base", metavar="MODEL",
        help="folder or demo:minilm: what to begin with (not of tabular and recommend; of image, if any)",
    )  # fmt: skip
    train.add_argument("--out", required=True, metavar="DIR", help="the model's folder, to be made")
    train.add_argument("--validation-file", metavar="FILE", help="rows to choose the best epoch by")
    train.add_argument("--test-file", metavar="FILE", help="rows to measure the result with")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    train.add_argument("--overwrite", action="store_true", help="what is in DIR goes")
    train.add_argument("--dry-run", action="store_true", help="report on the data, train nothing")
    train.add_argument("--json", action="store_true", help="print what a program can read")
    _data_arguments(train)
    train.add_argument("--group-column", metavar="NAME", help="rows of one group stay in one part")
    train.add_argument("--time-column", metavar="NAME", help="the latest rows test")
    train.add_argument(
        "--keep-duplicates", action="store_true", help="train on repeated rows too (in one part)"
    )
    train.add_argument(
        "--estimator", choices=["boosting", "logistic", "dense"], help="of tabular (default boosting)"
    )
    train.add_argument("--min-rating", type=float, help="of recommend: rows with less are left out")
    train.add_argument(
        "--ray-workers", type=int, metavar="N", help="train on N workers of Ray (extra cluster)"
    )
    train.add_argument("--image-size", type=int, help="of image without a base: the side in pixels")
    _settings_arguments(train.add_argument_group("recipe"))

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
    _data_arguments(evaluate)
    inputs.add_precision(evaluate)
    _add_compress(command)


def _add_compress(command: Callable[..., argparse.ArgumentParser]) -> None:
    from .lifecycle.compression.settings import IMPORTANCES, METHODS, PRECISIONS

    methods = "\n".join(f"  {name:<15} {text}" for name, text in METHODS.items())
    compress = command(
        "compress", _compress, "Make a model smaller and faster, and measure it.",
        _COMPRESS_HELP.replace("{methods}", methods),
    )  # fmt: skip
    compress.add_argument("model", metavar="MODEL", help="folder or demo:minilm")
    compress.add_argument("--method", required=True, metavar="METHOD", help=", ".join(METHODS))
    compress.add_argument("--data", required=True, metavar="FILE", help="rows to change and to measure it by")
    compress.add_argument("--out", required=True, metavar="DIR", help="the model's folder, to be made")
    compress.add_argument("--test-file", metavar="FILE", help="rows to measure with")
    compress.add_argument("--share", type=float, help="of prune-*: the share that goes (default 0.5)")
    compress.add_argument("--importance", choices=IMPORTANCES, default="taylor",
                          help="of prune-*: what goes first (default %(default)s)")  # fmt: skip
    compress.add_argument(
        "--importance-rows", type=int, default=512, help="that tell it (default %(default)s)"
    )
    compress.add_argument("--recover-epochs", type=int, metavar="N",
                          help="training afterwards (default: 3 of distill, else 0)")  # fmt: skip
    compress.add_argument("--precision", choices=PRECISIONS, default="auto",
                          help="what a pruned or distilled model is served in (default: f32)")  # fmt: skip
    compress.add_argument(
        "--student", metavar="MODEL", help="of distill (default: layers of the model itself)"
    )
    compress.add_argument("--student-layers", type=int, metavar="N", help="of distill (default: a half)")
    compress.add_argument("--temperature", type=float, default=2.0, help="of distill (default %(default)s)")
    compress.add_argument("--label-weight", type=float, default=0.5,
                          help="of distill: the labels' beside the teacher's (default %(default)s)")  # fmt: skip
    compress.add_argument("--hidden-weight", type=float, default=1.0,
                          help="of distill: of hidden states (default %(default)s)")  # fmt: skip
    compress.add_argument("--turns", type=int, default=9, help="of measuring speed (default %(default)s)")
    compress.add_argument(
        "--bootstrap", type=int, default=1000, help="samples (default %(default)s); 0: none"
    )
    compress.add_argument("--threads", type=int, help="threads that compute (default: one a core)")
    compress.add_argument("--resume", action="store_true", help="go on with the training of a killed run")
    compress.add_argument("--overwrite", action="store_true", help="what is in DIR goes")
    compress.add_argument("--json", action="store_true", help="print what a program can read")
    _data_arguments(compress)
    _settings_arguments(compress.add_argument_group("recovery"), _RECOVERY)


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    for part in _PARTS:
        group.add_argument(
            f"--{part}-column", metavar="NAME", help=f"the column of the {part} (default: found)"
        )
    group.add_argument(
        "--multi-label", nargs="?", const=",", metavar="SEPARATOR",
        help="of classify: a text has several labels: lists, or with this between them (default: a comma)",
    )  # fmt: skip
    group.add_argument("--encoding", default="utf-8", help="of text files (default %(default)s)")
    group.add_argument("--delimiter", help="of a CSV (default: comma, semicolon or tab, by its header)")


def _settings_arguments(group: Any, wanted: Sequence[str] | None = None) -> None:
    from .lifecycle.settings import PRECISIONS, SCHEDULES, TrainSettings

    told = {
        "epochs": "how often each row is seen, at most",
        "batch_size": "rows a step",
        "learning_rate": "the highest one",
        "schedule": "how the learning rate falls",
        "warmup": "share of the steps in which it rises",
        "weight_decay": "of AdamW",
        "clip": "the longest gradient",
        "seed": "of split, order, new weights and dropout",
        "precision": "auto: bf16 where the processor has instructions for it",
        "max_tokens": "cut longer texts (default 256, or what the model takes)",
        "patience": "end after so many epochs without a better validation",
        "class_weights": "balanced: rare classes weigh more",
        "checkpoint_steps": "steps between checkpoints (default: each minute)",
        "freeze_layers": "so many of the lower layers keep their weights",
        "folds": "cross-validate with so many folds first",
        "validation": "share of the rows that chooses the best epoch",
        "test": "share of the rows that measures the result",
        "lora_rank": "of generate: the size of the adapter",
        "lora_alpha": "of generate: the weight of the adapter",
    }
    choices = {"precision": PRECISIONS, "schedule": SCHEDULES, "class_weights": ("balanced",)}
    for one in fields(TrainSettings):
        if wanted is not None and one.name not in wanted:
            continue
        kind = float if "float" in str(one.type) else int if "int" in str(one.type) else str
        default = "" if one.default is None or "default" in told[one.name] else f" (default {one.default})"
        group.add_argument(
            "--" + one.name.replace("_", "-"),
            type=kind,
            default=argparse.SUPPRESS,  # so that each task has its own defaults
            choices=choices.get(one.name),
            help=told[one.name] + default,
        )


def _data_settings(options: argparse.Namespace) -> DataSettings:
    from .lifecycle.scan import DataSettings

    parts = (*_PARTS, "group", "time", "slice")
    columns = {part: getattr(options, f"{part}_column", None) for part in parts}
    return DataSettings(
        columns={part: name for part, name in columns.items() if name is not None},
        encoding=options.encoding,
        delimiter=options.delimiter,
        keep_duplicates=getattr(options, "keep_duplicates", False),
        label_separator=options.multi_label,
    )


def _task(options: argparse.Namespace) -> str:
    return (
        "multilabel" if options.task == "classify" and options.multi_label is not None else str(options.task)
    )


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _data(options: argparse.Namespace) -> int:
    from .lifecycle.inspection import inspect_files

    return _report(
        inspect_files({"train": options.data}, _task(options), _data_settings(options), keep=False), options
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

    data_settings = _data_settings(options)
    if options.base is None and options.task in _TASKS:
        raise InvalidArgumentError(f"--base is missing: `train {options.task}` begins with a model")
    if options.dry_run:
        if options.task in _PACKAGED:
            raise InvalidArgumentError(f"--dry-run: not for {options.task}")
        from .lifecycle.inspection import inspect_files

        files = {"train": options.data, "validation": options.validation_file, "test": options.test_file}
        given = {part: path for part, path in files.items() if path is not None}
        return _report(inspect_files(given, _task(options), data_settings, keep=False), options)
    from .lifecycle.training import train

    given = _given(options, [one.name for one in fields(TrainSettings)])
    settings = settings_for(options.task, from_scratch=options.base is None, **given)
    more = {name: getattr(options, name) for name in ("estimator", "min_rating", "image_size")}
    result = train(
        options.task,
        options.data,
        options.base,
        options.out,
        settings,
        validation_file=options.validation_file,
        test_file=options.test_file,
        data_settings=data_settings,
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
        data_settings=_data_settings(options),
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


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Those settings that were asked for."""
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def _compress(options: argparse.Namespace) -> int:
    from .lifecycle.compression.run import compress
    from .lifecycle.compression.settings import CompressSettings
    from .lifecycle.settings import TrainSettings

    own = [one.name for one in fields(CompressSettings) if one.name != "training"]
    training = TrainSettings(**_given(options, _RECOVERY))
    result = compress(
        options.model,
        options.data,
        options.out,
        CompressSettings(**{name: getattr(options, name) for name in own}, training=training),
        test_file=options.test_file,
        data_settings=_data_settings(options),
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
