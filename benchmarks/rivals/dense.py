"""The model that every server of bench_predict.py serves: 1,000 inputs, 128 ReLU, one sigmoid; and a plain function."""

from __future__ import annotations

from typing import Any

INPUTS = 1000


def network() -> Any:
    """Always the same weights."""
    import torch
    from torch import nn

    torch.set_num_threads(1)  # of a model so small, more threads only wait for each other
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(INPUTS, 128), nn.ReLU(), nn.Linear(128, 1), nn.Sigmoid()).eval()


def describe(text: str) -> dict[str, int]:
    """The function: what is in a text."""
    words = text.split()
    return {"words": len(words), "characters": len(text), "longest": max(map(len, words), default=0)}
