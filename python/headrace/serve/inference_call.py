"""POST /v2/models/{name}/infer from the bytes of a body to those of its answer, whoever carries them.

The ASGI route (inference.py) and the connections of `headrace serve` (connection.py) both end here, as those of
/v1/predict do in predict.py. Functions and models of tensors can go the short way; other tasks run where they are
awaited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request

from . import inference_models as models
from .answer import Answer
from .embeddings import loaded_model
from .errors import invalid
from .inference_tensors import InferRequest, Output, Spec, write_outputs
from .pipelines import find_pipeline
from .requests import decode
from .service import DisconnectWatch, Service
from .work_call import WorkCall

if TYPE_CHECKING:
    from ..predict.work import Work

JSON_LENGTH = "inference-header-content-length"
_JSON_LENGTH = JSON_LENGTH.encode()
_BINARY = b"application/octet-stream"
_decoder = msgspec.json.Decoder(InferRequest)


class InferCall(WorkCall):
    """One request that was understood, made by `of`."""

    __slots__ = ("_json", "_name", "_raw", "_service", "_version", "_wanted")

    @classmethod
    async def of(
        cls, service: Service, body: bytes, *, name: str, version: str = "", json_length: str | None = None
    ) -> InferCall:
        """Of a body; HttpError or another error of ours when it cannot be.

        Args:
            name, version: those of the path; an empty version is any.
            json_length: the header of that name: how much of the body is JSON, where tensors stand behind it.
        """
        call = cls(service, body, name, version, json_length)
        found = find_pipeline(service, name) or loaded_model(service, name)
        if found is not None:
            await call._use(found)
        return call

    def __init__(
        self, service: Service, body: bytes, name: str, version: str, json_length: str | None
    ) -> None:
        super().__init__()
        size = len(body)
        if json_length is not None:
            if not (json_length.isascii() and json_length.isdigit() and int(json_length[:12]) <= size):
                raise invalid(
                    f"Inference-Header-Content-Length is {json_length[:32]!r}: the body has {size} bytes"
                )
            size = int(json_length)
        self._service = service
        self._name, self._version = name, version
        self._json = body if size == len(body) else body[:size]
        self._raw = memoryview(body)[size:]
        self._wanted: InferRequest | None = None

    async def _use(self, model: Any) -> None:
        models.check_version(model.info, self._version)
        self._model = model
        if model.info.task == "predict":
            self._work, self._timeout = await models.work_of(model, self._request(), self._raw)

    def _request(self) -> InferRequest:
        if self._wanted is None:
            wanted = self._wanted = decode(_decoder, self._json)
            if wanted.model_name is not None and wanted.model_name != self._name:
                raise invalid(
                    f"model_name is {wanted.model_name[:64]!r}, and the path asks {self._name[:64]!r}:"
                    " leave it out, or make them one", param="model_name",
                )  # fmt: skip
        return self._wanted

    async def answer(self, request: Request) -> Answer:
        """Runs it, as the task that asks; cancelling the task cancels the work."""
        with DisconnectWatch(request):
            if self._model is None:
                await self._use(await models.found(self._service, self._name, self._version))
            if self._work is None:
                return self._written(await models.infer(self._model, self._request(), self._raw))
            await self._model._acall(self._work, self._timeout, "interactive", "refuse")
            return self._written(await models.masked_outputs_of(self._model, self._work))

    def written(self, work: Work) -> Answer:
        """The answer that its results are, where nothing masks them."""
        return self._written(models.outputs_of(self._model, work))

    def _written(self, outputs: dict[str, tuple[Spec, Output]]) -> Answer:
        wanted = self._request()
        head = {"model_name": self._model.name, "model_version": self._model.info.version}
        if wanted.id is not None:
            head["id"] = wanted.id
        body, json_size = write_outputs(head, wanted, outputs)
        if json_size is None:
            return Answer(body)
        return Answer(body, content_type=_BINARY, headers=[(_JSON_LENGTH, b"%d" % json_size)])
