"""The training loop, the same for every task: AdamW, warm-up and schedule, clipping, autocast, early stopping,
checkpoints that a killed run goes on from exactly.

A recipe (recipes/) says what a batch is, its loss, and how good the model is; the loop knows nothing of the task.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InvalidArgumentError
from . import distributed
from .batches import epoch_order
from .checkpoints import Checkpoints, changing
from .settings import TrainSettings, learning_rate_at

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class Recipe(Protocol):
    """What the loop asks of a task. Places are those of the rows that train."""

    model: torch.nn.Module
    lengths: NDArray[
        np.int64
    ]  # tokens of each row that trains, by which batches are made of rows of like length
    metric: str  # the name, in `validate`'s answer, of what is to become better: more is better, unless it is "loss"

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        """The mean loss of a batch, with gradients."""

    def validate(self) -> dict[str, float]:
        """How good the model is on the validation rows; {} where there are none."""


@dataclass
class EpochRecord:
    """One epoch: the mean loss of its steps, the validation's figures, rows a second while it trained."""

    epoch: int
    loss: float
    validation: dict[str, float]
    rows_per_second: float


@dataclass
class History:
    """What happened: a loss for each step, a record for each epoch, and which epoch's weights were kept."""

    losses: list[float] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    resumed_at: int | None = None
    stopped_early: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON; losses with 6 digits."""
        return {**asdict(self), "losses": [round(loss, 6) for loss in self.losses]}


Watcher = Callable[[int, int, History], None]


def fit(
    recipe: Recipe,
    settings: TrainSettings,
    *,
    checkpoints: Path | None = None,
    fingerprint: str = "",
    watch: Watcher | None = None,
) -> History:
    """Trains `recipe.model` in place and leaves it with the weights of its best epoch.

    Args:
        recipe: the task.
        settings: the numbers.
        checkpoints: a folder; a checkpoint of the same `fingerprint` there is gone on from.
        fingerprint: what must be equal for that: data, base model and settings.
        watch: called after each step with (step, steps, history).

    Raises:
        InvalidArgumentError: a loss that is not finite, or a checkpoint of another training.
    """
    import torch

    if not len(recipe.lengths):
        raise InvalidArgumentError("no rows to train on")
    steps_an_epoch = math.ceil(len(recipe.lengths) / settings.batch_size)
    steps = steps_an_epoch * settings.epochs
    torch.manual_seed(settings.seed)
    model = recipe.model
    optimizer = _optimizer(model, settings)
    history = History()
    store = None if checkpoints is None else Checkpoints(checkpoints, fingerprint)
    best: dict[str, Any] | None = None
    step = 0
    state = None if store is None else store.load()
    if state is not None:
        step, history, best = state.restore(model, optimizer)
        history.resumed_at = step
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        if store is not None and distributed.is_first():
            store.save(step, model, optimizer, history, best)
            saved = time.monotonic()

    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    with _autocast(settings.precision) as autocast:
        while step < steps and not history.stopped_early:
            epoch = step // steps_an_epoch
            order = epoch_order(recipe.lengths, settings.batch_size, seed=settings.seed, epoch=epoch)
            model.train()
            begin, rows = time.perf_counter(), 0
            for places in order[step % steps_an_epoch :]:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate_at(settings, step, steps)
                mine, value = distributed.share(places), 0.0
                if len(mine):
                    with autocast():
                        loss = recipe.loss(mine) * (len(mine) / len(places))
                    loss.backward()  # type: ignore[no-untyped-call]
                    value = loss.item()
                value = distributed.sum_gradients(parameters, value)
                if settings.clip is not None:
                    torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                history.losses.append(value)
                step, rows = step + 1, rows + len(places)
                if not math.isfinite(history.losses[-1]):
                    raise InvalidArgumentError(
                        f"the loss became {history.losses[-1]} in step {step}: try a lower learning rate than "
                        f"{settings.learning_rate:g}, or --precision f32"
                    )
                if watch is not None:
                    watch(step, steps, history)
                due = (
                    time.monotonic() - saved > 60
                    if settings.checkpoint_steps is None
                    else step % settings.checkpoint_steps == 0
                )
                if due and step % steps_an_epoch:
                    save()
            seconds = time.perf_counter() - begin
            best = _end_epoch(recipe, settings, history, best, epoch, steps_an_epoch, rows / seconds)
            save()
    if best is not None:
        model.load_state_dict(best, strict=False)
    model.eval()
    return history


def _end_epoch(
    recipe: Recipe,
    settings: TrainSettings,
    history: History,
    best: dict[str, Any] | None,
    epoch: int,
    steps: int,
    speed: float,
) -> dict[str, Any] | None:
    """Validates; the weights to keep, which are these if they are the best so far."""
    import torch

    recipe.model.eval()
    with torch.inference_mode():
        figures = distributed.of_first(recipe.validate)
    losses = history.losses[-steps:]
    history.epochs.append(EpochRecord(epoch + 1, sum(losses) / len(losses), figures, speed))
    if not figures:
        history.best_epoch = epoch + 1
        return None
    sign = -1 if recipe.metric == "loss" else 1
    scores = [sign * record.validation[recipe.metric] for record in history.epochs]
    if max(scores) == scores[-1] and scores.index(scores[-1]) == epoch:
        history.best_epoch = epoch + 1
        best = {name: value.clone() for name, value in changing(recipe.model).items()}
    if settings.patience is not None and epoch + 1 - history.best_epoch >= settings.patience:
        history.stopped_early = epoch + 1 < settings.epochs
    return best


def _optimizer(model: torch.nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


@contextlib.contextmanager
def _autocast(precision: str) -> Iterator[Callable[[], contextlib.AbstractContextManager[Any]]]:
    import torch

    def cast() -> contextlib.AbstractContextManager[Any]:
        if uses_bf16(precision):
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    yield cast


def uses_bf16(precision: str) -> bool:
    """Whether products are computed in bfloat16: asked for, or "auto" on a processor with instructions for it."""
    if precision != "auto":
        return precision == "bf16"
    from .. import _core

    return "bf16" in _core.isa() or "amx" in _core.isa()


def freeze(model: Any, layers: int) -> None:
    """The embeddings and the lowest `layers` layers keep their weights. Raises InvalidArgumentError for too many."""
    import torch

    if not layers:
        return
    stacks = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == model.config.num_hidden_layers
    ]
    if not stacks or layers > len(stacks[0]):
        raise InvalidArgumentError(
            f"freeze_layers={layers}: the model has {model.config.num_hidden_layers} layers"
        )
    frozen = [model.get_input_embeddings(), *stacks[0][:layers]]
    embeddings = getattr(model.base_model, "embeddings", None)
    for module in [*frozen, *([] if embeddings is None else [embeddings])]:
        module.requires_grad_(False)
