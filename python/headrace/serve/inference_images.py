"""Pictures in the Open Inference Protocol: `image`, encoded files as BYTES, or `pixel_values`, what the model's own
preprocessing would make of them, as FP32 [n, 3, height, width]. A request has one of the two."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgumentError
from ..tasks.images import ClassifyImagesJob, EmbedImagesJob
from .errors import invalid
from .images import MAX_IMAGES, has_pillow
from .inference_tensors import InferRequest, Output, Spec, Tensor

if TYPE_CHECKING:
    from ..loaded_model import Model, ModelInfo

NAMES = ("image", "pixel_values")


def specs(info: ModelInfo) -> tuple[Spec, ...]:
    """What a model that sees takes, besides texts if it reads."""
    if info.image_size is None:
        return ()
    width, height = info.image_size
    return Spec("image", "BYTES", (-1,)), Spec("pixel_values", "FP32", (-1, 3, height, width))


def has_images(request: InferRequest) -> bool:
    return any(tensor.name in NAMES for tensor in request.inputs)


async def run(
    model: Model, request: InferRequest, raw: memoryview, given: dict[str, Any], timeout: float | None
) -> list[Output]:
    """One value for each output of the model's task; HttpError 400 for tensors that are not what `specs` say."""
    if len(request.inputs) != 1:
        raise invalid("inputs: a request with pictures has one tensor: image or pixel_values", param="inputs")
    [tensor] = request.inputs
    known = {spec.name: spec for spec in specs(model.info)}
    if tensor.name not in known:
        raise invalid(f"inputs[{tensor.name!r}]: the model {model.name!r} sees no pictures", param="inputs")
    spec = known[tensor.name]
    if tensor.datatype != spec.datatype:
        raise invalid(
            f"inputs[{tensor.name!r}] has the datatype {tensor.datatype[:16]}: must be {spec.datatype}",
            param="inputs",
        )
    content = _binary(tensor, raw)
    images: Any
    if tensor.name == "image":
        has_pillow()
        images = _files(tensor, content)
    else:
        images = list(_planes(tensor, content, spec))
    if model.info.task == "classify":
        labels, _ = await model._arun_request(ClassifyImagesJob(images), timeout=timeout)
        scores = [{label.label: label.score for label in row} for row in labels]
        table = np.asarray([[row[name] for name in model.info.labels] for row in scores], np.float32)
        return [table, [row[0].label for row in labels]]
    dimensions = given.get("dimensions")
    model._check_dimensions(dimensions)
    _, ticket = await model._arun_request(EmbedImagesJob(images), timeout=timeout)
    return [model._result_of(ticket, dimensions).vectors]


def _binary(tensor: Tensor, raw: memoryview) -> memoryview | None:
    """The tensor's raw bytes; None where it has JSON data."""
    size = tensor.parameters.get("binary_data_size")
    if size is None and len(raw) == 0:
        return None
    if size != len(raw) or isinstance(size, bool) or tensor.values() is not None:
        raise invalid(
            f"inputs[{tensor.name!r}] has a binary_data_size of {size!r:.20}, and {len(raw)} bytes follow the JSON",
            param="inputs",
        )
    return raw


def _files(tensor: Tensor, raw: memoryview | None) -> list[bytes]:
    files: list[bytes] = []
    if raw is None:
        from ..pictures import from_data_url

        data = tensor.values()
        rows = data if isinstance(data, list) else [data]
        for i, row in enumerate(rows):
            try:
                files.append(from_data_url(row if isinstance(row, str) else "://"))
            except InvalidArgumentError as error:
                raise invalid(f"inputs['image'].data[{i}]: {error}", param="inputs") from None
    else:
        at = 0
        while at + 4 <= len(raw):
            end = at + 4 + struct.unpack_from("<I", raw, at)[0]
            files.append(bytes(raw[at + 4 : end]))
            at = end
        if at != len(raw):
            raise invalid("inputs['image']: a picture's length goes beyond its tensor", param="inputs")
    if not 1 <= len(files) <= MAX_IMAGES or tensor.shape not in ([len(files)], [len(files), 1]):
        raise invalid(
            f"inputs['image'] has {len(files)} pictures, its shape {tensor.shape[:8]}: must be [n], 1 to {MAX_IMAGES}",
            param="inputs",
        )
    return files


def _planes(tensor: Tensor, raw: memoryview | None, spec: Spec) -> NDArray[np.float32]:
    shape = tensor.shape
    if len(shape) != 4 or tuple(shape[1:]) != spec.shape[1:] or not 1 <= shape[0] <= MAX_IMAGES:
        raise invalid(
            f"inputs['pixel_values'] has the shape {shape[:8]}: must be [n, {', '.join(map(str, spec.shape[1:]))}], n "
            f"from 1 to {MAX_IMAGES}",
            param="inputs",
        )
    try:
        flat = (
            np.asarray(tensor.values(), np.float32)
            if raw is None
            else np.frombuffer(raw, "<f4").astype(np.float32)
        )
        return flat.reshape(shape)
    except (ValueError, TypeError):
        raise invalid(
            f"inputs['pixel_values'] does not hold as many numbers as {shape} says", param="inputs"
        ) from None
