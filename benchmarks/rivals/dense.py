"""What every server of bench_predict.py serves: a network, which BENCH_NETWORK names, and a plain function.

dense: 1,000 inputs, 128 ReLU, one sigmoid. cnn: six convolutions over 28 x 28 pixels, ten classes.
"""

from __future__ import annotations

import os
from typing import Any


def chosen() -> str:
    return os.environ.get("BENCH_NETWORK", "dense")


def inputs() -> int:
    return {"dense": 1000, "cnn": 28 * 28}[chosen()]


def workers() -> int:
    """Processes that a rival has with the network."""
    return int(os.environ.get("BENCH_WORKERS", "1"))


def threads() -> int:
    """Of each of them. Of a model so small as the dense one, more threads only wait for each other."""
    return 1 if chosen() == "dense" else max(1, len(os.sched_getaffinity(0)) // workers())


def network() -> Any:
    """Always the same weights; a row of numbers each."""
    import torch
    from torch import nn

    torch.set_num_threads(threads())
    torch.manual_seed(0)
    if chosen() == "dense":
        return nn.Sequential(nn.Linear(inputs(), 128), nn.ReLU(), nn.Linear(128, 1), nn.Sigmoid()).eval()
    layers: list[Any] = [nn.Unflatten(1, (1, 28, 28))]
    channels = 1
    for wide in (128, 256, 512):
        for _ in range(2):
            layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU()]
            channels = wide
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512 * 3 * 3, 10)).eval()


def describe(text: str) -> dict[str, int]:
    """The function: what is in a text."""
    words = text.split()
    return {"words": len(words), "characters": len(text), "longest": max(map(len, words), default=0)}
