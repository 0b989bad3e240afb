"""What of a model matters: numbers for heads, neurons and layers, from a loss on rows or from what flows through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batches import epoch_order
from .settings import CompressSettings
from .structure import Structure, layers_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Score = Callable[[int, Any, Any], Any]  # of tensors: place, input, gradient or None -> importances


def part_scores(recipe: Any, settings: CompressSettings, structure: Structure, name: str) -> NDArray[Any]:
    """float64 [layers, inputs of the linear layer `name`]: the importance of each number that goes into it.

    taylor: |sum over tokens of x dL/dx|, summed over rows. magnitude: mean |x| times the norm of the weights that take
    it. The importance of a head is the sum over its numbers, inside the absolute value in taylor: see `head_scores`.
    """
    layers = layers_of(recipe.model, structure)
    norms = [_linear(layer.get_submodule(name)).weight.detach().norm(dim=0) for layer in layers]

    def score(place: int, x: Any, gradient: Any) -> Any:
        if gradient is None:
            return x.abs().flatten(0, -2).sum(0) * norms[place]
        return (x * gradient).sum(1).abs().sum(0)

    return _collect(recipe, settings, [layer.get_submodule(name) for layer in layers], score)


def head_scores(recipe: Any, settings: CompressSettings, structure: Structure, heads: int) -> NDArray[Any]:
    """float64 [layers, heads]: as part_scores of what attention gives, head by head."""
    layers = layers_of(recipe.model, structure)
    name = structure.attended
    norms = [layer.get_submodule(name).weight.detach().norm(dim=0) for layer in layers]

    def score(place: int, x: Any, gradient: Any) -> Any:
        if gradient is None:
            return (x.abs().flatten(0, -2).sum(0) * norms[place]).unflatten(0, (heads, -1)).sum(1)
        return (x * gradient).unflatten(-1, (heads, -1)).sum((1, 3)).abs().sum(0)

    return _collect(recipe, settings, [layer.get_submodule(name) for layer in layers], score)


def layer_scores(recipe: Any, settings: CompressSettings, structure: Structure) -> NDArray[Any]:
    """float64 [layers]. taylor: |sum over tokens of (y - x) dL/dy|, summed over rows: the loss's change to first order
    if the layer gave back what it was given. magnitude: 1 - cosine of x and y, summed over tokens."""
    import torch

    layers = list(layers_of(recipe.model, structure))
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    totals = np.zeros(len(layers))

    def hook(place: int) -> Any:
        def keep(_module: Any, given: Any, named: Any, found: Any) -> None:
            x = given[0] if given else named["hidden_states"]
            y = found if isinstance(found, torch.Tensor) else found[0]
            if y.requires_grad:
                y.retain_grad()
            seen.append((place, x.detach(), y))

        return keep

    with _hooked([layer.register_forward_hook(hook(i), with_kwargs=True) for i, layer in enumerate(layers)]):
        for _ in _passes(recipe, settings):
            for i, x, y in seen:
                if y.grad is None:
                    change = (1 - torch.nn.functional.cosine_similarity(x, y, dim=-1)).sum()
                else:
                    change = ((y.detach() - x) * y.grad).sum((1, 2)).abs().sum()
                totals[i] += float(change)
            seen.clear()
    return totals


def _linear(module: Any) -> Any:
    """What peft wraps."""
    return module.get_base_layer() if hasattr(module, "get_base_layer") else module


def _collect(recipe: Any, settings: CompressSettings, modules: list[Any], score: Score) -> NDArray[Any]:
    """The sums of score(place, input, gradient) of the modules over the rows."""
    seen: list[tuple[int, torch.Tensor]] = []
    totals: dict[int, Any] = {}

    def hook(place: int) -> Any:
        def keep(_module: Any, given: Any) -> None:
            if given[0].requires_grad:
                given[0].retain_grad()
            seen.append((place, given[0]))

        return keep

    with _hooked([module.register_forward_pre_hook(hook(i)) for i, module in enumerate(modules)]):
        for _ in _passes(recipe, settings):
            for i, x in seen:
                totals[i] = totals.get(i, 0) + score(i, x.detach(), x.grad).double().numpy()
            seen.clear()
    return np.stack([totals[i] for i in range(len(modules))])


@contextmanager
def _hooked(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _passes(recipe: Any, settings: CompressSettings) -> Iterator[None]:
    """Runs the model over the rows, batch by batch, backwards too where the criterion wants it."""
    import torch

    training = settings.training
    order = epoch_order(recipe.lengths, training.batch_size, seed=training.seed, epoch=0)
    recipe.model.eval()
    done = 0
    for places in order:
        if done >= settings.importance_rows:
            break
        done += len(places)
        if settings.importance == "taylor":
            recipe.loss(places).backward()
        else:
            with torch.no_grad():
                recipe.loss(places)
        yield
        recipe.model.zero_grad(set_to_none=True)
