"""explain of a Model, and its async twin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ..errors import InvalidArgumentError
from .explanation import MAX_EVALUATIONS, Explanation, Options

if TYPE_CHECKING:
    from ..loaded_model import Model
    from ..tasks.images import Images
    from .items import ItemsExplained
    from .jobs import ExplainImagesJob, ExplainTagJob, ExplainTextsJob
else:
    Images = Any


class ExplainMethods:
    """Mixed into Model."""

    def explain(
        self,
        item: Any = None,
        *,
        image: Images | None = None,
        target: str | int | None = None,
        method: str = "auto",
        max_evaluations: int = MAX_EVALUATIONS,
        segments: int | None = None,
        baseline: Any = None,
        entity: int = 0,
        seed: int = 0,
        timeout: float | None = None,
    ) -> Explanation:
        """What each word, patch or feature of one input did for the model's answer.

        The model is asked again and again with some of the pieces left out, in batches: all that an explanation needs
        is one request. It works for classify (texts, pictures), tag, and whatever answers `predict` with numbers.

        Args:
            item: a text; of a model of tensors a dict of one item's inputs; of a function its item.
            image: instead, a picture, as `classify` takes it.
            target: the label, output or place in it whose score is explained; None: the best label, the first number.
            method: "shap": Shapley values, which add up to what the pieces together change; "occlusion": how much the
                score falls when a piece alone is missing; "auto": shap where `max_evaluations` is enough for it.
            max_evaluations: how often the model may be asked.
            segments: so many pieces at most.
            baseline: of functions and tensors the item that stands for nothing; None: the mean of the examples in the
                model's folder, else zeros.
            entity: of tag the number of the entity among those of `tag(text, aggregation="first")`.
            seed: of the permutations, where Shapley values are sampled.
            timeout: seconds until each portion of the evaluations must have started.

        Raises:
            InvalidArgumentError: an input without pieces, a method that needs more evaluations, an unknown target, a
                model of another task.
            DeadlineError: the timeout passed.

        >>> import headrace, headrace.toy
        >>> with headrace.load(headrace.toy.model("classify")) as model:
        ...     found = model.explain("good water turns the wheel", target="positive")
        ...     found.names, found.method, found.gap < 1e-6
        (['good', 'water', 'turns', 'the', 'wheel'], 'shap', True)
        """
        model = cast("Model", self)
        options = Options(method, target, max_evaluations, segments, baseline, seed)
        if model.info.task == "predict":
            asked = _asked(model, item, image, options)
            return asked.explanations(model.predict_many(asked.items, timeout=timeout))[0]
        if model.info.task == "tag":
            tagging = _tagging(
                item, image, model.tag(_text(item), aggregation="first", timeout=timeout)[0], entity, options
            )
            return tagging.explanation(model._run(tagging, timeout))
        job = _job(item, image, options)
        return job.explanations(model._run(job, timeout))[0]

    async def aexplain(
        self,
        item: Any = None,
        *,
        image: Images | None = None,
        target: str | int | None = None,
        method: str = "auto",
        max_evaluations: int = MAX_EVALUATIONS,
        segments: int | None = None,
        baseline: Any = None,
        entity: int = 0,
        seed: int = 0,
        timeout: float | None = None,
    ) -> Explanation:
        """`explain` for asyncio: cancelling the task cancels the evaluations."""
        model = cast("Model", self)
        options = Options(method, target, max_evaluations, segments, baseline, seed)
        if model.info.task == "predict":
            asked = _asked(model, item, image, options)
            return asked.explanations(await model.apredict_many(asked.items, timeout=timeout))[0]
        if model.info.task == "tag":
            [entities] = await model.atag(_text(item), aggregation="first", timeout=timeout)
            tagging = _tagging(item, image, entities, entity, options)
            return tagging.explanation(await model._arun(tagging, timeout))
        job = _job(item, image, options)
        return job.explanations(await model._arun(job, timeout))[0]


def _asked(model: Model, item: Any, image: Any, options: Options) -> ItemsExplained:
    from .items import ItemsExplained

    if image is not None or item is None:
        raise InvalidArgumentError("explain: give one item: this model takes what predict takes")
    return ItemsExplained(model, [item], options)


def _text(item: Any) -> str:
    if not isinstance(item, str):
        raise InvalidArgumentError(f"explain: the item is of type {type(item).__name__}: give one text")
    return item


def _job(item: Any, image: Any, options: Options) -> ExplainTextsJob | ExplainImagesJob:
    from .jobs import ExplainImagesJob, ExplainTextsJob

    if (item is None) == (image is None):
        raise InvalidArgumentError("explain: give a text, or image=, one of the two")
    if options.baseline is not None:
        raise InvalidArgumentError("baseline: is for functions and tensors; of texts and pictures pieces go")
    if image is None:
        return ExplainTextsJob(_text(item), options)
    job = ExplainImagesJob(image, options)
    if job.count != 1:
        raise InvalidArgumentError(f"explain: {job.count} pictures are given: give one")
    return job


def _tagging(item: Any, image: Any, entities: list[Any], place: int, options: Options) -> ExplainTagJob:
    from .jobs import ExplainTagJob

    if image is not None:
        raise InvalidArgumentError("explain: this model tags texts: give one")
    if not 0 <= place < len(entities):
        raise InvalidArgumentError(f"entity={place}: the text has {len(entities)} entities")
    return ExplainTagJob(item, entities[place], options)
