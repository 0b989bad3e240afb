"""An adapter and its base as one model, to compress it or to serve it alone."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

from ..errors import InvalidArgumentError, ModelNotFoundError
from . import bases, lineage


def merge_adapter(base: str | Path, adapter: str | Path, out: str | Path) -> Path:
    """Writes the language model that `base` with a low-rank adapter is, in f32, as a folder of its own.

    Args:
        base: what the adapter was trained on: a folder, a GGUF or a demo model.
        adapter: the folder that `train("generate", ...)` or the library `peft` wrote.
        out: a folder, which is made. It remembers which rows the adapter was trained on, so that `evaluate` and
            `compress` measure with those that were held out.

    Returns `out`. Raises InvalidArgumentError (a folder that is not empty, another base), ModelNotFoundError (no
    adapter), ImportError (PyTorch or peft is missing).

    >>> merge_adapter("demo:smollm2", "tuned", "tuned-whole")  # doctest: +SKIP
    """
    bases.transformers()
    import peft

    source, place = Path(adapter).expanduser(), Path(out)
    if not (source / "adapter_config.json").is_file():
        raise ModelNotFoundError(f"{adapter}: no adapter_config.json in it: not an adapter")
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InvalidArgumentError(f"{out}: is not empty; give a folder to make")
    folder = bases.base_folder(base)
    record = lineage.read(source)
    if record is not None and record["base"]["sha256"] != lineage.base_hash(folder):
        raise InvalidArgumentError(
            f"{adapter}: it was trained on {record['base']['name']}, whose weights are others than those of {base}"
        )
    model = bases.load_model("AutoModelForCausalLM", folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what peft asks transformers
        whole = peft.PeftModel.from_pretrained(model, str(source)).merge_and_unload()
    place.mkdir(parents=True, exist_ok=True)
    bases.save_model(whole, place)
    bases.save_tokenizer(folder, place, bases.load_tokenizer(folder))
    bases.write_manifest(place, "generate")
    for name in (lineage.NAME, lineage.ROWS):
        if (source / name).is_file():
            shutil.copyfile(source / name, place / name)
    return place
