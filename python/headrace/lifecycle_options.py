"""What `headrace data`, `train`, `evaluate` and `compress` can be told of files and of training, by task."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .lifecycle.scan import DataSettings

TEXT_TASKS = ("classify", "tag", "embed", "rerank", "generate")
PACKAGED = ("tabular", "recommend", "image")
# The parts of a row by task; each option stands with the first task that has it.
_COLUMNS = {
    "classify": ("text", "label"),
    "tag": ("tokens", "tags"),
    "embed": ("anchor", "positive", "negative"),
    "rerank": ("query", "document", "label"),
    "generate": ("text", "prompt"),
    "tabular": ("label",),
    "recommend": ("user", "item", "rating", "when"),
    "image": ("path", "label"),
}
_SETTINGS = {
    "epochs": "how often each row is seen, at most",
    "batch_size": "rows a step",
    "learning_rate": "the highest one",
    "schedule": "how the learning rate falls",
    "warmup": "share of the steps in which it rises",
    "weight_decay": "of AdamW",
    "clip": "the longest gradient",
    "seed": "of split, order, new weights and dropout",
    "precision": "auto: bf16 where the processor is faster in it, else f32",
    "max_tokens": "cut longer texts (default 256, or what the model takes)",
    "patience": "end after so many epochs without a better validation",
    "class_weights": "balanced: rare classes weigh more",
    "checkpoint_steps": "steps between checkpoints (default: each minute)",
    "freeze_layers": "so many of the lower layers keep their weights",
    "folds": "cross-validate with so many folds first",
    "validation": "share of the rows that chooses the best epoch",
    "test": "share of the rows that measures the result",
    "lora_rank": "the size of the adapter",
    "lora_alpha": "the weight of the adapter",
}

Groups = dict[str, Any]


def add_data(parser: argparse.ArgumentParser, tasks: Sequence[str]) -> Groups:
    """The options of files, and a group for each of the tasks with the columns that are its own: task -> group."""
    data = parser.add_argument_group("data")
    data.add_argument("--encoding", default="utf-8", help="of text files (default %(default)s)")
    data.add_argument("--delimiter", help="of a CSV (default: comma, semicolon or tab, by its header)")
    groups: Groups = {"data": data}
    seen: set[str] = set()
    for task in tasks:
        own = [part for part in _COLUMNS[task] if part not in seen]
        others = [f"--{part}-column" for part in _COLUMNS[task] if part in seen]
        told = "columns are found by their usual names, or named:"
        if others:
            told = f"as above: {', '.join(others)}" + ("; and:" if own else "")
        groups[task] = parser.add_argument_group(f"of {task}", told)
        for part in own:
            users = [other for other in tasks if part in _COLUMNS[other] and other != task]
            more = f" (of {', '.join(users)} too)" if users else ""
            groups[task].add_argument(
                f"--{part}-column", metavar="NAME", help=f"the column of the {part}{more}"
            )
        seen |= set(own)
    if "classify" in groups:
        groups["classify"].add_argument(
            "--multi-label", nargs="?", const=",", metavar="SEPARATOR",
            help="a text has several labels: lists, or with this between them (default: a comma)",
        )  # fmt: skip
    return groups


def add_settings(
    group: Any, names: Iterable[str] | None = None, others: Mapping[str, Any] | None = None
) -> None:
    """The fields of TrainSettings, or those of these names; `others` says which of them have another group."""
    from .lifecycle.settings import PRECISIONS, SCHEDULES, TrainSettings

    choices = {"precision": PRECISIONS, "schedule": SCHEDULES, "class_weights": ("balanced",)}
    for one in fields(TrainSettings):
        if names is not None and one.name not in names:
            continue
        kind = float if "float" in str(one.type) else int if "int" in str(one.type) else str
        told = _SETTINGS[one.name]
        default = "" if one.default is None or "default" in told else f" (default {one.default})"
        (others or {}).get(one.name, group).add_argument(
            "--" + one.name.replace("_", "-"),
            type=kind,
            default=argparse.SUPPRESS,  # so that each task has its own defaults
            choices=choices.get(one.name),
            help=told + default,
        )


def data_settings(options: argparse.Namespace) -> DataSettings:
    """What the options say of the files."""
    from .lifecycle.scan import DataSettings

    parts = (*dict.fromkeys(part for parts in _COLUMNS.values() for part in parts), "group", "time", "slice")
    columns = {part: getattr(options, f"{part}_column", None) for part in parts}
    return DataSettings(
        columns={part: name for part, name in columns.items() if name is not None},
        encoding=options.encoding,
        delimiter=options.delimiter,
        keep_duplicates=getattr(options, "keep_duplicates", False),
        label_separator=options.multi_label,
    )


def given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those settings that were asked for."""
    return {name: getattr(options, name) for name in names if hasattr(options, name)}
