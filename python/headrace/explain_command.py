"""`headrace explain`: why a model answered so."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import inputs
from .errors import InvalidArgumentError

_HELP = """\
examples:
  headrace explain path/to/classifier --text "The battery lasts a whole day."         coloured in a terminal
  headrace explain path/to/classifier --text "..." --target negative --method integrated_gradients
  headrace explain path/to/tagger --text "Maria runs the mill in Paris." --entity 1
  headrace explain path/to/vit --image mill.jpg --html why.html
  headrace explain models/churn --input '{"age": 31, "country": "FR"}' --json
  headrace explain models/churn --data churn.csv --html importance.html        what it looks at, over held-out rows
Attributions are measured in the engine: some pieces of the input are left out, and the answers compared.
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `command(name, run, text, epilog)` makes its parser."""
    from .attributions.explanation import MAX_EVALUATIONS

    explain = command("explain", _run, "Say what in an input made a model answer so.", _HELP)
    explain.add_argument("model", metavar="MODEL", help="folder, demo model, or FILE.py:NAME")
    what = explain.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="a text to classify or tag, or for a function")
    what.add_argument("--image", metavar="FILE", help="a picture to classify")
    what.add_argument("--input", metavar="JSON", help="an item, as predict takes it")
    what.add_argument("--data", metavar="FILE", help="rows: the importance of each feature over them")
    explain.add_argument("--target", help="the label or output to explain (default: the best)")
    explain.add_argument(
        "--method", choices=["auto", "shap", "occlusion", "integrated_gradients"], default="auto",
        help="auto: shap, or where that needs too many evaluations occlusion (default %(default)s)",
    )  # fmt: skip
    explain.add_argument(
        "--max-evaluations", type=int, default=MAX_EVALUATIONS,
        help="how often the model may be asked (default %(default)s)",
    )  # fmt: skip
    explain.add_argument("--segments", type=int, help="so many pieces at most")
    explain.add_argument("--baseline", metavar="JSON", help="the item that stands for nothing")
    explain.add_argument("--entity", type=int, default=0, help="of a tagger: which one, from 0")
    explain.add_argument("--label-column", metavar="NAME", help="of --data")
    explain.add_argument(
        "--rows", choices=["auto", "all", "train", "validation", "test"], default="auto", help="of --data"
    )
    explain.add_argument("--repeats", type=int, default=5, help="of --data (default %(default)s)")
    explain.add_argument("--max-rows", type=int, default=1000, help="of --data (default %(default)s)")
    explain.add_argument("--seed", type=int, default=0)
    explain.add_argument("--threads", type=int, help="threads that compute (default: one a core)")
    inputs.add_precision(explain)
    explain.add_argument("--html", metavar="FILE", help="write a page with the picture of it")
    explain.add_argument("--colour", choices=["auto", "always", "never"], default="auto")
    explain.add_argument("--json", action="store_true", help="print what a program can read")


def _json(option: str, text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{option}: not JSON: {error}") from None


def _run(options: argparse.Namespace) -> int:
    from .engine import load
    from .lifecycle.explaining import explain, importance

    with load(options.model, threads=options.threads, precision=options.precision) as model:
        found: Any
        if options.data is not None:
            found = importance(
                model, options.data, label_column=options.label_column, rows=options.rows,
                max_rows=options.max_rows, repeats=options.repeats, seed=options.seed,
            )  # fmt: skip
        else:
            item = _json("--input", options.input) if options.input is not None else options.text
            target = options.target
            if target is not None and target.isdigit() and target not in model.info.labels:
                target = int(target)
            more: dict[str, Any] = {"segments": options.segments, "seed": options.seed}
            more |= {"baseline": _json("--baseline", options.baseline), "entity": options.entity}
            if options.method == "integrated_gradients":
                more = {}
            found = explain(
                model, item, image=options.image, target=target, method=options.method,
                max_evaluations=options.max_evaluations, **more,
            )  # fmt: skip
    if options.html is not None:
        found.write_html(Path(options.html))
    if options.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
    elif options.data is None and (
        options.colour == "always" or (options.colour == "auto" and sys.stdout.isatty())
    ):
        print(found.coloured())
    else:
        print(found)
    return 0
