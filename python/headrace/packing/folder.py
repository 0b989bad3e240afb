"""A servable folder: headrace.toml, golden answers, the model card, checksums."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..predict.checksums import write_sums
from ..predict.function import BatchOptions
from ..predict.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from .examples import Arrays

_GOLDEN_ROWS = 16
_BATCH = BatchOptions()


@dataclass(frozen=True)
class About:
    """What the folder says of the model beside its tensors."""

    name: str
    runtime: str
    file: str
    made_with: str
    is_code: bool = False
    labels: Sequence[str] = ()
    licence: str | None = None
    description: str | None = None
    batch: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-5


def _value(value: Any) -> str:
    """As TOML has it; JSON's texts are TOML's."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _table(spec: TensorSpec) -> list[str]:
    lines = [
        f"dtype = {_value(spec.dtype)}",
        f"shape = {_value(['?' if size is None else size for size in spec.shape])}",
    ]
    said = {
        "low": spec.low,
        "high": spec.high,
        "pad": spec.pad,
        "mask_of": spec.mask_of,
        "cut_to": spec.cut_to,
    }
    lines += [f"{name} = {_value(value)}" for name, value in said.items() if value is not None]
    if spec.nan != "refuse":
        lines.append(f"nan = {_value(spec.nan)}")
    return lines


def write_manifest(folder: Path, about: About, signature: Signature) -> None:
    """headrace.toml."""
    lines = [f"runtime = {_value(about.runtime)}", f"model = {_value(about.file)}"]
    if about.is_code:
        lines.append("trusted = true # its file is code: keep this only if you know where it is from")
    if about.licence:
        lines.append(f"licence = {_value(about.licence)}")
    if about.labels:
        lines.append(f"labels = {_value(list(about.labels))}")
    for kind, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for spec in specs:
            lines += ["", f"[{kind}.{_value(spec.name)}]", *_table(spec)]
    if about.batch:
        lines += ["", "[batch]", *(f"{name} = {_value(value)}" for name, value in about.batch.items())]
    lines += ["", "[gate]", 'golden = "golden.json"', f"max_difference = {about.tolerance!r}"]
    (folder / "headrace.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_golden(folder: Path, inputs: Arrays, outputs: Arrays) -> None:
    """golden.json: some examples with the framework's answers, which no version of the model may give up."""
    rows = min(_GOLDEN_ROWS, len(next(iter(inputs.values()))))

    def items(arrays: Arrays) -> list[dict[str, Any]]:
        return [{name: array[i].tolist() if array.ndim > 1 else array[i : i + 1].tolist()[0]
                 for name, array in arrays.items()} for i in range(rows)]  # fmt: skip

    found = {"task": "predict", "inputs": items(inputs), "answers": items(outputs)}
    (folder / "golden.json").write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def write_card(
    folder: Path, about: About, signature: Signature, difference: float, notes: Sequence[str]
) -> None:
    """README.md, the model card."""
    item = {spec.name: "..." for spec in signature.inputs}
    lines = [
        f"# {about.name}",
        "",
        about.description
        or "What it is for, what it was trained on and what it must not be used for: say it here.",
        "",
        f"- made with {about.made_with}",
        f"- runs in {about.runtime}, from `{about.file}`",
        f"- licence: {about.licence or 'not stated'}",
        f"- the answers differ from the framework's by at most {difference:.1e} (of max(1, value))",
        *(f"- {note}" for note in notes),
        "",
        "| tensor | of one item | range |",
        "|---|---|---|",
    ]
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            low, high = ("any" if end is None else f"{end:.10g}" for end in (spec.low, spec.high))
            reach = f"{low} to {high}" if kind == "input" else ""
            lines.append(f"| {kind} `{spec.name}` | `{spec}` | {reach} |")
    if about.labels:
        lines += ["", "Labels: " + ", ".join(f"{i} {label}" for i, label in enumerate(about.labels))]
    lines += [
        "",
        "    headrace serve .",
        "    curl http://127.0.0.1:8000/v1/predict -H 'content-type: application/json' \\",
        f"         -d '{json.dumps({'model': about.name, 'input': item}, ensure_ascii=False)}'",
        "",
        "`golden.json` has examples with the framework's answers; each start checks them. `sha256sum -c SHA256SUMS` "
        "checks the files.",
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def finish(folder: Path) -> None:
    """Checksums, last: they are of everything else."""
    write_sums(folder)
