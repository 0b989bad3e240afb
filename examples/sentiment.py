"""An LSTM that reads whether a sentence praises or complains: 3,000 real ones (the npm package sentiment).

Sentences of any length run together: shorter ones are padded, and the mask that the server makes keeps the padding out.
Where npm cannot be reached the sentences are generated instead, and it says so.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from serving import NoDataError, arguments, npm_package, report, serve
from torch import nn

import headrace

UNKNOWN = 1  # the id of words that were seen once; 0 is padding


def generated() -> list[tuple[str, bool]]:
    good, bad = (
        ["good", "great", "lovely", "fine", "superb", "nice"],
        ["bad", "awful", "poor", "dreadful", "dull", "broken"],
    )
    things = ["film", "phone", "meal", "room", "story", "screen", "waiter", "battery"]
    rng = random.Random(0)
    found = []
    for _ in range(2000):
        praises = rng.random() < 0.5
        said = rng.sample(good if praises else bad, rng.randint(1, 3))
        text = f"the {rng.choice(things)} was " + " and ".join(said)
        found.append((text + rng.choice(["", " for what it cost", " every single time we came"]), praises))
    return found


def load(cache: Path) -> tuple[list[tuple[str, bool]], str]:
    """(sentence, whether it praises), and where they are from."""
    try:
        folder = npm_package("sentiment", "5.0.2", cache) / "test" / "fixtures"
    except NoDataError as error:
        return generated(), f"generated sentences ({error})"
    rows = [
        row
        for name in ("amazon", "imdb", "yelp")
        for row in json.loads((folder / f"{name}.json").read_text())
    ]
    return [(row["text"], row["class"] == 1) for row in rows], "npm sentiment 5.0.2"


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+|[!?]", text.lower()) or ["?"]


class Reader(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, 48, padding_idx=0)
        self.lstm = nn.LSTM(48, 48, batch_first=True)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(96, 1)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """ids, mask [n, t] -> [n]: the probability that it praises."""
        own = mask.to(torch.float32)[:, :, None]
        states, _ = self.lstm(self.drop(self.table(ids)))
        mean = (states * own).sum(1) / own.sum(1)
        # Padding comes last, so what is read of a sentence does not know of it.
        best = (states - 4.0 * (1.0 - own)).amax(1)
        return torch.sigmoid(self.out(self.drop(torch.cat([mean, best], 1)))).squeeze(1)


def padded(rows: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for place, row in zip(ids, rows, strict=True):
        place[: len(row)] = row
    return ids, (ids > 0).astype(np.int64)


def main() -> None:
    options = arguments(__doc__)
    rows, data = load(options.cache)
    random.Random(0).shuffle(rows)
    split = len(rows) * 4 // 5
    counts = Counter(word for text, _ in rows[:split] for word in words(text))
    ids_of = {word: i for i, (word, count) in enumerate(counts.most_common(), 2) if count > 1}
    read = [[ids_of.get(word, UNKNOWN) for word in words(text)] for text, _ in rows]
    targets = torch.tensor([float(praises) for _, praises in rows])
    torch.manual_seed(0)
    net = Reader(len(ids_of) + 2)
    optimizer = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=0.05)
    for _ in range(8):
        for part in torch.randperm(split).split(32):
            ids, mask = (torch.from_numpy(array) for array in padded([read[i] for i in part]))
            loss = nn.functional.binary_cross_entropy(net(ids, mask), targets[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        ids, mask = (torch.from_numpy(array) for array in padded(read[split:]))
        accuracy = ((net(ids, mask) > 0.5) == (targets[split:] > 0.5)).float().mean()
    report(data, accuracy=float(accuracy))
    examples = padded(read[split : split + 16])
    top = len(ids_of) + 1
    headrace.package(
        net,
        options.folder,
        example_inputs=dict(zip(("ids", "mask"), examples, strict=True)),
        inputs={
            "ids": {"shape": ["?"], "low": 0, "high": top, "pad": 0},
            "mask": {"shape": ["?"], "low": 0, "high": 1, "mask_of": "ids"},
        },
        outputs=["praise"],
    )
    (options.folder / "words.json").write_text(json.dumps(ids_of))
    serve(options, {"ids": read[split]})


if __name__ == "__main__":
    main()
