"""prune-weights: the smallest weights of each matrix in the layers become 0 (Han et al. 2015, arXiv:1506.02626).

The engine multiplies zeros like other numbers, so this gains no speed and no memory there; the file packs better.
"""

from __future__ import annotations

from typing import Any

from .settings import CompressSettings
from .structure import layers_of, structure_of


def prune(recipe: Any, settings: CompressSettings) -> dict[str, Any]:
    """Zeroes the weights of the recipe's model, for good: what recovers cannot bring them back."""
    import torch
    from torch.nn.utils import prune as library

    if hasattr(recipe.model, "unload"):
        recipe.model = recipe.model.unload()
    layers = layers_of(recipe.model, structure_of(recipe.model, settings.method))
    modules = [module for module in layers.modules() if isinstance(module, torch.nn.Linear)]
    for module in modules:
        library.l1_unstructured(module, "weight", amount=settings.removed)  # type: ignore[no-untyped-call]
    masks = [module.get_buffer("weight_mask") for module in modules]
    zeros, total = sum(int((mask == 0).sum()) for mask in masks), sum(mask.numel() for mask in masks)
    return {"weights": {"of": total, "zero": zeros}, "config": {}}


def finish(model: Any) -> None:
    """Makes plain weights of those that were held at zero; nothing of others."""
    from torch.nn.utils import prune as library

    for module in model.modules():
        if hasattr(module, "weight_mask"):
            library.remove(module, "weight")  # type: ignore[no-untyped-call]
