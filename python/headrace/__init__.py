"""AI models as a service, at native speed, from Python.

>>> import headrace
>>> with headrace.load("demo:minilm") as model:
...     model.embed(["hello", "world"]).shape
(2, 384)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    CancelledError,
    CorruptFileError,
    DeadlineError,
    Error,
    InternalError,
    InvalidArgumentError,
    ModelNotFoundError,
    OverloadedError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from ._core import Encoding, Padded, Ragged, Tokenizer, __version__
    from .chat import ChatTemplate
    from .client import AsyncClient, Client
    from .detections import draw_boxes
    from .engine import Engine, info, isa, load
    from .generation import Generation, Piece, Sampling, TokenScore
    from .language_options import LanguageOptions
    from .loaded_model import Embeddings, Model, ModelInfo
    from .packing.package import Packaged, package
    from .predict.function import model
    from .predict.signature import TensorSpec
    from .results import Answer, Candidate, Detection, Entity, Label, Ranked, Span
    from .search import Neighbours, VectorIndex, similarity

__all__ = [
    "Answer",
    "AsyncClient",
    "CancelledError",
    "Candidate",
    "ChatTemplate",
    "Client",
    "CorruptFileError",
    "DeadlineError",
    "Detection",
    "Embeddings",
    "Encoding",
    "Engine",
    "Entity",
    "Error",
    "Generation",
    "InternalError",
    "InvalidArgumentError",
    "Label",
    "LanguageOptions",
    "Model",
    "ModelInfo",
    "ModelNotFoundError",
    "Neighbours",
    "OverloadedError",
    "Packaged",
    "Padded",
    "Piece",
    "Ragged",
    "Ranked",
    "Sampling",
    "Span",
    "TensorSpec",
    "TokenScore",
    "Tokenizer",
    "UnsupportedError",
    "VectorIndex",
    "__version__",
    "draw_boxes",
    "info",
    "isa",
    "load",
    "model",
    "package",
    "similarity",
]

# Loaded when first asked for: `import headrace` must cost next to nothing in a program that only might use it.
_LAZY = {
    "Span": "results",
    "Ranked": "results",
    "Label": "results",
    "Entity": "results",
    "Detection": "results",
    "draw_boxes": "detections",
    "Candidate": "results",
    "Answer": "results",
    "__version__": "_core",
    "AsyncClient": "client",
    "ChatTemplate": "chat",
    "Client": "client",
    "Embeddings": "loaded_model",
    "Encoding": "_core",
    "Engine": "engine",
    "Generation": "generation",
    "LanguageOptions": "language_options",
    "Piece": "generation",
    "Sampling": "generation",
    "TokenScore": "generation",
    "Model": "loaded_model",
    "ModelInfo": "loaded_model",
    "Padded": "_core",
    "Ragged": "_core",
    "Tokenizer": "_core",
    "Neighbours": "search",
    "VectorIndex": "search",
    "info": "engine",
    "similarity": "search",
    "isa": "engine",
    "load": "engine",
    "model": "predict.function",
    "Packaged": "packing.package",
    "package": "packing.package",
    "TensorSpec": "predict.signature",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
