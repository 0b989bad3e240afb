"""Bytes that models take, held under a budget: what they are counted at, and how a load gets its place."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgumentError, OverloadedError, UnsupportedError

if TYPE_CHECKING:
    from . import _core
    from .language_options import LanguageOptions

# Bytes of a number in a matrix, by precision, where the processor has what each needs.
_WIDTHS = {"bf16": 2.0, "int8": 1.0, "q8": 1.07, "q4": 0.57}
_FLOAT = 4
HAVE_BF16 = ("amx", "avx512_bf16")  # tables that multiply it
_CACHE_BYTES = 2 << 30  # of keys and values, unless a number of tokens is asked for
_CACHE_SEQUENCES = 64
_MAX_HEADER = 100 << 20
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_UNITS["ti"] = 1 << 40
_POLL_SECONDS = 0.01  # how often a load looks for a model that nobody uses any more


def parse_bytes(text: str) -> int:
    """`text` in bytes: a number with B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024).

    Raises InvalidArgumentError.

    >>> from headrace.memory import parse_bytes
    >>> parse_bytes("4GiB"), parse_bytes("1.5 GB"), parse_bytes("300000000")
    (4294967296, 1500000000, 300000000)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?i?)b?", text.strip().lower())
    if found is None or found[2] not in _UNITS or float(found[1]) <= 0:
        raise InvalidArgumentError(f"{text!r}: must be a number of bytes above 0, such as 4GiB or 500MB")
    return int(float(found[1]) * _UNITS[found[2]])


def show_bytes(size: int) -> str:
    """For messages: three figures and a unit of 1024.

    >>> from headrace.memory import show_bytes
    >>> show_bytes(4 << 30), show_bytes(155136)
    ('4 GiB', '152 KiB')
    """
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


class MemoryBudget:
    """What models take in bytes, by a key for each load. With a `limit` the sum never goes beyond it, except for
    what a first load turns out to need above its estimate, until it is unloaded again. Thread-safe."""

    def __init__(self, limit: int | None) -> None:
        if limit is not None and limit < 1:
            raise InvalidArgumentError(f"memory_budget={limit}: must be a number of bytes above 0, or None")
        self.limit = limit
        self._taken: dict[str, int] = {}
        self._leaving: set[str] = set()
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        with self._changed:
            return sum(self._taken.values())

    def check(self, size: int, name: str) -> None:
        """UnsupportedError, of the code "model_too_large", for what does not fit even alone."""
        if self.limit is not None and size > self.limit:
            error = UnsupportedError(
                f"model {name!r} takes about {show_bytes(size)}, more than the whole memory budget of "
                f"{show_bytes(self.limit)}: raise memory_budget, or load it in another precision"
            )
            error.code = "model_too_large"
            raise error

    def take(self, key: str, size: int, name: str, make_room: Callable[[], bool], seconds: float) -> None:
        """Counts `size` bytes for `key` as soon as they fit.

        `make_room` begins to unload a model that nobody uses, if there is one. OverloadedError, of the code
        "memory_busy", when the others are in use for `seconds`; UnsupportedError as `check`.
        """
        self.check(size, name)
        end = time.monotonic() + seconds
        while True:
            with self._changed:
                if self._over(size) <= 0:
                    self._taken[key] = size
                    return
                is_enough = self._over(size) <= sum(self._taken[key] for key in self._leaving)
                if is_enough:  # it only has to be given back
                    self._changed.wait(_POLL_SECONDS)
            if not is_enough and not make_room():
                with self._changed:
                    self._changed.wait(_POLL_SECONDS)
            if time.monotonic() > end:
                error = OverloadedError(
                    f"model {name!r} cannot be loaded now: it takes about {show_bytes(size)}, and models in use take "
                    f"{show_bytes(self.used)} of the memory budget of {show_bytes(self.limit or 0)}: try again"
                )
                error.code, error.retry_after = "memory_busy", 1.0
                raise error

    def _over(self, size: int) -> int:
        return 0 if self.limit is None else sum(self._taken.values()) + size - self.limit

    def correct(self, key: str, size: int, name: str, make_room: Callable[[], bool], seconds: float) -> None:
        """What `key` turned out to be: further models are unloaded if it is more. Raises what `take` raises, and it is
        counted until it is given back."""
        with self._changed:
            before, self._taken[key] = self._taken[key], size
            if self._over(0) <= 0:
                return
            self._taken[key] = before
        self.check(size, name)
        extra = f"{key}/more"  # no key of a load has a slash
        self.take(extra, size - before, name, make_room, seconds)
        with self._changed:
            self._taken[key] += self._taken.pop(extra)

    def leave(self, key: str) -> None:
        """It is about to be given back."""
        with self._changed:
            if key in self._taken:
                self._leaving.add(key)

    def give_back(self, key: str) -> None:
        with self._changed:
            self._taken.pop(key, None)
            self._leaving.discard(key)
            self._changed.notify_all()


def estimate_bytes(
    model: Path,
    files: Mapping[str, _core.MemoryFile] | None,
    precision: str,
    language: LanguageOptions | None = None,
) -> int:
    """About what a model will take, told by its files before they are read: weights, and the cache of keys and values
    of one that writes text. What cannot be read is left to be refused by whoever loads it.

    Args:
        files: those of a sealed model.
        precision: of its matrices.
        language: of a language model: how many tokens its cache is asked to hold, and what in.
    """
    if language is not None and precision == "auto":
        precision = "bf16"  # whatever the processor
    size = sum(_weights(path, files, precision) for path in _weight_files(model, files))
    if language is not None:
        kv = language.kv
        if kv == "auto":
            kv = "f32" if precision == "f32" else "bf16"
        size += _cache(model, files, language.cache_tokens, _WIDTHS.get(kv, _FLOAT))
    return int(size)


def _weight_files(model: Path, files: Mapping[str, _core.MemoryFile] | None) -> list[Path]:
    kinds = (".safetensors", ".gguf")
    if files is not None:
        return [model / name for name in files if name.endswith(kinds)]
    if model.is_file():
        return [model]
    here = [path for kind in kinds for path in sorted(model.glob(f"*{kind}"))]
    # sentence-transformers may keep the encoder in a folder of its own.
    return here or [path for kind in kinds for path in sorted(model.glob(f"*/*{kind}"))]


def _weights(path: Path, files: Mapping[str, _core.MemoryFile] | None, precision: str) -> float:
    held = None if files is None else next((f for name, f in files.items() if str(path).endswith(name)), None)
    try:
        if path.suffix == ".gguf":  # kept in the groups that the file has
            return (path.stat().st_size if held is None else len(held.view())) * 1.05
        if held is not None:
            view = held.view()
            end = 8 + int.from_bytes(view[:8], "little")
            header = json.loads(bytes(view[8:end]))
        else:
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > _MAX_HEADER:
                    return 0
                header = json.loads(file.read(length))
        return sum(
            _tensor(name, entry["shape"], precision)
            for name, entry in header.items()
            if name != "__metadata__"
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0


def _width(precision: str) -> float:
    """Bytes of a number in a matrix with the kernels in use, some of which keep wider ones than they are asked for."""
    from ._core import isa

    table = isa()
    if precision == "auto":
        precision = "bf16" if table in HAVE_BF16 else "f32"
    if table == "reference" and precision in ("bf16", "int8"):
        return _FLOAT
    if precision == "int8" and table in ("avx2", "avx512"):  # no VNNI: numbers of 16 bits
        return 2.0
    return _WIDTHS.get(precision, _FLOAT)


def _tensor(name: str, shape: list[int], precision: str) -> float:
    count = 1
    for length in shape:
        count *= int(length)
    is_packed = len(shape) == 2 and "embed" not in name
    return count * (_width(precision) if is_packed else _FLOAT)


def _cache(
    model: Path, files: Mapping[str, _core.MemoryFile] | None, cache_tokens: int | None, number: float
) -> int:
    try:
        held = None if files is None else files["config.json"]
        text = (model / "config.json").read_bytes() if held is None else bytes(held.view())
        config: dict[str, Any] = json.loads(text)
        heads = int(config["num_attention_heads"])
        width = int(config.get("head_dim") or config["hidden_size"] // heads)
        rows = int(config["num_hidden_layers"]) * int(config.get("num_key_value_heads") or heads)
        a_token = int(rows * width * 2 * number)
        longest = int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError):
        return _CACHE_BYTES
    if cache_tokens is not None:
        return a_token * cache_tokens
    return min(_CACHE_BYTES, a_token * longest * _CACHE_SEQUENCES)
