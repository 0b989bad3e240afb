"""prune-heads: of each layer the least important attention heads go, as many of each."""

from __future__ import annotations

from typing import Any

from .importance import head_scores
from .settings import CompressSettings
from .structure import cut, kept_count, layers_of, structure_of


def prune(recipe: Any, settings: CompressSettings) -> dict[str, Any]:
    """Cuts the heads out of the recipe's model; what is to be said of it, and what config.json is to say.

    The folder opens in the engine, which reads head_dim; transformers takes heads to make up the hidden size, and
    cannot load it.
    """
    model = recipe.model
    structure = structure_of(model, settings.method)
    heads = getattr(model.config, structure.heads_key)
    kept = kept_count(heads, settings.removed)
    scores = head_scores(recipe, settings, structure, heads)
    chosen = []
    for layer, row in zip(layers_of(model, structure), scores, strict=True):
        best = sorted(int(i) for i in row.argsort()[::-1][:kept])
        width = layer.get_submodule(structure.query).out_features // heads
        places = [head * width + i for head in best for i in range(width)]
        for name in (structure.query, structure.key, structure.value):
            cut(layer, name, places)
        cut(layer, structure.attended, places, inputs=True)
        _tell(layer, structure.query, kept, width)
        chosen.append(best)
    return {
        "heads": {"before": heads, "after": kept, "kept": chosen},
        "config": {structure.heads_key: kept, "head_dim": width},
    }


def _tell(layer: Any, query: str, heads: int, width: int) -> None:
    """The numbers that transformers' attention keeps beside its matrices."""
    attention = layer.get_submodule(query.rpartition(".")[0])
    for name, value in (
        ("num_attention_heads", heads),
        ("n_heads", heads),
        ("all_head_size", heads * width),
    ):
        if hasattr(attention, name):
            setattr(attention, name, value)
