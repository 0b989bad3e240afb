"""The second tier of a server's masking (--mask-model, --mask-presidio): what has no rules, such as names.

The model is one that the server serves: it runs through its own queue, so neither the event loop nor a thread waits for
it. Presidio, which is Python, has a thread. Where they cannot answer, nothing goes on.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..errors import DeadlineError, Error, InvalidArgumentError, OverloadedError
from ..security.masking import Finding
from ..security.second_tier import findings_of, plain_unicode, presidio
from ..tasks.tag import TagJob
from ..usage import current_usage
from .errors import HttpError

if TYPE_CHECKING:
    from ..engine import Engine
    from ..loaded_model import Model
    from .service import Service

logger = logging.getLogger("headrace.serve")

_MOST_WAITING = 64  # requests for presidio


class SecondTier:
    """Finds in texts what the model for tag, by its served name, and presidio find; at least one of them is asked for.

    InvalidArgumentError where presidio is not there.
    """

    def __init__(self, model: str | None, *, uses_presidio: bool = False) -> None:
        self._name = model
        self._presidio = presidio() if uses_presidio else None
        self._thread = ThreadPoolExecutor(1, "headrace-presidio") if uses_presidio else None
        self._waiting = 0
        self._service: Service | None = None

    def serve(self, service: Service) -> None:
        """Says whose models are meant."""
        self._service = service

    def check(self, engine: Engine) -> None:
        """InvalidArgumentError for what finds no names, as far as it is in memory."""
        if self._name is None:
            return
        name = engine.resolve(self._name)
        if name in engine.pipelines:
            raise InvalidArgumentError(f"--mask-model {name}: it is a pipeline; name a model for tag")
        model = engine.loaded(name)
        if model is not None:
            findings_of(model)

    async def findings(self, texts: list[str]) -> list[list[Finding]]:
        """What is in each text. HttpError 503 where that cannot be told, 429 where too many ask."""
        places = [place for place, text in enumerate(texts) if text.strip()]
        asked = [texts[place] for place in places]
        found: list[list[Finding]] = [[] for _ in texts]
        token = current_usage.set(None)  # what this costs is no part of what the client asked for
        try:
            for tier in (self._tagged, self._by_presidio):
                for place, more in zip(places, await tier(asked) if asked else (), strict=False):
                    found[place] += more
        except (HttpError, OverloadedError, DeadlineError):
            raise
        except Exception as error:
            # What was asked may be in its words.
            logger.error("the second tier of masking failed: %s", type(error).__name__)
            raise _unavailable("it failed; the server's log says how") from None
        finally:
            current_usage.reset(token)
        return found

    async def _tagged(self, texts: list[str]) -> list[list[Finding]]:
        if self._name is None:
            return []
        model = await self._model(self._name)
        read = findings_of(model)
        entities, _ = await model._arun_request(TagJob(map(plain_unicode, texts), aggregation="max"))
        return [read(each) for each in entities]

    async def _model(self, name: str) -> Model:
        service = self._service
        assert service is not None
        name = service.engine.resolve(name)
        if name in service.loading:
            error = _unavailable(f"its model {name!r} is still being loaded: try again in a second")
            error.headers["retry-after"] = "1"
            raise error
        try:
            model = service.engine.loaded(name) or await service.engine.amodel(name)
            findings_of(model)  # it may be another version than at the start
        except OverloadedError:
            raise
        except (Error, OSError, MemoryError) as error:
            logger.error("masking has no model %r: %s", name, error)
            raise _unavailable(f"its model {name!r} is not there; the server's log says why") from None
        return model

    async def _by_presidio(self, texts: list[str]) -> list[list[Finding]]:
        find = self._presidio
        if find is None:
            return []
        if self._waiting >= _MOST_WAITING:
            raise OverloadedError(f"{self._waiting} requests wait to be masked: try again later")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, lambda: [list(find(text)) for text in texts])
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Ends the thread; it is not waited for."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)


def _unavailable(why: str) -> HttpError:
    return HttpError(
        503, f"nothing is answered without the second tier of masking: {why}", code="masking_unavailable"
    )
