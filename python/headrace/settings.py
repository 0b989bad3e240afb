"""Where a server's settings come from: defaults, then a TOML file, then the environment, then flags; the last one wins.

    # server.toml, for `headrace serve --config server.toml`
    port = 9000
    require_keys = true
    models = ["demo:minilm", "chat=models/llama.gguf"]

Each option of `headrace serve` has its name there, and in the environment as HEADRACE_PORT, HEADRACE_REQUIRE_KEYS, ...
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import InvalidArgumentError

PREFIX = "HEADRACE_"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Settings:
    """Values for a parser's options from a file and the environment, with where each is from."""

    def __init__(
        self, parser: argparse.ArgumentParser, file: str | None, environment: Mapping[str, str]
    ) -> None:
        self.origins: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        actions = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
        if file is not None:
            for name, value in read_toml(file).items():
                action = actions.get(name.replace("-", "_"))
                if action is None:
                    known = ", ".join(sorted(actions))
                    raise InvalidArgumentError(f"{file}: {name!r} is not a setting: known are {known}")
                self._set(action, value, file, name)
        for dest, action in actions.items():
            text = environment.get(PREFIX + dest.upper())
            if text is not None:
                self._set(action, text, PREFIX + dest.upper(), PREFIX + dest.upper())

    def _set(self, action: argparse.Action, value: Any, origin: str, name: str) -> None:
        self.values[action.dest] = _converted(action, value, name)
        self.origins[action.dest] = origin


def _converted(action: argparse.Action, value: Any, name: str) -> Any:
    def wrong(allowed: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"{name}={value!r}: must be {allowed}")

    if action.nargs == 0:  # a flag
        if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        if not isinstance(value, bool):
            raise wrong("true or false")
        return value
    if action.nargs == "*" or isinstance(action, argparse._AppendAction):
        items = value.split() if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise wrong("a list of texts")
        return items
    if isinstance(value, (list, dict, bool)) or not isinstance(value, (str, int, float)):
        raise wrong("a text or a number")
    try:
        found = action.type(str(value)) if callable(action.type) else str(value)
    except argparse.ArgumentTypeError as error:
        raise InvalidArgumentError(f"{name}: {error}") from None
    except ValueError:
        raise wrong(f"a {getattr(action.type, '__name__', 'value')}") from None
    if action.choices is not None and found not in action.choices:
        raise wrong(f"one of {', '.join(map(str, action.choices))}")
    return found


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as a dict. InvalidArgumentError when it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InvalidArgumentError(f"{path}: not TOML: {error}") from None
    return parse_toml(text, path)


def parse_toml(text: str, path: str | Path) -> dict[str, Any]:
    """The same of what is in `path`."""
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        tomllib = importlib.import_module(name)
    except ModuleNotFoundError:
        raise InvalidArgumentError(f"TOML files need {name}: run: pip install 'headrace[serve]'") from None
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{path}: not TOML: {error}") from None
    return found
