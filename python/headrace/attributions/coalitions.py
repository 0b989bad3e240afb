"""Coalitions of an input's pieces, and what a model's answers to them say of each piece.

Shapley, "A value for n-person games" (1953); sampled by permutations: Castro, Gomez, Tejada, "Polynomial calculation of
the Shapley value based on sampling" (2009), each with its reverse: Mitchell et al., arXiv:2104.12199 (2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METHODS = ("auto", "shap", "occlusion")
_EXACT_PIECES = 12
_GOOD_PAIRS = 2  # pairs of permutations from which on `auto` takes shap


@dataclass(frozen=True)
class Plan:
    """Which coalitions to evaluate.

    Args:
        method: "shap" or "occlusion".
        is_exact: whether all coalitions are evaluated, so that nothing is left to chance.
        masks: bool [evaluations, pieces]: True for a piece that is there. Row 0 has all of them, row 1 none.
        orders: int [walks, pieces], neighbours being each other's reverse; empty but for sampled Shapley values.
    """

    method: str
    is_exact: bool
    masks: NDArray[np.bool_]
    orders: NDArray[np.int64]

    def attributions(
        self, values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Of values [evaluations], one for each mask: attributions [pieces], and their standard errors where they are
        sampled more than once.

        shap: they add up to values[0] - values[1]. occlusion: how much the value falls when the piece alone is missing.
        """
        import numpy as np

        full, none = float(values[0]), float(values[1])
        pieces = self.masks.shape[1]
        if self.method == "occlusion":
            return full - values[2:], None
        if self.is_exact:
            return self._exact(values), None
        walks = values[2:].reshape(len(self.orders), pieces - 1)
        ends = np.full((len(walks), 1), full), np.full((len(walks), 1), none)
        gains = np.diff(np.hstack([ends[1], walks, ends[0]]), axis=1)
        found = np.empty_like(gains)
        np.put_along_axis(found, self.orders, gains, axis=1)
        pairs = found.reshape(-1, 2, pieces).mean(axis=1)
        errors = pairs.std(axis=0, ddof=1) / math.sqrt(len(pairs)) if len(pairs) > 1 else None
        return pairs.mean(axis=0), errors

    def _exact(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        pieces = self.masks.shape[1]
        sizes = self.masks.sum(axis=1)
        keys = self.masks @ (1 << np.arange(pieces))
        by_key = np.empty(len(values))
        by_key[keys] = values
        weights = np.array(
            [
                math.factorial(size) * math.factorial(pieces - size - 1) / math.factorial(pieces)
                for size in range(pieces)
            ]
        )
        found = np.empty(pieces)
        for piece in range(pieces):
            without = ~self.masks[:, piece]
            gains = by_key[keys[without] | (1 << piece)] - values[without]
            found[piece] = (weights[sizes[without]] * gains).sum()
        return found


def plan(pieces: int, method: str, max_evaluations: int, seed: int = 0) -> Plan:
    """The coalitions of `pieces` pieces that `method` needs, at most `max_evaluations`.

    Args:
        pieces: 1 or more.
        method: "shap": Shapley values, exact where all 2^pieces coalitions fit (of up to 12 pieces), else over as many
            pairs of permutations as fit; "occlusion": each piece left out alone; "auto": shap where two pairs of
            permutations fit, else occlusion.
        max_evaluations: of the model.
        seed: of the permutations.

    Raises InvalidArgumentError, which says what would fit, where the method needs more evaluations.

    >>> import numpy as np
    >>> game = plan(3, "shap", 8)
    >>> found, _ = game.attributions(game.masks @ np.array([1.0, 2.0, 3.0]))
    >>> found.round(6).tolist(), game.is_exact
    ([1.0, 2.0, 3.0], True)
    """
    import numpy as np

    if method not in METHODS:
        raise InvalidArgumentError(f"method={method!r}: must be one of {', '.join(METHODS)}")
    if max_evaluations < 2:
        raise InvalidArgumentError(f"max_evaluations={max_evaluations}: must be 2 or more")
    walk = 2 * (pieces - 1)
    pairs = (max_evaluations - 2) // walk if walk else 1
    is_exact = pieces <= _EXACT_PIECES and 1 << pieces <= max_evaluations
    if method == "auto":
        method = "shap" if is_exact or pairs >= _GOOD_PAIRS else "occlusion"
    needed = {"shap": 2 + walk, "occlusion": 2 + pieces}[method]
    if not is_exact and needed > max_evaluations:
        other = f", or method='occlusion' ({2 + pieces} evaluations)" if method == "shap" else ""
        raise InvalidArgumentError(
            f"method={method!r} of {pieces} pieces needs at least {needed} evaluations, and max_evaluations is "
            f"{max_evaluations}: give more{other}, or segments=N, which makes fewer pieces"
        )
    ends = np.array([[True] * pieces, [False] * pieces])
    nothing = np.empty((0, pieces), np.int64)
    if method == "occlusion":
        return Plan(method, False, np.vstack([ends, ~np.eye(pieces, dtype=bool)]), nothing)
    if is_exact:
        numbers = np.concatenate([[(1 << pieces) - 1, 0], np.arange(1, (1 << pieces) - 1)])
        return Plan(method, True, (numbers[:, None] >> np.arange(pieces) & 1).astype(bool), nothing)
    chance = np.random.default_rng(seed)
    forward = np.stack([chance.permutation(pieces) for _ in range(pairs)])
    orders = np.stack([forward, forward[:, ::-1]], axis=1).reshape(-1, pieces)
    ranks = np.argsort(orders, axis=1)
    steps = np.arange(1, pieces)
    masks = ranks[:, None, :] < steps[None, :, None]
    return Plan(method, False, np.vstack([ends, masks.reshape(-1, pieces)]), orders)
