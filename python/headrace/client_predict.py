"""predict of both clients: what a Model's methods of the same names give, over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import InvalidArgumentError
from .predict_methods import MISSING

if TYPE_CHECKING:
    from .client import _Protocol, _Send

    Base: TypeAlias = _Protocol
else:
    Base = object

_Steps: TypeAlias = "Generator[Any, Any, Any]"
_PATH = "/v1/predict"
_MAX_ITEMS = 256  # in one request


def _json(value: Any) -> Any:
    """numpy's things as what JSON has, and bytes as base64, which inputs of `bytes` are read from."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise InvalidArgumentError(
        f"a value of type {type(value).__name__} cannot be sent as JSON: give numbers, str, bytes, lists, dicts or "
        "arrays"
    )


class PredictSteps(Base):
    """What both clients do."""

    def _prediction(self, body: Mapping[str, Any], path: str = _PATH) -> _Send:
        from .client import _Send

        try:
            content = json.dumps(body, ensure_ascii=False, default=_json).encode()
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(f"item: must be valid Unicode: {error}") from None
        return _Send("POST", path, content)

    def _predict(self, model: str, item: Any, tensors: Mapping[str, Any]) -> _Steps:
        if item is MISSING:
            return (yield from self._predict_tensors(model, tensors))
        if tensors:
            raise InvalidArgumentError("predict: an item and tensors are given: give one of them")
        return json.loads((yield from self._exchange(self._prediction({"model": model, "input": item}))))[
            "output"
        ]

    def _predict_many(self, model: str, items: list[Any]) -> _Steps:
        found: list[Any] = []
        for start in range(0, len(items), _MAX_ITEMS):
            body = {"model": model, "inputs": items[start : start + _MAX_ITEMS]}
            answer = json.loads((yield from self._exchange(self._prediction(body))))
            found += [row["output"] for row in answer["data"]]
        return found

    def _predict_tensors(self, model: str, tensors: Mapping[str, Any]) -> _Steps:
        """Over the Open Inference Protocol, whose tensors have types: those that the model says."""
        import numpy as np

        from .client import _Send
        from .predict.signature import numpy_dtype_of

        path = f"/v2/models/{model}"
        known = json.loads((yield from self._exchange(_Send("GET", path))))
        datatypes = {spec["name"]: spec["datatype"] for spec in known["inputs"]}
        inputs = []
        for name, value in tensors.items():
            datatype = datatypes.get(name, "BYTES")
            # numpy's own type for bytes drops zeros at their end.
            array = np.asarray(value, dtype=object if datatype == "BYTES" else None)
            inputs.append(
                {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel()}
            )
        answer = json.loads(
            (yield from self._exchange(self._prediction({"inputs": inputs}, f"{path}/infer")))
        )

        def array_of(tensor: Mapping[str, Any]) -> Any:
            dtype = object if tensor["datatype"] == "BYTES" else numpy_dtype_of(tensor["datatype"])
            return np.array(tensor["data"], dtype=dtype).reshape(tensor["shape"])

        return {tensor["name"]: array_of(tensor) for tensor in answer["outputs"]}

    def _output(self, line: str) -> Any:
        """What a line of the stream says; MISSING for those that say nothing. Raises what the server tells."""
        from .client import _Reply

        data = line[5:].strip() if line.startswith("data:") else ""
        if data in ("", "[DONE]"):
            return MISSING
        event = json.loads(data)
        if "error" in event:
            raise self._error(_Reply(500, {}, data.encode()))
        return event["output"]


class PredictCalls(PredictSteps):
    """The methods of Client."""

    if TYPE_CHECKING:

        def _run(self, steps: _Steps) -> Any: ...
        def _lines(self, send: _Send) -> Iterator[str]: ...

    def predict(self, item: Any = MISSING, /, *, model: str, **tensors: Any) -> Any:
        """The answer of a function, or of a model of tensors, to one item as JSON has it; or of arrays [n, ...] by name
        a dict of arrays. bytes are sent in base64, and outputs of `bytes` of one item come so."""
        return self._run(self._predict(model, item, tensors))

    def predict_many(self, items: Iterable[Any], *, model: str) -> list[Any]:
        """The answers to many items, in order, in requests of bounded size."""
        return self._run(self._predict_many(model, list(items)))  # type: ignore[no-any-return]

    def predict_stream(self, item: Any, *, model: str) -> Iterator[Any]:
        """The pieces of the answer of a function that yields, as they come. Leaving the loop ends the work."""
        for line in self._lines(self._prediction({"model": model, "input": item, "stream": True})):
            if (piece := self._output(line)) is not MISSING:
                yield piece


class AsyncPredictCalls(PredictSteps):
    """The same for AsyncClient."""

    if TYPE_CHECKING:

        async def _run(self, steps: _Steps) -> Any: ...
        def _lines(self, send: _Send) -> AsyncIterator[str]: ...

    async def predict(self, item: Any = MISSING, /, *, model: str, **tensors: Any) -> Any:
        """As Client.predict."""
        return await self._run(self._predict(model, item, tensors))

    async def predict_many(self, items: Iterable[Any], *, model: str) -> list[Any]:
        """As Client.predict_many."""
        return await self._run(self._predict_many(model, list(items)))  # type: ignore[no-any-return]

    async def predict_stream(self, item: Any, *, model: str) -> AsyncIterator[Any]:
        """As Client.predict_stream."""
        async for line in self._lines(self._prediction({"model": model, "input": item, "stream": True})):
            if (piece := self._output(line)) is not MISSING:
                yield piece
