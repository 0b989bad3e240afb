"""Which rows train, which choose (validation) and which test: stratified, by group, by time; seeded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def split(
    count: int,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    labels: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
    times: NDArray[Any] | None = None,
    seed: int = 0,
) -> dict[str, NDArray[np.int64]]:
    """Places 0 to `count` - 1 as {"train": ..., "validation": ..., "test": ...}, each in order.

    Args:
        count: rows in all.
        validation, test: their shares of the rows; 0 is none.
        labels: classes int [count]; each part gets each class in the same proportion.
        groups: int [count]; all rows of a group get into the same part. Proportions of classes are then as they fall.
        times: float [count]; the test is the latest, the validation what is just before it. Equal times stay together.
        seed: another one gives another split. Not used with times.

    Raises:
        InvalidArgumentError: shares that leave nothing to train on, groups and times together.

    >>> {name: len(places) for name, places in split(100, seed=1).items()}
    {'train': 80, 'validation': 10, 'test': 10}
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise InvalidArgumentError(
            f"shares of {validation} and {test}: each must be 0 or more, and together below 1: the rest trains"
        )
    if groups is not None and times is not None:
        raise InvalidArgumentError("split by group or by time, not by both")
    shares = {"test": test, "validation": validation}
    if times is not None:
        return _by_time(times, shares)
    chance = np.random.default_rng(seed)
    if groups is not None:
        return _by_group(groups, shares, chance)
    strata = (
        [np.arange(count)] if labels is None else [np.flatnonzero(labels == k) for k in np.unique(labels)]
    )
    parts: dict[str, list[NDArray[np.int64]]] = {"train": [], "validation": [], "test": []}
    wanted = dict.fromkeys(shares, 0.0)
    for places in strata:
        size = len(places)
        places = chance.permutation(places)
        for name, share in shares.items():
            # What rounding took from one class, the next one gives: the whole has its share.
            wanted[name] += share * size
            taken = min(round(wanted[name]), max(0, len(places) - 1))
            wanted[name] -= taken
            parts[name].append(places[:taken])
            places = places[taken:]
        parts["train"].append(places)
    return {name: np.sort(np.concatenate(found)) for name, found in parts.items()}


def _by_group(
    groups: NDArray[Any], shares: dict[str, float], chance: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    room = {name: share * len(groups) for name, share in shares.items() if share}
    if len(names) <= len(room):
        raise InvalidArgumentError(
            f"{len(names)} groups cannot be split into train, {' and '.join(room)}: more groups, or a smaller share"
        )
    part_of = np.zeros(len(names), np.int64)  # 0 is train
    order = chance.permutation(len(names))
    for place, name in enumerate(room, 1):
        left = room[name]
        for number in order:
            if part_of[number] == 0 and left >= sizes[number] / 2:  # nearer to the share with it than without
                part_of[number] = place
                left -= sizes[number]
        if left == room[name]:  # all groups are large: the smallest is the best that can be done
            free = order[part_of[order] == 0]
            part_of[free[sizes[free].argmin()]] = place
    parts = {"train": np.flatnonzero(part_of[inverse] == 0)}
    for name in ("validation", "test"):
        place = list(room).index(name) + 1 if name in room else -1
        parts[name] = np.flatnonzero(part_of[inverse] == place)
    return parts


def _by_time(times: NDArray[Any], shares: dict[str, float]) -> dict[str, NDArray[np.int64]]:
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    parts = {}
    end = len(times)
    for name, share in shares.items():
        start = end - round(share * len(times))
        while 0 < start < end and ordered[start] == ordered[start - 1]:
            start += 1  # what happened at the same time as a row of the training is no future
        parts[name] = np.sort(order[start:end])
        end = start
    if end == 0:
        raise InvalidArgumentError("all rows have late times: nothing is left to train on")
    return {"train": np.sort(order[:end]), **parts}


def folds(
    count: int,
    number: int,
    *,
    labels: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For cross-validation `number` pairs (train, held out); every place is held out once, classes in proportion.

    Raises InvalidArgumentError for fewer than 2 folds, or more than rows or groups.
    """
    if not 2 <= number <= count:
        raise InvalidArgumentError(
            f"{number} folds of {count} rows: must be 2 or more, and no more than rows"
        )
    chance = np.random.default_rng(seed)
    fold_of = np.empty(count, np.int64)
    if groups is not None:
        names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        if len(names) < number:
            raise InvalidArgumentError(f"{number} folds of {len(names)} groups: no more folds than groups")
        filled = np.zeros(number, np.int64)
        fold_of_group = np.empty(len(names), np.int64)
        for group in np.argsort(-sizes + chance.random(len(names)) * 0.5, kind="stable"):
            fold_of_group[group] = filled.argmin()
            filled[fold_of_group[group]] += sizes[group]
        fold_of = fold_of_group[inverse]
    else:
        next_fold = 0
        for value in [0] if labels is None else np.unique(labels):
            places = np.arange(count) if labels is None else np.flatnonzero(labels == value)
            fold_of[chance.permutation(places)] = (np.arange(len(places)) + next_fold) % number
            next_fold += len(places)
    return [(np.flatnonzero(fold_of != i), np.flatnonzero(fold_of == i)) for i in range(number)]


def class_weights(labels: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """ "balanced" weights float32 [classes], as in scikit-learn: rows / (classes x rows of the class); 0 without rows.

    >>> class_weights(np.array([0, 0, 1, 1]), 2).tolist()
    [1.0, 1.0]
    """
    counts = np.bincount(labels, minlength=classes)
    present = int((counts > 0).sum())
    weights = np.zeros(classes)
    np.divide(len(labels), present * counts, out=weights, where=counts > 0)
    return weights.astype(np.float32)
