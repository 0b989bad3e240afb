"""How the Open Inference Protocol sees each task: its tensors, the job they make, and its results as tensors.

The jobs are those of the other routes; nothing is computed here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec
import numpy as np

from ..generation import SAMPLING_NUMBERS, Sampling
from ..pipeline_steps import plain
from ..predict_methods import rows
from ..tasks.answer import AnswerJob
from ..tasks.classify import ClassifyJob
from ..tasks.fill_mask import FillMaskJob
from ..tasks.rerank import RerankJob
from ..tasks.tag import TagJob
from .access import writing_terms
from .errors import invalid
from .inference_tensors import Output, Spec
from .masking import current_masker, mask_output, mask_values
from .pipelines import run_texts
from .predict import json_default

if TYPE_CHECKING:
    from ..loaded_model import Model, ModelInfo
    from ..pipeline import Pipeline
    from ..predict.signature import TensorSpec
    from ..predict.work import Work

Texts = dict[str, Any]  # by input: texts, or of models of tensors arrays
Parameters = dict[str, Any]
Outputs = dict[str, tuple[Spec, Output]]
_json = msgspec.json.Encoder().encode
_json_of_any = msgspec.json.Encoder(enc_hook=json_default).encode
_NUMBER = (int, float)


class TaskTensors(ABC):
    """One task: what it takes and gives. `parameters` are those that a request may have, with their kinds."""

    inputs: ClassVar[tuple[Spec, ...]]
    parameters: ClassVar[dict[str, type | tuple[type, ...]]]

    def inputs_of(self, info: ModelInfo) -> tuple[Spec, ...]:
        """The tensors that a model of this task takes."""
        return self.inputs

    @abstractmethod
    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        """The tensors of a model of this task."""

    @abstractmethod
    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        """One value for each of `outputs`, in that order."""


def _texts(*names: str, count: int = -1) -> tuple[Spec, ...]:
    return tuple(Spec(name, "BYTES", (count,)) for name in names)


def _one(texts: Texts, name: str) -> str:
    if len(texts[name]) != 1:
        raise invalid(f"inputs[{name!r}] holds {len(texts[name])} texts: must be one", param="inputs")
    found: str = texts[name][0]
    return found


class _Embed(TaskTensors):
    inputs = _texts("text")
    parameters: ClassVar = {"truncate": bool, "dimensions": int, "prompt_name": str}

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        return (Spec("embedding", "FP32", (-1, info.dimensions)),)

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        model._check_task("embed")
        result = await model.aembed_result(texts["text"], timeout=timeout, **given)
        return [result.vectors]


class _Classify(TaskTensors):
    inputs = _texts("text")
    parameters: ClassVar = {"truncate": bool}

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        return Spec("scores", "FP32", (-1, len(info.labels))), Spec("label", "BYTES", (-1,))

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        results, _ = await model._arun_request(ClassifyJob(texts["text"], **given), timeout=timeout)
        scores = [{label.label: label.score for label in labels} for labels in results]
        table = np.asarray([[row[name] for name in model.info.labels] for row in scores], dtype=np.float32)
        return [table, [labels[0].label for labels in results]]


class _Rerank(TaskTensors):
    inputs = (*_texts("query", count=1), *_texts("documents"))
    parameters: ClassVar = {"truncate": bool}

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        return (Spec("score", "FP32", (-1,)),)

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        job = RerankJob(_one(texts, "query"), texts["documents"], **given)
        results, _ = await model._arun_request(job, timeout=timeout)
        return [np.asarray(results, dtype=np.float32)]


class _Tag(TaskTensors):
    inputs = _texts("text")
    parameters: ClassVar = {"aggregation": str, "stride": int}

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        return _texts("entities")  # JSON, a list for each text

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        results, _ = await model._arun_request(TagJob(texts["text"], **given), timeout=timeout)
        return [[_json(entities).decode() for entities in results]]


class _Answer(TaskTensors):
    inputs = _texts("question", "context", count=1)
    parameters: ClassVar = {"max_answer_tokens": int, "window": int, "stride": int, "allow_no_answer": bool}

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        score = Spec("score", "FP32", (1,))
        return (*_texts("answer", count=1), score, Spec("start", "INT32", (1,)), Spec("end", "INT32", (1,)))

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        job = AnswerJob(_one(texts, "question"), _one(texts, "context"), **given)
        [result], _ = await model._arun_request(job, timeout=timeout)
        best = result.best
        score = result.no_answer_score if best is None else best.score
        places = (0, 0) if best is None else (best.start, best.end)
        return [
            [result.text],
            np.asarray([score], dtype=np.float32),
            *(np.asarray([place], dtype=np.int32) for place in places),
        ]


class _FillMask(TaskTensors):
    inputs = _texts("text", count=1)
    parameters: ClassVar = {"top_k": int, "truncate": bool}

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        return _texts("candidates")  # JSON, a list for each mask

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        [places], _ = await model._arun_request(FillMaskJob(_one(texts, "text"), **given), timeout=timeout)
        return [[_json(candidates).decode() for candidates in places]]


class _Generate(TaskTensors):
    inputs = _texts("text_input", count=1)
    parameters: ClassVar = {
        **dict.fromkeys(SAMPLING_NUMBERS, _NUMBER),
        "top_k": int, "max_tokens": int, "min_tokens": int, "seed": int, "stop": str, "ignore_eos": bool,
    }  # fmt: skip

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        return _texts("text_output", count=1)

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        sampling = Sampling(**given)
        terms = writing_terms([sampling], timeout)
        stream = await model.abegin(_one(texts, "text_input"), sampling, terms)
        return [[await mask_output("".join([piece.text async for piece in model.apieces(stream)]))]]


class _Predict(TaskTensors):
    """Of a function that names no tensors: items and answers, each as a text of JSON."""

    inputs = _texts("input")
    parameters: ClassVar = {}

    def inputs_of(self, info: ModelInfo) -> tuple[Spec, ...]:
        return _specs(info.inputs) or self.inputs

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        return _specs(info.outputs) or _texts("output")

    def work(self, model: Model, texts: Texts) -> Work:
        """The request, to be run."""
        if model.info.inputs:
            return model._tensor_work(texts)
        return model._many([read_item(text) for text in texts["input"]])

    def found(self, model: Model, work: Work) -> Any:
        """What work that is done gave: tensors by name, or an answer for each item."""
        return work.tensors() if model.info.inputs else rows(work)

    def values(self, model: Model, found: Any) -> list[Output]:
        """The outputs that `found` is."""
        if model.info.inputs:
            return [found[spec.name] for spec in model.info.outputs]
        return [[_json_of_any(result).decode() for result in found]]

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        work = self.work(model, texts)
        await model._acall(work, timeout, "interactive", "refuse")
        return self.values(model, await mask_values(self.found(model, work)))


def read_item(text: str) -> Any:
    """The item that a text of JSON is. HttpError 400 for other texts."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid(
            f"inputs['input'] is not JSON: {error}; each text is one item", param="inputs"
        ) from None


async def mask_items(texts: list[str]) -> list[str]:
    """Items that are texts of JSON, masked where the server masks: the texts in them, however they are escaped."""
    if current_masker() is None:
        return texts
    items = [read_item(text) for text in texts]
    changed = await mask_values(items)
    return texts if changed is items else [_json_of_any(item).decode() for item in changed]


async def piece_json(value: Any) -> str:
    """A piece of an answer as JSON, masked where the server masks."""
    return _json_of_any(await mask_values(value)).decode()


@lru_cache(maxsize=256)
def _specs(tensors: tuple[TensorSpec, ...]) -> tuple[Spec, ...]:
    sizes = [tuple(-1 if size is None else size for size in spec.shape) for spec in tensors]
    return tuple(
        Spec(spec.name, spec.datatype, (-1, *shape), is_text=spec.dtype != "bytes")
        for spec, shape in zip(tensors, sizes, strict=True)
    )


class _Pipeline(TaskTensors):
    inputs = _texts("text")
    parameters: ClassVar = {}

    def outputs(self, info: ModelInfo) -> tuple[Spec, ...]:
        return _texts("output")  # JSON, one for each text

    async def run(self, model: Model, texts: Texts, given: Parameters, timeout: float | None) -> list[Output]:
        results = await run_texts(cast("Pipeline", model), texts["text"], timeout)
        return [[_json(plain(result.output)).decode() for result in results]]


PREDICT = _Predict()
TASKS: dict[str, TaskTensors] = {
    "predict": PREDICT,
    "pipeline": _Pipeline(),
    "embed": _Embed(),
    "classify": _Classify(),
    "rerank": _Rerank(),
    "tag": _Tag(),
    "answer": _Answer(),
    "fill_mask": _FillMask(),
    "generate": _Generate(),
}


# What says how to answer and not what: answers may always be binary, and the last message of a stream always says so,
# which is what Triton's clients ask for by the second.
OF_THE_PROTOCOL = {"binary_data_output", "triton_enable_empty_final_response"}


def split_parameters(task: TaskTensors, given: Parameters) -> tuple[Parameters, float | None]:
    """A request's parameters: those of the task, and its timeout in seconds (the protocol has microseconds).

    HttpError 400 for what is not known: a parameter that is not enforced is never ignored.
    """
    own: Parameters = {}
    timeout = None
    for name, value in given.items():
        if name in OF_THE_PROTOCOL:
            continue
        if name == "timeout" and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            timeout = value * 1e-6
            continue
        kind = task.parameters.get(name)
        known = ", ".join([*task.parameters, "timeout"])
        if kind is None:
            raise invalid(
                f"the parameter {name[:64]!r} is not known here: known are {known}", param="parameters"
            )
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise invalid(
                f"the parameter {name!r} has a value of the wrong kind: {value!r:.64}", param="parameters"
            )
        own[name] = value
    return own, timeout
