"""The messages of open_inference.proto, and what of the engine's side each is.

They live in a pool of descriptors of their own: a program that also uses tritonclient has messages of the same names.
open_inference.binpb is open_inference.proto as protoc reads it:
python -m grpc_tools.protoc -I FOLDER --descriptor_set_out=FOLDER/open_inference.binpb open_inference.proto
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from .errors import invalid
from .inference_tensors import InferRequest, ListedTensor, Output, RequestedOutput, Spec, Tensor, to_bytes

if TYPE_CHECKING:
    from google.protobuf.message import Message

SERVICE = "inference.GRPCInferenceService"
_set = descriptor_pb2.FileDescriptorSet.FromString((files(__package__) / "open_inference.binpb").read_bytes())
POOL = descriptor_pool.DescriptorPool()
for _file in _set.file:
    POOL.Add(_file)
METHODS = POOL.FindServiceByName(SERVICE).methods


def message(name: str) -> Any:
    """The class of the message of that name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


_InferResponse = message("ModelInferResponse")


def _parameters(given: Any, where: str) -> dict[str, Any]:
    found = {}
    for name, value in given.items():
        choice = value.WhichOneof("parameter_choice")
        if choice is None:
            raise invalid(f"{where}: the parameter {name[:64]!r} has no value", param="parameters")
        found[name] = getattr(value, choice)
    return found


def read_request(request: Any) -> tuple[InferRequest, memoryview]:
    """A ModelInferRequest, and its raw contents, one after the other."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(
            f"raw_input_contents has {len(raw)} items for {len(request.inputs)} inputs: must have one for each",
            param="inputs",
        )
    tensors = [_tensor(tensor, raw[i] if raw else None) for i, tensor in enumerate(request.inputs)]
    outputs = [
        RequestedOutput(output.name, _parameters(output.parameters, "outputs")) for output in request.outputs
    ]
    wanted = InferRequest(
        inputs=tensors,
        id=request.id or None,
        parameters=_parameters(request.parameters, "parameters"),
        outputs=outputs or None,
    )
    return wanted, memoryview(raw[0] if len(raw) == 1 else b"".join(raw))


# Where typed contents lie. Those of FP16 are raw alone.
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"), "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"), "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip


def _tensor(tensor: Any, raw: bytes | None) -> Tensor:
    parameters = _parameters(tensor.parameters, "inputs")
    if raw is not None:
        parameters["binary_data_size"] = len(raw)
        return Tensor(tensor.name, list(tensor.shape), tensor.datatype, parameters)
    if tensor.datatype in _CONTENTS:
        numbers = list(getattr(tensor.contents, _CONTENTS[tensor.datatype]))
        return ListedTensor(tensor.name, list(tensor.shape), tensor.datatype, parameters, listed=numbers)
    try:
        texts = [content.decode() for content in tensor.contents.bytes_contents]
    except UnicodeDecodeError:
        raise invalid(f"inputs[{tensor.name[:64]!r}]: a text is not UTF-8", param="inputs") from None
    return ListedTensor(tensor.name, list(tensor.shape), tensor.datatype, parameters, listed=texts)


def write_response(
    model: str, version: str, request: InferRequest, outputs: dict[str, tuple[Spec, Output]]
) -> Message:
    """A ModelInferResponse with the tensors that were asked for, as raw contents."""
    asked = [output.name for output in request.outputs] if request.outputs else list(outputs)
    response = _InferResponse(model_name=model, model_version=version, id=request.id or "")
    for name in asked:
        if name not in outputs:
            raise invalid(
                f"outputs[{name[:64]!r}]: this model has the outputs {', '.join(outputs)}", param="outputs"
            )
        spec, values = outputs[name]
        shape = [len(values)] if isinstance(values, list) else list(values.shape)
        response.outputs.add(name=spec.name, datatype=spec.datatype, shape=shape)
        response.raw_output_contents.append(to_bytes(spec, values))
    found: Message = response
    return found
