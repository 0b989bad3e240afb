"""The public names are exactly these, and each explains itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import headrace
import headrace.serve

NAMES = {
    *("AsyncClient", "Client", "Embeddings", "Encoding", "Engine"),
    *("ChatTemplate", "Model", "ModelInfo", "Padded", "Ragged", "Tokenizer"),
    *(
        "CancelledError",
        "CorruptFileError",
        "DeadlineError",
        "Error",
        "InternalError",
        "InvalidArgumentError",
    ),
    *("ModelNotFoundError", "OverloadedError", "UnsupportedError"),
    *("Answer", "Candidate", "Entity", "Label", "Ranked", "Span"),
    *("Detection", "draw_boxes"),
    *("Neighbours", "VectorIndex", "similarity"),
    *("Generation", "LanguageOptions", "Piece", "Sampling", "TokenScore"),
    *("Packaged", "TensorSpec", "model", "package"),
    *("__version__", "info", "isa", "load"),
}


def test_all_is_exact() -> None:
    assert set(headrace.__all__) == NAMES
    assert len(headrace.__all__) == len(NAMES)
    assert set(dir(headrace)) >= NAMES
    assert headrace.serve.__all__ == ["create_app", "router"]


def test_no_module_hides_a_name() -> None:
    """Importing headrace.x binds the attribute x of headrace, whatever was there."""
    modules = {path.stem for path in Path(headrace.__file__).parent.iterdir()}
    assert not modules & set(headrace.__all__)


def test_every_name_is_there_and_documented() -> None:
    for name in NAMES - {"__version__"}:
        assert inspect.getdoc(getattr(headrace, name)), name


def test_public_methods_are_documented() -> None:
    for name in ("Client", "AsyncClient", "Engine", "Model", "Tokenizer", "VectorIndex"):
        for method, value in vars(getattr(headrace, name)).items():
            if not method.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{method}"


def public_functions() -> Iterator[Any]:
    """What users call, with the arguments that they pass."""
    yield headrace.load
    for kind in (headrace.Client, headrace.AsyncClient, headrace.Engine):
        yield kind.__init__
    for kind in (headrace.Client, headrace.AsyncClient, headrace.Engine, headrace.Model):
        yield from (f for name, f in vars(kind).items() if inspect.isfunction(f) and not name.startswith("_"))


def test_arguments_after_the_first_are_keywords() -> None:
    two_by_nature = {
        "Engine.add",
        "Engine.add_pipeline",
        "Engine.register",
        "Engine.shadow",
        "Engine.replace",
        "Engine.predict",
        "Engine.apredict",
        "Model.similarity",
    }  # a name and a path, two sets of vectors
    for function in public_functions():
        parameters = [p for name, p in inspect.signature(function).parameters.items() if name != "self"]
        positional = [p for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
        assert len(positional) <= (2 if function.__qualname__ in two_by_nature else 1), function.__qualname__


def test_errors_are_also_builtins() -> None:
    assert issubclass(headrace.InvalidArgumentError, ValueError)
    assert issubclass(headrace.ModelNotFoundError, LookupError)
    assert issubclass(headrace.DeadlineError, TimeoutError)
    assert issubclass(headrace.UnsupportedError, NotImplementedError)
