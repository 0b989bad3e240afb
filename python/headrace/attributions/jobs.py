"""Explaining classify and tag: every evaluation of a request is one item of one job, so that the core batches them, and
deadlines, limits and cancelling are those of any other request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import inputs
from ..errors import InvalidArgumentError
from ..results import Entity, Label
from ..tasks.classify import ranked
from ..tasks.images import ImagesJob, as_images, check_input, decode_all
from ..tasks.job import Job, Terms, submit_inputs
from ..tasks.scores import scores_of
from ..tasks.tag import TagJob
from .coalitions import Plan, plan
from .explanation import Explanation, Options, explained
from .pieces import Words, patches, without_patches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .. import _core
    from ..loaded_model import Model

_WORDS_GONE = "the words deleted"


def check_request(plans: Sequence[Plan], most: int | None) -> None:
    """InvalidArgumentError where all plans together need more than `most` evaluations."""
    total = sum(len(each.masks) for each in plans)
    if most is not None and total > most:
        raise InvalidArgumentError(
            f"explain: {len(plans)} inputs need {total} evaluations, and a request may ask for {most}: send fewer "
            "inputs, a smaller max_evaluations, fewer segments, or method 'occlusion'"
        )


class ExplainJob(Job["NDArray[np.float32]"]):
    """What the jobs of texts and of pictures have in common. An item is (input, row of its plan); its result the scores
    of all labels."""

    task = "classify"
    is_shadowed = False
    _plans: list[Plan]
    _options: Options
    _labels: tuple[str, ...] = ()

    def _plan(self, sizes: Sequence[int], options: Options, most: int | None) -> None:
        """Plans for inputs of so many pieces. InvalidArgumentError where they need more than `most` evaluations."""
        self._options = options
        self._plans = [plan(size, options.method, options.max_evaluations, options.seed) for size in sizes]
        check_request(self._plans, most)
        self.items = [(i, row) for i, each in enumerate(self._plans) for row in range(len(each.masks))]

    @property
    def count(self) -> int:
        """Inputs that are explained."""
        return len(self._plans)

    def read(self, model: Model, items: Sequence[Any], ticket: _core.Ticket) -> list[NDArray[np.float32]]:
        self._labels = model.info.labels
        return list(scores_of(ticket.vectors(), model.info.activation))

    def labels(self, results: Sequence[NDArray[np.float32]], top_k: int | None = None) -> list[list[Label]]:
        """What classify answers for each input."""
        import numpy as np

        return ranked(np.stack([results[begin] for begin in self._begins()]), self._labels, top_k)

    def explanations(self, results: Sequence[NDArray[np.float32]]) -> list[Explanation]:
        """One for each input, of the results of all evaluations."""
        found = []
        for i, (begin, each) in enumerate(zip(self._begins(), self._plans, strict=True)):
            label = label_of(self._options.target, ranked(results[begin][None], self._labels, None)[0])
            column = self._labels.index(label)
            scores = [float(row[column]) for row in results[begin : begin + len(each.masks)]]
            found.append(self._explained(i, label, scores))
        return found

    def _begins(self) -> list[int]:
        """The first of each input's evaluations, which has all pieces."""
        return [0, *accumulate(len(each.masks) for each in self._plans[:-1])]

    def _explained(self, place: int, target: str, scores: list[float]) -> Explanation:
        raise NotImplementedError


def label_of(target: str | int | None, labels: Sequence[Label]) -> str:
    """The label to explain; the best one unless it is named."""
    if target is None:
        return labels[0].label
    known = [label.label for label in labels]
    if not isinstance(target, str) or target not in known:
        raise InvalidArgumentError(f"target={target!r}: the model's labels are {', '.join(known[:30])}")
    return target


class ExplainTextsJob(ExplainJob):
    """Texts without some of their words."""

    def __init__(
        self,
        texts: str | Iterable[str],
        options: Options,
        *,
        truncate: bool = False,
        most: int | None = None,
    ) -> None:
        if isinstance(texts, list) and texts and isinstance(texts[0], tuple):
            raise InvalidArgumentError("explain: pairs of texts cannot be explained yet: give texts")
        self._truncate = truncate
        self._words = [Words(text, options.segments) for text in inputs.as_texts(texts)]
        self._plan([len(words) for words in self._words], options, most)

    @property
    def characters(self) -> int:
        return sum(len(w.text) * len(p.masks) for w, p in zip(self._words, self._plans, strict=True))

    def submit(self, model: Model, items: Sequence[Any], terms: Terms) -> _core.Ticket:
        texts = [self._words[i].without(self._plans[i].masks[row]) for i, row in items]
        return submit_inputs(model, texts, terms, truncate=self._truncate)

    def _explained(self, place: int, target: str, scores: list[float]) -> Explanation:
        words = self._words[place]
        return explained(
            self._plans[place], scores, kind="text", target=target, names=words.names, baseline=_WORDS_GONE,
            text=words.text, spans=words.spans,
        )  # fmt: skip


class ExplainImagesJob(ExplainJob):
    """Pictures without some of their patches."""

    portion = ImagesJob.portion
    characters = ImagesJob.characters

    def __init__(self, images: Any, options: Options, *, most: int | None = None) -> None:
        self._images = as_images(images)
        self._planes: dict[int, NDArray[np.float32]] = {}
        self._plan([_pieces(options)] * len(self._images), options, most)

    def submit(self, model: Model, items: Sequence[Any], terms: Terms) -> _core.Ticket:
        check_input(model, "image")
        self._folder = Path(model.info.path)
        wanted = sorted({place for place, _ in items} - set(self._planes))
        decoded = decode_all([self._images[place] for place in wanted], model)
        self._planes.update(zip(wanted, decoded, strict=True))
        arrays = [self._without(place, row) for place, row in items]
        return model._core.submit_pictures(
            model._core_name, arrays, terms.priority, terms.wait, terms.timeout_us, terms.queue
        )

    def _groups(self, place: int) -> NDArray[np.int64]:
        _, height, width = self._planes[place].shape
        return patches(height, width, self._options.segments)

    def _without(self, place: int, row: int) -> NDArray[np.float32]:
        return without_patches(self._planes[place], self._groups(place), self._plans[place].masks[row])

    def _explained(self, place: int, target: str, scores: list[float]) -> Explanation:
        names = [f"patch {number}" for number in range(self._plans[place].masks.shape[1])]
        return explained(
            self._plans[place], scores, kind="image", target=target, names=names, baseline="the mean colour",
            picture=pixels_of(self._planes[place], self._folder), groups=self._groups(place),
        )  # fmt: skip


def _pieces(options: Options) -> int:
    return int(patches(1024, 1024, options.segments).max()) + 1


def pixels_of(planes: NDArray[np.float32], folder: Path) -> NDArray[np.uint8]:
    """What a model's preprocessing made of a picture, as a picture again: uint8 [height, width, 3]."""
    import numpy as np

    try:
        said = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = {}
    mean, std = (
        np.asarray(said.get(name, [0.5] * 3), np.float32)[:, None, None]
        for name in ("image_mean", "image_std")
    )
    return np.asarray((planes * std + mean).clip(0, 1).transpose(1, 2, 0) * 255 + 0.5, np.uint8)


class ExplainTagJob(Job[float]):
    """How sure the model is of an entity when some of the other words are missing; its own words stay."""

    task = "tag"
    is_shadowed = False

    def __init__(self, text: str, entity: Entity, options: Options) -> None:
        self._words = Words(text, options.segments, keep=(entity.start, entity.end))
        self._entity = entity
        self._plan = plan(len(self._words), options.method, options.max_evaluations, options.seed)
        self._placed = [self._words.place_without(mask) for mask in self._plan.masks]
        self.items = list(range(len(self._placed)))
        self._tag = TagJob(text)

    @property
    def characters(self) -> int:
        return sum(len(text) for text, _ in self._placed)

    def submit(self, model: Model, items: Sequence[int], terms: Terms) -> _core.Ticket:
        return self._tag.submit(model, [self._placed[i][0] for i in items], terms)

    def read(self, model: Model, items: Sequence[int], ticket: _core.Ticket) -> list[float]:
        """The mean, over the entity's tokens, of the probability of its kind."""
        kinds = [label.split("-", 1)[-1] == self._entity.label for label in model.info.labels]
        scores = scores_of(ticket.vectors(), "softmax")[:, kinds].sum(axis=1)
        found: list[list[float]] = [[] for _ in items]
        for window, begin, end in zip(
            ticket.windows(), ticket.row_starts, ticket.row_starts[1:], strict=False
        ):
            start, stop = self._placed[items[window.input]][1]
            inside = (
                (window.offsets[:, 0] < stop) & (window.offsets[:, 1] > start) & (window.sequence_ids >= 0)
            )
            found[window.input] += scores[begin:end][inside].tolist()
        return [sum(each) / len(each) if each else 0.0 for each in found]

    def explanation(self, results: Sequence[float]) -> Explanation:
        """Of the results of all evaluations."""
        entity, words = self._entity, self._words
        return explained(
            self._plan, list(results), kind="text", target=f"{entity.label} {entity.text!r}", names=words.names,
            baseline="the other words deleted", text=words.text, spans=words.spans,
        )  # fmt: skip
