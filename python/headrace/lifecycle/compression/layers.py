"""prune-layers: the least important layers go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .importance import layer_scores
from .settings import CompressSettings
from .structure import kept_count, layers_of, set_layers, structure_of


def prune(recipe: Any, settings: CompressSettings) -> dict[str, Any]:
    """Takes the layers out of the recipe's model; what is to be said of it, and what config.json is to say."""
    structure = structure_of(recipe.model, settings.method)
    scores = layer_scores(recipe, settings, structure)
    kept = kept_count(len(scores), settings.removed)
    best = sorted(int(i) for i in scores.argsort()[::-1][:kept])
    if hasattr(recipe.model, "unload"):
        recipe.model = recipe.model.unload()
    keep(recipe.model, best, settings.method)
    return {"layers": {"before": len(scores), "after": kept, "kept": best}, "config": {}}


def keep(model: Any, places: Sequence[int], method: str) -> None:
    """Only these layers of the model stay, in this order."""
    import torch

    structure = structure_of(model, method)
    layers = layers_of(model, structure)
    set_layers(model, structure, torch.nn.ModuleList(layers[i] for i in places))
    for i, layer in enumerate(layers_of(model, structure)):
        attention: Any = getattr(layer, "self_attn", None)  # where language models keep their keys
        if hasattr(attention, "layer_idx"):
            attention.layer_idx = i
    types = getattr(model.config, "layer_types", None)
    setattr(model.config, structure.layers_key, len(places))
    if types is not None:
        model.config.layer_types = [types[i] for i in places]
