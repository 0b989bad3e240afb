"""The model that a training begins with, and the folder that it ends as."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .. import repository
from ..errors import InvalidArgumentError, ModelNotFoundError, UnsupportedError
from . import unpacking

# What belongs to a model's tokenizer: copied as it is, so that what is served reads texts exactly as the base did.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
DEFAULT_TOKENS = 256


def transformers() -> Any:
    """The library, quiet. Raises ImportError, which says how to install it."""
    try:
        import transformers as library
    except ImportError:
        raise ImportError("training needs PyTorch and transformers: pip install 'headrace[train]'") from None
    library.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    library.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return library


def base_folder(base: str | Path) -> Path:
    """The folder of the base model, with weights that can be trained; of a GGUF the one that it was unpacked to.

    Raises ModelNotFoundError, UnsupportedError (sealed; a GGUF that cannot be unpacked), InvalidArgumentError (no
    config.json).
    """
    folder = repository.resolve(base)
    if unpacking.file_in(folder) is not None:
        return unpacking.unpacked(folder, _TOKENIZER_FILES)
    if (folder / "sealed.json").is_file():
        raise UnsupportedError(f"{base}: sealed; `headrace unseal` it to train it")
    if not (folder / "config.json").is_file():
        raise InvalidArgumentError(f"{base}: no config.json in {folder}: not a model of Hugging Face's form")
    return folder


def load_tokenizer(folder: Path) -> Any:
    """transformers' tokenizer of a folder, which pads on the right."""
    return transformers().AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def load_model(kind: str, folder: Path, **options: Any) -> Any:
    """A model by one of transformers' auto classes, such as AutoModelForSequenceClassification, in f32.

    A head that the base does not have is new: its weights come of the seed set before.
    """
    import torch

    library = transformers()
    try:
        return getattr(library, kind).from_pretrained(
            str(folder), local_files_only=True, dtype=torch.float32, **options
        )
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"{folder}: {kind} cannot be loaded: {error}") from None


def token_limit(folder: Path, config: Any, wanted: int | None) -> int:
    """Tokens of a text in training: what is wanted, 256 by default, and never more than the model takes."""
    most = getattr(config, "max_position_embeddings", None) or DEFAULT_TOKENS
    if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
        most -= 2  # positions begin behind the padding's
    if wanted is not None and wanted > most:
        raise InvalidArgumentError(f"max_tokens={wanted}: {folder.name} takes at most {most}")
    return wanted or min(DEFAULT_TOKENS, int(most))


def save_tokenizer(folder: Path, out: Path, tokenizer: Any) -> None:
    """The base's own tokenizer files; where it has no tokenizer.json, what transformers writes."""
    if not (folder / "tokenizer.json").is_file():
        tokenizer.save_pretrained(str(out))
        return
    for name in _TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)


def save_model(model: Any, out: Path) -> None:
    """config.json and model.safetensors, which who serves the folder may read."""
    model.save_pretrained(str(out))
    for path in out.glob("*.safetensors"):  # written for their owner alone
        path.chmod((out / "config.json").stat().st_mode)


def write_manifest(out: Path, task: str, precision: str = "auto") -> None:
    """headrace.toml, by which `headrace serve` knows the task and what it is to be computed in."""
    lines = [f'task = "{task}"'] + ([] if precision == "auto" else [f'precision = "{precision}"'])
    (out / "headrace.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def set_config(out: Path, **values: Any) -> None:
    """Changes values of the folder's config.json; None takes one away."""
    path = out / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        if value is None:
            config.pop(name, None)
        else:
            config[name] = value
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
