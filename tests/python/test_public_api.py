"""The public names are exactly these, and each explains itself."""

from __future__ import annotations

import inspect

import headrace
import headrace.serve

NAMES = {
    *("AsyncClient", "Client", "Embeddings", "Engine", "Model", "ModelInfo", "Tokenizer"),
    *(
        "CancelledError",
        "CorruptFileError",
        "DeadlineError",
        "Error",
        "InternalError",
        "InvalidArgumentError",
    ),
    *("ModelNotFoundError", "OverloadedError", "UnsupportedError"),
    *("__version__", "info", "isa", "load", "serve"),
}


def test_all_is_exact() -> None:
    assert set(headrace.__all__) == NAMES
    assert len(headrace.__all__) == len(NAMES)
    assert set(dir(headrace)) >= NAMES
    assert headrace.serve.__all__ == ["create_app", "router"]


def test_every_name_is_there_and_documented() -> None:
    for name in NAMES - {"__version__"}:
        assert inspect.getdoc(getattr(headrace, name)), name


def test_public_methods_are_documented() -> None:
    for name in ("Client", "AsyncClient", "Engine", "Model", "Tokenizer"):
        for method, value in vars(getattr(headrace, name)).items():
            if not method.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{method}"


def test_arguments_after_the_first_are_keywords() -> None:
    for name in ("Client", "AsyncClient", "Engine", "Model", "load"):
        value = getattr(headrace, name)
        functions = (
            [value]
            if inspect.isfunction(value)
            else [f for f in vars(value).values() if inspect.isfunction(f)]
        )
        for function in functions:
            if function.__name__.startswith("__") and function.__name__ != "__init__":
                continue
            if function.__name__.startswith("_") and function.__name__ != "__init__":
                continue
            parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
            positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
            assert len(positional) <= (2 if function.__name__ == "add" else 1), function.__qualname__


def test_errors_are_also_builtins() -> None:
    assert issubclass(headrace.InvalidArgumentError, ValueError)
    assert issubclass(headrace.ModelNotFoundError, LookupError)
    assert issubclass(headrace.DeadlineError, TimeoutError)
    assert issubclass(headrace.UnsupportedError, NotImplementedError)
