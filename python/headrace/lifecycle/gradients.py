"""Integrated gradients by captum, of folders of transformers that classify: the gradients of the score along the way
from nothing to the input (Sundararajan, Taly, Yan, arXiv:1703.01365). The engine has no gradients, so PyTorch has the
weights; that it gives the engine's score is checked."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..attributions.explanation import Explanation
from ..attributions.jobs import label_of, pixels_of
from ..errors import InternalError, InvalidArgumentError
from ..tasks.images import decode_all
from . import bases

if TYPE_CHECKING:
    from ..loaded_model import Model

TOLERANCE = 0.01  # of completeness: what the steps may leave, of max(|change of the score|, 0.1)
_SAME_SCORE = 0.02  # between the engine, which may round its weights, and PyTorch
_FIRST_STEPS, _BATCH = 32, 16


def integrated_gradients(
    model: Model, text: Any = None, *, image: Any = None, target: Any = None, max_steps: int = 256
) -> Explanation:
    """The attributions of a text's tokens (against padding) or of a picture's pixels (against its mean colour).

    The number of steps doubles, up to `max_steps`, until the attributions add up to the change of the score within
    TOLERANCE; `gap` says what is left.

    Raises:
        InvalidArgumentError: a model of another kind; more steps are needed than are allowed.
        ImportError: PyTorch, transformers or captum is missing.
        InternalError: PyTorch does not give the engine's score.
    """
    try:
        attr = import_module("captum.attr")
    except ImportError:
        raise ImportError("integrated gradients need captum: pip install 'headrace[train]'") from None
    folder = Path(model.info.path)
    if model.info.task != "classify" or not (folder / "config.json").is_file():
        raise InvalidArgumentError(
            f"integrated_gradients: {model.name} is no folder of transformers that classifies: take shap or occlusion"
        )
    if (text is None) == (image is None):
        raise InvalidArgumentError("explain: give a text, or image=, one of the two")
    given: Any = {"images": image} if image is not None else {"texts": text}
    [labels] = model.classify(**given)
    label = label_of(target, labels)
    score = next(found.score for found in labels if found.label == label)
    run = _picture if image is not None else _text
    return run(attr, model, folder, text if image is None else image, (label, score), max_steps)


def _head(model: Model, kind: str, folder: Path, label: str) -> tuple[Any, Callable[[Any], Any]]:
    """The model in PyTorch, and what makes the label's score of its logits."""
    place = list(model.info.labels).index(label)
    activation = model.info.activation

    def score(logits: Any) -> Any:
        if activation == "softmax":
            return logits.softmax(dim=1)[:, place]
        return logits.sigmoid()[:, place] if activation == "sigmoid" else logits[:, place]

    return bases.load_model(kind, folder).eval(), score


def _complete(
    attribute: Callable[[int], tuple[Any, float]], change: float, max_steps: int
) -> tuple[Any, int]:
    """The attributions, with as many steps as completeness takes."""
    steps = min(_FIRST_STEPS, max_steps)
    while True:
        found, total = attribute(steps)
        gap = abs(total - change)
        if gap <= TOLERANCE * max(abs(change), 0.1):
            return found, steps
        if 2 * steps > max_steps:
            raise InvalidArgumentError(
                f"integrated_gradients: with {steps} steps the attributions miss the score's change of {change:+.4f} "
                f"by {gap:.4f}: give more max_evaluations"
            )
        steps *= 2


def _check(found: float, expected: float, name: str) -> None:
    if abs(found - expected) > _SAME_SCORE * max(1.0, abs(expected)):
        raise InternalError(
            f"{name}: PyTorch gives {found:.4f} and the engine {expected:.4f} for the same input"
        )


def _text(
    attr: Any, model: Model, folder: Path, text: str, wanted: tuple[str, float], max_steps: int
) -> Explanation:
    import torch

    net, score = _head(model, "AutoModelForSequenceClassification", folder, wanted[0])
    encoding = model.tokenizer.encode(text)
    ids = torch.tensor([list(encoding.ids)])
    own = [i for i, (start, end) in enumerate(encoding.offsets) if end > start]
    if not own:
        raise InvalidArgumentError("explain: the text has no tokens")
    nothing = ids.clone()
    nothing[0, own] = net.config.pad_token_id or 0

    def forward(tokens: Any) -> Any:
        return score(net(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits)

    with torch.no_grad():
        value, base = float(forward(ids)), float(forward(nothing))
    _check(value, wanted[1], model.name)
    method = attr.LayerIntegratedGradients(forward, net.get_input_embeddings())

    def attribute(steps: int) -> tuple[Any, float]:
        found = method.attribute(ids, nothing, n_steps=steps, internal_batch_size=_BATCH)
        tokens = found[0].sum(dim=1).detach().double()
        return tokens, float(tokens.sum())

    found, steps = _complete(attribute, value - base, max_steps)
    # What is not of the text (its first and last token) is the same in both inputs, so it has no share.
    return Explanation(
        kind="text", target=wanted[0], method="integrated_gradients",
        names=[text[slice(*encoding.offsets[i])] for i in own],
        attributions=found[own].numpy(), value=value, baseline_value=base, evaluations=steps,
        baseline="padding", text=text, spans=[encoding.offsets[i] for i in own],
    )  # fmt: skip


def _picture(
    attr: Any, model: Model, folder: Path, image: Any, wanted: tuple[str, float], max_steps: int
) -> Explanation:
    import numpy as np
    import torch

    net, score = _head(model, "AutoModelForImageClassification", folder, wanted[0])
    [planes] = decode_all([image], model)
    pixels = torch.from_numpy(np.ascontiguousarray(planes))[None]
    nothing = pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels).contiguous()

    def forward(values: Any) -> Any:
        return score(net(pixel_values=values).logits)

    with torch.no_grad():
        value, base = float(forward(pixels)), float(forward(nothing))
    _check(value, wanted[1], model.name)
    method = attr.IntegratedGradients(forward)

    def attribute(steps: int) -> tuple[Any, float]:
        found = method.attribute(pixels, nothing, n_steps=steps, internal_batch_size=_BATCH)
        heat = found[0].sum(dim=0).detach().double()
        return heat, float(heat.sum())

    found, steps = _complete(attribute, value - base, max_steps)
    height, width = found.shape
    return Explanation(
        kind="image", target=wanted[0], method="integrated_gradients",
        names=[f"{y}, {x}" for y in range(height) for x in range(width)],
        attributions=found.reshape(-1).numpy(), value=value, baseline_value=base, evaluations=steps,
        baseline="the mean colour", picture=pixels_of(planes, folder),
        groups=np.arange(height * width).reshape(height, width),
    )  # fmt: skip
