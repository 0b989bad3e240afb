"""prune-neurons: of each feed-forward block the least important neurons go, as many of each."""

from __future__ import annotations

from typing import Any

from .importance import part_scores
from .settings import CompressSettings
from .structure import cut, kept_count, layers_of, structure_of

_UNIT = 32  # whole vectors, and whole groups of 4- and 8-bit weights


def prune(recipe: Any, settings: CompressSettings) -> dict[str, Any]:
    """Cuts the neurons out of the recipe's model; what is to be said of it, and what config.json is to say."""
    model = recipe.model
    structure = structure_of(model, settings.method)
    neurons = getattr(model.config, structure.neurons_key)
    kept = kept_count(neurons, settings.removed, unit=_UNIT)
    scores = part_scores(recipe, settings, structure, structure.down)
    if hasattr(model, "unload"):  # peft's adapter is of the sizes before: a new one recovers
        model = recipe.model = model.unload()
    for layer, row in zip(layers_of(model, structure), scores, strict=True):
        best = sorted(int(i) for i in row.argsort()[::-1][:kept])
        for name in structure.ups:
            cut(layer, name, best)
        cut(layer, structure.down, best, inputs=True)
    setattr(model.config, structure.neurons_key, kept)
    return {"neurons": {"before": neurons, "after": kept}, "config": {}}
