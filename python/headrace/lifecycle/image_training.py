"""train("image"): a small convolutional network from scratch, or the fine-tuning of a Vision Transformer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgumentError
from . import bases
from .loop import freeze
from .metrics import classification
from .picture_data import Pictures, read_pictures
from .runs import Run
from .settings import TrainSettings
from .splits import class_weights

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .result import Training

_SIDES = (28, 96)  # of the network from scratch, unless it is told
_BATCH = 64


def train_image(run: Run, *, image_size: int | None = None) -> Training:
    """A classifier of pictures; what `train("image", ...)` calls.

    Without a base a network of three convolutions, packaged as ONNX, that takes pixels uint8 [size, size, 3];
    `image_size` is by default the median picture's, between 28 and 96. With a folder of a ViT its weights are
    trained on, and the result serves pictures of any size.
    """
    found = {"train": read_pictures(run.files["train"], run.data_settings)}
    data = found["train"]
    for part, path in run.files.items():
        if part != "train":
            found[part] = read_pictures(path, run.data_settings, names=data.names, is_evaluation=True)
    run.method = "three convolutions"
    run.more["image_size"] = image_size
    run.use(found)
    size = image_size or int(np.clip(np.median(data.sizes), *_SIDES)) // 4 * 4
    recipe = ImageRecipe(found, run.places, run.base, size, run.settings)
    run.more["image_size"] = recipe.size
    return run.finish(run.fit(recipe), lambda out: recipe.save(out, run))


def network(size: int, classes: int) -> Any:
    """[n, 3, size, size] -> logits [n, classes]."""
    from torch import nn

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    left = min(4, size // 8)
    smaller = nn.AdaptiveAvgPool2d(left) if size // 8 != left else nn.Identity()
    return nn.Sequential(
        *block(3, 16), *block(16, 32), *block(32, 64), smaller,
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * left * left, classes),
    )  # fmt: skip


class ImageRecipe:
    """Pictures with one class each, by cross-entropy; each seen turned, scaled and shifted a little."""

    metric = "recall_macro"

    def __init__(
        self,
        found: Mapping[str, Pictures],
        places: Mapping[str, NDArray[Any]],
        base: str | Path | None,
        size: int,
        settings: TrainSettings,
    ) -> None:
        import torch

        data = found["train"]
        self.names = data.names
        self._base = None if base is None else bases.base_folder(base)
        torch.manual_seed(settings.seed)
        mean = std = [0.5] * 3
        if self._base is None:
            self.model, self.size = network(size, len(self.names)), size
        else:
            labels = dict(enumerate(self.names))
            self.model = bases.load_model(
                "AutoModelForImageClassification", self._base, num_labels=len(self.names), id2label=labels,
                label2id={name: i for i, name in labels.items()}, ignore_mismatched_sizes=True,
            )  # fmt: skip
            freeze(self.model, settings.freeze_layers)
            if not isinstance(getattr(self.model.config, "image_size", None), int):
                raise InvalidArgumentError(
                    f"{base}: its config.json has no image_size: give a ViT that classifies"
                )
            self.size = self.model.config.image_size
            mean, std = _scaling(self._base)
        self.mean, self.std = mean, std
        rows, other = places["train"], places["validation"]
        held = found.get("validation", data)
        self._pixels = torch.from_numpy(data.pixels(rows, self.size))
        self._labels = torch.from_numpy(data.labels[rows])
        self._held = torch.from_numpy(held.pixels(other, self.size)), held.labels[other]
        self.lengths = np.ones(len(rows), np.int64)
        self._examples = self._pixels[:16].numpy().copy()
        weights = settings.class_weights == "balanced"
        self._weights = (
            torch.from_numpy(class_weights(data.labels[rows], len(self.names))) if weights else None
        )

    def _scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, size, size, 3] as the model takes it."""
        import torch

        shape = (1, 3, 1, 1)
        values = pixels.permute(0, 3, 1, 2).float() / 255
        return (values - torch.tensor(self.mean).reshape(shape)) / torch.tensor(self.std).reshape(shape)

    def _logits(self, values: torch.Tensor) -> torch.Tensor:
        found: Any = self.model(values)
        return (found if self._base is None else found.logits).float()  # type: ignore[no-any-return]

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        from torch.nn import functional

        values = _moved(self._scaled(self._pixels[places]))
        return functional.cross_entropy(self._logits(values), self._labels[places], self._weights)

    def validate(self) -> dict[str, float]:
        pixels, truth = self._held
        if not len(truth):
            return {}
        found = np.concatenate(
            [self._logits(self._scaled(part)).softmax(dim=1).numpy() for part in _parts(pixels)]
        )
        figures = classification.summary(truth, found.argmax(axis=1), len(self.names))
        right = np.maximum(found[np.arange(len(truth)), truth], 1e-12)
        return {name: figures[name] for name in ("accuracy", "recall_macro", "f1_macro")} | {
            "loss": float(-np.log(right).mean())
        }

    def save(self, out: Path, run: Run) -> None:
        """A folder that `headrace serve` serves."""
        if self._base is None:
            self._package(run)
            return
        bases.save_model(self.model, out)
        bases.write_manifest(out, "classify")
        said = {
            "do_resize": True, "size": {"height": self.size, "width": self.size}, "resample": 2, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": self.mean, "image_std": self.std,
            "image_processor_type": "ViTImageProcessor",
        }  # fmt: skip
        (out / "preprocessor_config.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")

    def _package(self, run: Run) -> None:
        import torch
        from torch import nn

        inner = self.model

        class Served(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = inner

            def forward(self, image: torch.Tensor) -> torch.Tensor:
                values = (image.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
                return torch.softmax(self.net(values), dim=1)

        run.package(
            Served(),
            example_inputs={"image": self._examples},
            outputs=["probabilities"],
            labels=self.names,
            tolerance=1e-4,
            description="A picture's class. The input is a picture decoded and resized to the shape below, uint8 RGB.",
        )


def _parts(pixels: torch.Tensor) -> list[torch.Tensor]:
    return [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]


def _scaling(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and deviation by which a base's pictures are scaled."""
    try:
        said = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = {}
    return list(said.get("image_mean") or [0.5] * 3), list(said.get("image_std") or [0.5] * 3)


def _moved(pictures: torch.Tensor) -> torch.Tensor:
    """Each turned, slanted, scaled and shifted a little."""
    import torch
    from torch.nn import functional

    count = len(pictures)
    turn = torch.eye(2).repeat(count, 1, 1) + (torch.rand(count, 2, 2) - 0.5) * 0.25
    shift = (torch.rand(count, 2, 1) - 0.5) * 0.2
    grid = functional.affine_grid(torch.cat([turn, shift], 2), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
