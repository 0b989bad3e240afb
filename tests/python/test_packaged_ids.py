"""Packaged modules with embeddings: ids beyond a table are refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import headrace
from headrace.manifest import read_manifest

IDS = np.array([[0, 3, 9], [1, 1, 2]])


class Lookups(nn.Module):
    """Of 10 rows and of 20, in every way that leaves ids what they are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.small, self.large = nn.Embedding(10, 4), nn.Embedding(20, 4)
        self.bag = nn.EmbeddingBag(15, 4, mode="sum")

    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
        found = self.small(a.long()).sum(1) + self.large(b.to(torch.int64).reshape(b.shape[0], -1)).sum(1)
        return found + self.bag(c) + self.small(both).sum(1) + self.large(both).sum(1)


class Computed(nn.Module):
    """Ids that are made of the input, and columns that are looked up in different tables: no one range is theirs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.users, self.items = nn.Embedding(10, 4), nn.Embedding(20, 4)

    def forward(self, pairs: torch.Tensor, hashed: torch.Tensor) -> torch.Tensor:
        score = (self.users(pairs[:, 0]) * self.items(pairs[:, 1])).sum(1)
        return score + self.items(hashed % 20).sum(1)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_ids_have_the_range_of_their_tables(tmp_path: Path, runtime: str) -> None:
    given: dict[str, Any] = {"a": IDS.astype(np.int32), "b": IDS + 10, "c": IDS, "both": IDS}
    folder = headrace.package(
        Lookups(), tmp_path / "net", example_inputs=given, runtime=runtime, batch={"workers": 0}
    ).directory
    if runtime == "torch":
        manifest = folder / "headrace.toml"
        manifest.write_text('compile = "never"\n' + manifest.read_text())
    with headrace.Engine() as engine:
        model = engine.add("net", folder)
        assert {spec.name: (spec.low, spec.high) for spec in model.info.inputs} == {
            "a": (0, 9), "b": (0, 19), "c": (0, 14), "both": (0, 9),
        }  # fmt: skip
        assert model.predict(**given)["output"].shape == (2, 4)
        for name, wrong in (("a", 10), ("b", 20), ("c", -1), ("both", 10)):
            with pytest.raises(
                headrace.InvalidArgumentError, match=rf"{name}\[0, 1\] is {wrong}: must lie between 0"
            ):
                model.predict(**{**given, name: np.where(IDS == 3, wrong, IDS)})


def test_what_is_computed_has_no_range_and_what_is_said_goes_before(tmp_path: Path) -> None:
    pairs = np.array([[9, 19], [0, 0]])
    hashed = np.array([1_000_000, 3])
    made = headrace.package(
        Computed(), tmp_path / "net", example_inputs={"pairs": pairs, "hashed": hashed}, runtime="onnx"
    )
    said = read_manifest(made.directory).inputs
    assert all(not {"low", "high"} & set(spec) for spec in said.values())
    table = nn.Sequential(nn.Embedding(10, 4), nn.Flatten())
    made = headrace.package(
        table, tmp_path / "table", example_inputs={"input": IDS}, inputs={"input": {"high": 9, "low": 0}}
    )
    assert read_manifest(made.directory).inputs["input"]["high"] == 9
    less = {"input": {"high": 5}}
    with pytest.raises(headrace.UnsupportedError, match="between 0 and 5"):  # the examples have more
        headrace.package(table, tmp_path / "less", example_inputs={"input": IDS}, inputs=less)
