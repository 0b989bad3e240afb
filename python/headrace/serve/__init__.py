"""The engine behind HTTP: a router for your FastAPI application, or a whole application.

    engine = headrace.Engine()
    engine.add("minilm", "demo:minilm")
    app = fastapi.FastAPI()
    app.include_router(headrace.serve.router(engine), prefix="/ai")      # POST /ai/v1/embeddings

or `app = headrace.serve.create_app(engine)`, which adds health, metrics and documentation; `headrace serve`
runs that one.
"""

from __future__ import annotations

import importlib.util

_MISSING = [name for name in ("fastapi", "msgspec") if importlib.util.find_spec(name) is None]
if _MISSING:
    raise ImportError(
        f"headrace.serve needs {' and '.join(_MISSING)}, which the core does not install: "
        "pip install 'headrace[serve]'"
    )

from .app import create_app, router  # noqa: E402

__all__ = ["create_app", "router"]
