"""distill: a student learns a teacher's answers (logits, Hinton et al. 2015, arXiv:1503.02531) and what it computes on
the way (hidden states, Sanh et al. 2019, arXiv:1910.01108; Jiao et al. 2020, arXiv:1909.10351)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidArgumentError
from .. import bases
from .layers import keep
from .settings import CompressSettings
from .structure import kept_count, layers_of, structure_of

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class Distillation:
    """A student's recipe, whose loss is also the distance to what the teacher says of the same batch.

        w task + (1 - w) T^2 KL(teacher / T || student / T) + h mean (1 - cosine of hidden states)

    Of embed there are no logits: hidden states alone. Hidden states are compared where both models have the same width:
    state i of a student with n layers and state round(i N / n) of a teacher with N, tokens of padding left out.
    """

    def __init__(self, student: Any, teacher: Any, settings: CompressSettings) -> None:
        self.inner, self.settings, self._teacher = student, settings, teacher.eval()
        self.model, self.lengths, self.metric = student.model, student.lengths, student.metric
        self.compares_hidden = settings.hidden_weight > 0 and _width(student.model) == _width(teacher)
        self._distances: list[torch.Tensor] = []

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        """The mean loss of a batch, with gradients."""
        import torch

        self._distances.clear()
        handle = self.model.register_forward_hook(self._compare, with_kwargs=True)
        self.model.config.output_hidden_states = self.compares_hidden
        try:
            loss: torch.Tensor = self.inner.loss(places)
        finally:
            handle.remove()
            self.model.config.output_hidden_states = False
        learned = torch.stack(self._distances).mean()
        weight = self.settings.label_weight
        return weight * loss + (1 - weight) * learned

    def validate(self) -> dict[str, float]:
        """The student's own figures."""
        found: dict[str, float] = self.inner.validate()
        return found

    def _compare(self, _module: Any, _given: Any, inputs: dict[str, Any], found: Any) -> None:
        import torch

        with torch.no_grad():
            told = self._teacher(**inputs, output_hidden_states=self.compares_hidden)
        mask = inputs["attention_mask"]
        distance = found[0].new_zeros(())
        if "logits" in found:
            # A language model leaves out the logits of prompts, and has the others in both models.
            has_logits = mask[:, -found.logits.shape[1] :] if found.logits.ndim == 3 else mask
            distance = distance + _logits_distance(
                found.logits, told.logits, has_logits, self.settings.temperature
            )
        if self.compares_hidden:
            distance = distance + self.settings.hidden_weight * _hidden_distance(
                found.hidden_states, told.hidden_states, mask
            )
        self._distances.append(distance)


def _logits_distance(
    student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Of classes [B, n], of tags or tokens [B, T, n], or of one number [B, 1], which a sigmoid makes a share."""
    import torch

    if student.ndim == 3:
        # A text at a time: the logits of a large vocabulary take much memory, and each step here is another copy.
        total = sum(
            (_divergence(one[is_token], other[is_token], temperature, "sum")
             for one, other, is_token in zip(student, teacher, mask.bool(), strict=True)),
            start=student.new_zeros(()),
        )  # fmt: skip
        return total / mask.sum()
    if student.shape[-1] > 1:
        return _divergence(student, teacher, temperature, "batchmean")
    student, teacher = student.float() / temperature, teacher.float() / temperature
    share = teacher.sigmoid()
    both = torch.nn.functional.binary_cross_entropy_with_logits(student, share)
    # Less the teacher's own entropy, so that a student that agrees has 0.
    return temperature**2 * (both - torch.nn.functional.binary_cross_entropy(share, share))


def _divergence(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float, reduction: str
) -> torch.Tensor:
    """T^2 KL(teacher / T || student / T) of rows of logits."""
    import torch

    return temperature**2 * torch.nn.functional.kl_div(
        (student.float() / temperature).log_softmax(-1),
        (teacher.float() / temperature).log_softmax(-1),
        reduction=reduction,
        log_target=True,
    )


def _hidden_distance(student: Any, teacher: Any, mask: torch.Tensor) -> torch.Tensor:
    import torch

    n, whole = len(student) - 1, len(teacher) - 1
    is_token = mask.bool()
    distances = [
        1
        - torch.nn.functional.cosine_similarity(
            student[i][is_token].float(), teacher[round(i * whole / n)][is_token].float(), dim=-1
        ).mean()
        for i in range(1, n + 1)
    ]
    return torch.stack(distances).mean()


def _width(model: Any) -> int:
    return int(getattr(model.config, "hidden_size", 0) or model.config.dim)


def _train_all_weights(recipe: Any) -> None:
    """A language model's recipe trains an adapter, which is too little for a model of fewer layers to learn by."""
    if hasattr(recipe.model, "unload"):
        recipe.model = recipe.model.unload().requires_grad_(True)


def with_own_layers(recipe: Any, settings: CompressSettings) -> tuple[Distillation, dict[str, Any]]:
    """The distillation of a student that has some of the layers of the recipe's model, evenly taken, from all of it.

    Raises UnsupportedError for a family that is not known here, InvalidArgumentError for more layers than there are.
    """
    import copy

    _train_all_weights(recipe)
    teacher = copy.deepcopy(recipe.model)
    structure = structure_of(recipe.model, settings.method)
    whole = len(layers_of(recipe.model, structure))
    n = settings.student_layers or kept_count(whole, 0.5)
    if n > whole:
        raise InvalidArgumentError(f"student_layers={n}: the model has {whole}")
    places = [round((i + 1) * whole / n) - 1 for i in range(n)]
    keep(recipe.model, places, settings.method)
    made = Distillation(recipe, teacher, settings)
    return made, {"layers": {"before": whole, "after": n, "kept": places}, "config": {}}


def with_teacher(
    recipe: Any, teacher_folder: Path, settings: CompressSettings
) -> tuple[Distillation, dict[str, Any]]:
    """The distillation of the student in `recipe` from the model in a folder.

    Raises InvalidArgumentError for a student that reads texts as other tokens than the teacher.
    """
    own, other = (_vocabulary(folder) for folder in (recipe.folder, teacher_folder))
    if own != other:
        raise InvalidArgumentError(
            f"student {recipe.folder.name}: reads texts as other tokens than {teacher_folder.name}, so that their "
            "answers cannot be compared token by token: take a student with the same tokenizer, or student_layers"
        )
    _train_all_weights(recipe)
    options = (
        {"num_labels": recipe.model.config.num_labels} if recipe.names or recipe.task == "rerank" else {}
    )
    made = Distillation(recipe, bases.load_model(recipe.kind, teacher_folder, **options), settings)
    return made, {"student": recipe.folder.name, "hidden_states": made.compares_hidden, "config": {}}


def _vocabulary(folder: Path) -> dict[str, int]:
    found: dict[str, int] = bases.load_tokenizer(folder).get_vocab()
    return found
