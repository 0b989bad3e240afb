"""Which films next? Two towers over MovieLens 100k: what someone has seen, and every film; the ten nearest answer.

The ratings come out of the wheel of recbole 1.2.1, are for research only and stay in the cache. Held out is the last
film of each person; the measure to beat is what most have seen.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from serving import arguments, report, serve, wheel_file
from torch import nn

import headrace

TOP = 10


class Towers(nn.Module):
    """Seen films become one vector, each film has one; the score is their product. Film 0 is padding."""

    def __init__(self, films: int) -> None:
        super().__init__()
        self.seen = nn.Embedding(films, 64, padding_idx=0)
        self.person = nn.Sequential(nn.Tanh(), nn.Dropout(0.4), nn.Linear(64, 64))
        self.film = nn.Embedding(films, 64)
        self.bias = nn.Parameter(torch.zeros(films))
        nn.init.normal_(self.seen.weight, std=0.1)
        nn.init.normal_(self.film.weight, std=0.1)

    def scores(self, films: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """films, mask [n, t] -> [n, films]."""
        own = mask.to(torch.float32)[:, :, None]
        mean = (self.seen(films) * own).sum(1) / own.sum(1).sqrt()
        return self.person(mean) @ self.film.weight.T + self.bias

    def forward(self, films: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The ten best that are not among those seen, best first, and their scores."""
        scores = self.scores(films, mask)
        seen = torch.zeros_like(scores).scatter_add(1, films, torch.ones_like(films, dtype=scores.dtype))
        scores = scores - 1e4 * (seen > 0).to(scores.dtype)
        scores[:, 0] = -1e4
        best = torch.topk(scores, TOP, dim=1)
        return best.indices, best.values


def histories(text: str) -> list[list[int]]:
    """Of each person the films in the order in which they were rated."""
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    people: dict[int, list[tuple[float, int]]] = {}
    for person, film, _, when in rows:
        people.setdefault(int(person), []).append((float(when), int(film)))
    return [[film for _, film in sorted(rated)] for _, rated in sorted(people.items())]


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    films = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    for place, row in zip(films, rows, strict=True):
        place[: len(row)] = torch.tensor(row)
    return films, (films > 0).to(torch.int64)


def measured(found: NDArray[np.int64], wanted: list[int]) -> dict[str, float]:
    """recall@10 and NDCG@10 of the one film that is wanted of each."""
    ranks = [np.flatnonzero(row == film) for row, film in zip(found, wanted, strict=True)]
    gains = [1 / np.log2(rank[0] + 2) if len(rank) else 0.0 for rank in ranks]
    return {"recall": float(np.mean([len(rank) > 0 for rank in ranks])), "ndcg": float(np.mean(gains))}


def main() -> None:
    options = arguments(__doc__)
    member = "recbole/dataset_example/ml-100k/ml-100k.inter"
    people = histories(wheel_file("recbole", "1.2.1", member, options.cache).decode())
    films = max(max(row) for row in people) + 1
    known, wanted = [row[:-1] for row in people], [row[-1] for row in people]

    counts = np.bincount([film for row in known for film in row], minlength=films)
    popular = np.stack([np.argsort(-np.where(np.isin(np.arange(films), row), -1, counts), kind="stable")[:TOP]
                        for row in known])  # fmt: skip
    baseline = measured(popular, wanted)

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    net = Towers(films)
    net.bias.data = torch.log(torch.from_numpy(counts + 1.0).float())
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.02)
    for _ in range(40):
        for part in rng.permutation(len(known)).reshape(-1)[: len(known) // 64 * 64].reshape(-1, 64):
            # Someone at a moment: what came before is seen, what came soon after is what should have been said.
            cuts = [int(rng.integers(max(1, len(known[i]) // 4), len(known[i]))) for i in part]
            before = [known[i][:cut] for i, cut in zip(part, cuts, strict=True)]
            target = torch.zeros(len(part), films)
            for row, i, cut in zip(target, part, cuts, strict=True):
                row[known[i][cut : cut + 20]] = 1
            logits = torch.log_softmax(net.scores(*padded(before)), dim=1)
            loss = -(target * logits).sum(1).div(target.sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        found = net(*padded(known))[0].numpy()
    ours = measured(found, wanted)
    report(
        "MovieLens 100k (recbole 1.2.1)",
        recall_at_10=ours["recall"], ndcg_at_10=ours["ndcg"],
        popular_recall_at_10=baseline["recall"], popular_ndcg_at_10=baseline["ndcg"],
    )  # fmt: skip
    examples = [np.asarray(array) for array in padded([row[:40] for row in known[:16]])]
    headrace.package(
        net,
        options.folder,
        example_inputs=dict(zip(("films", "mask"), examples, strict=True)),
        inputs={
            "films": {"shape": ["?"], "low": 0, "high": films - 1, "pad": 0},
            "mask": {"shape": ["?"], "low": 0, "high": 1, "mask_of": "films"},
        },
        outputs=["films_next", "scores"],
    )
    serve(options, {"films": known[0]})


if __name__ == "__main__":
    main()
