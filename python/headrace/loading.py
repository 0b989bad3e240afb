"""From what stands on the command line to models in an engine: names, and a thread that loads.

A MODEL is `demo:minilm` (named `minilm`), a folder (named as the folder) or NAME=either.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import InvalidArgumentError
from .repository import default_name

if TYPE_CHECKING:
    from .engine import Engine

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def parse_models(arguments: Sequence[str]) -> dict[str, str]:
    """Name -> path for each argument; InvalidArgumentError for a bad or repeated name.

    >>> parse_models(["demo:minilm", "models/e5-small", "mine=models/v3"])
    {'minilm': 'demo:minilm', 'e5-small': 'models/e5-small', 'mine': 'models/v3'}
    """
    models: dict[str, str] = {}
    for argument in arguments or ["demo:minilm"]:
        name, equals, path = argument.partition("=")
        if not equals:
            path, name = argument, default_name(argument)
        if not _NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"model name {name!r}: must be at most 128 of letters, digits and '._-'; say NAME={path}"
            )
        if name in models:
            raise InvalidArgumentError(f"two models are named {name!r}: give one another name by NAME={path}")
        models[name] = path
    return models


class ModelLoader(threading.Thread):
    """Adds models to the engine, one after another, while its starter imports a web framework.

    `waiting` holds the names not there yet; `error` is what ended the loading early, or None.
    """

    def __init__(self, engine: Engine, models: dict[str, str], *, precision: str = "auto") -> None:
        super().__init__(name="headrace-load", daemon=True)
        self._engine = engine
        self._models = models
        self._precision = precision
        self.waiting = set(models)
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for name, path in self._models.items():
                self._engine.add(name, path, precision=self._precision)
                self.waiting.discard(name)
        except BaseException as error:
            self.error = error
