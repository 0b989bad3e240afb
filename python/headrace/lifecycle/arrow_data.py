"""Columns of Parquet and Arrow files and of folders that the library `datasets` saved, which need pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import CorruptFileError, InvalidArgumentError, UnsupportedError

Columns = dict[str, list[Any]]


def read_columns(path: Path, kind: str, rows: int) -> Iterator[Columns]:
    """The file's columns, at most `rows` of each at a time. Classes that `datasets` counts come by their names.

    Raises CorruptFileError, UnsupportedError, ImportError (pyarrow is missing).
    """
    try:
        import pyarrow
    except ImportError:
        raise ImportError("Parquet and Arrow files need pyarrow: pip install 'headrace[train]'") from None
    try:
        for batch in _parquet(path, rows) if kind == "parquet" else _batches(_files(path, kind)):
            names = _class_names(batch.schema)
            for begin in range(0, batch.num_rows, rows):
                part = batch.slice(begin, rows)
                yield {
                    name: _named(part.column(name).to_pylist(), names.get(name)) for name in part.schema.names
                }
    except pyarrow.ArrowException as error:
        raise CorruptFileError(f"{path.name}: {error}") from None


def _parquet(path: Path, rows: int) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=rows):
            yield batch.replace_schema_metadata(file.schema_arrow.metadata)


def _files(path: Path, kind: str) -> list[Path]:
    if kind != "datasets":
        return [path]
    if not (path / "state.json").is_file():
        splits = sorted(found.parent.name for found in path.glob("*/state.json"))
        raise InvalidArgumentError(f"{path}: a folder of several splits; give one: {', '.join(splits)}")
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    if state.get("_indices_data_files"):
        raise UnsupportedError(f"{path}: rows chosen by indices; save it after `flatten_indices()`")
    return [path / item["filename"] for item in state["_data_files"]]


def _batches(files: list[Path]) -> Iterator[Any]:
    import pyarrow

    for one in files:
        with pyarrow.memory_map(str(one)) as source:
            try:
                reader = pyarrow.ipc.open_file(source)
                yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
            except pyarrow.ArrowInvalid:  # the format of streams, which `datasets` writes
                source.seek(0)
                yield from pyarrow.ipc.open_stream(source)


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Column -> names of its classes, from what `datasets` writes into a schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    found: dict[str, list[str]] = {}
    for name, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and inner.get("names"):
            found[name] = inner["names"]
    return found


def _named(values: list[Any], names: list[str] | None) -> list[Any]:
    if names is None:
        return values

    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(item) for item in value]
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else None

    return [name(value) for value in values]
