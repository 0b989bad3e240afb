"""Logits to scores, by the name of the function that the model's files give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def scores_of(logits: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """softmax over each row, sigmoid of each number, or the numbers as they are; float32 [rows, columns]."""
    import numpy as np

    if activation == "identity":
        return logits
    scores: Any
    if activation == "sigmoid":
        # exp of what is not positive: no overflow, and exact for large logits of either sign
        small = np.exp(-np.abs(logits))
        scores = np.where(logits >= 0, 1, small) / (1 + small)
    else:
        scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
    return scores.astype(np.float32, copy=False)  # type: ignore[no-any-return]
