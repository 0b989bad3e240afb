"""Checkpoints of a training: all that its next step depends on, written so that a kill leaves the last one whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CorruptFileError, InvalidArgumentError

if TYPE_CHECKING:
    import torch

    from .loop import History

_NAME = "checkpoint.pt"


@dataclass(frozen=True)
class State:
    """A checkpoint as it was read."""

    values: dict[str, Any]

    def restore(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[int, History, dict[str, Any] | None]:
        """Puts weights, moments and the state of chance back; the step, the history and the best weights."""
        import torch

        from .loop import EpochRecord, History

        model.load_state_dict(self.values["weights"], strict=False)
        optimizer.load_state_dict(self.values["optimizer"])
        torch.set_rng_state(self.values["chance"])
        given = dict(self.values["history"])
        given["epochs"] = [EpochRecord(**record) for record in given["epochs"]]
        return self.values["step"], History(**given), self.values["best"]


def changing(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a training changes: the weights that are not frozen, and means such as those of batch norms; not copied."""
    frozen = {
        name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad
    }
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


class Checkpoints:
    """The newest checkpoint of one training in a folder of its own."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder, self._fingerprint = folder, fingerprint

    @property
    def path(self) -> Path:
        return self._folder / _NAME

    def save(
        self,
        step: int,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        history: History,
        best: dict[str, Any] | None,
    ) -> None:
        """Replaces the checkpoint, in one step as seen from outside. Weights that do not train are left out."""
        from dataclasses import asdict

        import torch

        values = {
            "fingerprint": self._fingerprint,
            "step": step,
            "weights": changing(model),
            "optimizer": optimizer.state_dict(),
            "chance": torch.get_rng_state(),
            "history": asdict(history),
            "best": best,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save(values, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def load(self) -> State | None:
        """The checkpoint; None where there is none.

        Raises InvalidArgumentError for one of another training, CorruptFileError for a damaged one.
        """
        import torch

        if not self.path.is_file():
            return None
        try:
            values = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds
            raise CorruptFileError(f"{self.path}: not a checkpoint: {error}") from None
        if values["fingerprint"] != self._fingerprint:
            raise InvalidArgumentError(
                f"{self.path.parent.parent}: its checkpoint is of another training (other data, base model or "
                "settings): give the same ones, or --overwrite to begin anew"
            )
        return State(values)
