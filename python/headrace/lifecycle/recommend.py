"""train("recommend"): who took what; the ten best items that someone has not had yet answer.

A person is the bag of what they had, so that who comes new is answered, too: the sum of the items' vectors over the
root of their number. What an item is to them is said by one of two networks:

- two towers: the bag through one layer, times the item's own vector, and its bias (as in Covington, Adams, Sargin,
  "Deep neural networks for YouTube recommendations", 2016);
- ncf, neural collaborative filtering: that product and a perceptron over person and item together, added up (He, Liao,
  Zhang, Nie, Hu, Chua, "Neural collaborative filtering", 2017; there a person has a vector, too).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgumentError
from .histories import Histories, read_histories
from .metrics.ranking import of_lists
from .runs import Run
from .settings import TrainSettings

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .result import Training

TOP = 10
NETWORKS = ("two-towers", "ncf")
_WIDTH, _DROPOUT = 64, 0.4
_JOINT = (32, 16)  # of ncf's perceptron
_SOON = 20  # items after a moment that should have been said at it


def train_recommend(run: Run, *, min_rating: float | None = None, network: str = NETWORKS[0]) -> Training:
    """A recommender; what `train("recommend", ...)` calls. The last item of each user tests, the one before it chooses
    the best epoch; a test file's users are asked for their last item."""
    if network not in NETWORKS:
        raise InvalidArgumentError(f"network={network!r}: must be one of {', '.join(NETWORKS)}")
    files, settings = run.files, run.settings
    found = {"train": read_histories(files["train"], run.data_settings, min_rating=min_rating)}
    data = found["train"]
    if "test" in files:
        found["test"] = read_histories(
            files["test"], run.data_settings, names=data.names, min_rating=min_rating
        )
    every = np.arange(len(data.users))
    tested = np.arange(len(found["test"].users)) if "test" in found else every
    places = {
        "train": every,
        "validation": every[:0],
        "test": tested if settings.test > 0 or "test" in files else every[:0],
    }
    run.method = network
    run.more["min_rating"] = min_rating
    run.use(found, places)
    recipe = RecommendRecipe(data, settings, network, holds_out="test" not in files and settings.test > 0)
    return run.finish(run.fit(recipe), lambda _: _package(recipe.model, run))


def build(network: str, items: int) -> Any:
    """Items, 0 being padding, as numbers [n, t], and a mask -> the best that are not among them, and their scores."""
    import torch
    from torch import nn

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.had = nn.Embedding(items, _WIDTH, padding_idx=0)
            self.person = nn.Sequential(nn.Tanh(), nn.Dropout(_DROPOUT), nn.Linear(_WIDTH, _WIDTH))
            self.item = nn.Embedding(items, _WIDTH)
            self.bias = nn.Parameter(torch.zeros(items))
            nn.init.normal_(self.had.weight, std=0.1)
            nn.init.normal_(self.item.weight, std=0.1)

        def bag(self, had: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            own = mask.to(torch.float32)[:, :, None]
            found: torch.Tensor = (self.had(had) * own).sum(1) / own.sum(1).clamp(min=1.0).sqrt()
            return found

        def scores(self, had: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.person(self.bag(had, mask)) @ self.item.weight.T + self.bias
            return found

        def forward(self, items: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            scores = self.scores(items, mask)
            had = torch.zeros_like(scores).scatter_add(1, items, torch.ones_like(items, dtype=scores.dtype))
            scores = scores - 1e4 * (had > 0).to(scores.dtype)
            scores[:, 0] = -1e4
            best = torch.topk(scores, min(TOP, scores.shape[1] - 1), dim=1)
            return best.indices, best.values

    class Ncf(Towers):
        def __init__(self) -> None:
            super().__init__()
            # The perceptron's first layer, of a person and an item: a sum of what it makes of either.
            self.of_person = nn.Sequential(nn.Tanh(), nn.Dropout(_DROPOUT), nn.Linear(_WIDTH, _JOINT[0]))
            self.of_item = nn.Embedding(items, _JOINT[0])
            self.joint = nn.Sequential(nn.ReLU(), nn.Linear(*_JOINT), nn.ReLU(), nn.Linear(_JOINT[1], 1))
            nn.init.normal_(self.of_item.weight, std=0.1)

        def scores(self, had: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            bag = self.bag(had, mask)
            product = self.person(bag) @ self.item.weight.T + self.bias
            pairs = self.of_person(bag)[:, None] + self.of_item.weight[None]
            found: torch.Tensor = product + self.joint(pairs)[:, :, 0]
            return found

    return Ncf() if network == "ncf" else Towers()


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Items int64 [n, longest], filled up with 0, and 1 where there is one."""
    import torch

    items = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for place, row in zip(items, rows, strict=True):
        place[: len(row)] = row
    return torch.from_numpy(items), torch.from_numpy((items > 0).astype(np.int64))


class RecommendRecipe:
    """Someone at a moment: what came before is known, what came soon after is what should have been said."""

    metric = "ndcg@10"

    def __init__(self, data: Histories, settings: TrainSettings, network: str, *, holds_out: bool) -> None:
        import torch

        torch.manual_seed(settings.seed)
        self.model = build(network, len(data.names))
        known = [user[:-1] if holds_out else user for user in data.users]
        # Of those with enough items the last but one chooses the epoch.
        self._validation = [user for user in known if len(user) > 2] if settings.validation > 0 else []
        self._known = [user[:-1] if len(user) > 2 and settings.validation > 0 else user for user in known]
        self._known = [user for user in self._known if len(user) > 1]
        counts = np.bincount(np.concatenate([np.asarray(u) for u in known]), minlength=len(data.names))
        self.model.bias.data = torch.log(torch.from_numpy(counts + 1.0).float())
        self.lengths = np.array([len(user) for user in self._known], np.int64)

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        import torch

        users = [self._known[i] for i in places]
        # By torch's chance, which a checkpoint keeps: a run that goes on cuts as it would have.
        starts = [max(1, len(user) // 4) for user in users]
        cuts = [
            start + int(share * (len(user) - start))
            for user, start, share in zip(users, starts, torch.rand(len(users)).tolist(), strict=True)
        ]
        wanted = np.zeros((len(users), len(self.model.bias)), np.float32)
        for row, user, cut in zip(wanted, users, cuts, strict=True):
            row[user[cut : cut + _SOON]] = 1
        target = torch.from_numpy(wanted)
        before = [user[:cut] for user, cut in zip(users, cuts, strict=True)]
        logits = torch.log_softmax(self.model.scores(*padded(before)).float(), dim=1)
        mean: torch.Tensor = (target * logits).sum(1).div(target.sum(1)).mean()
        return -mean

    def validate(self) -> dict[str, float]:
        if not self._validation:
            return {}
        found = [
            self.model(*padded([user[:-1] for user in self._validation[start : start + 256]]))[0].numpy()
            for start in range(0, len(self._validation), 256)
        ]
        figures = of_lists(np.concatenate(found), np.array([user[-1] for user in self._validation]))
        return {name: float(values.mean()) for name, values in figures.items()}


def _package(model: Any, run: Run) -> None:
    model.eval()
    data: Histories = run.found["train"]
    examples = [user[:-1][-40:] for user in data.users[:16]]
    items, mask = (array.numpy() for array in padded(examples))
    run.package(
        model,
        example_inputs={"items": items, "mask": mask},
        inputs={
            "items": {"shape": ["?"], "low": 0, "high": len(data.names) - 1, "pad": 0},
            "mask": {"shape": ["?"], "low": 0, "high": 1, "mask_of": "items"},
        },
        outputs=["items_next", "scores"],
        labels=data.names,
        description=f"Which items next, out of {data.path.name}; an item's number is its place among the labels",
    )
