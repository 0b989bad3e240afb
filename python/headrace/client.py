"""Client and AsyncClient: the methods of a Model, over HTTP to a running `headrace serve`.

Both run the same steps. A step is a generator that yields what it needs done (send these bytes, sleep so
long) and is told the outcome; only the two short loops at the end know whether that is awaited.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from . import errors
from .client_explain import AsyncExplainCalls, ExplainCalls
from .client_generate import AsyncGenerateCalls, GenerateCalls
from .client_images import ImageSteps
from .client_predict import AsyncPredictCalls, PredictCalls
from .client_tasks import AsyncTaskCalls, TaskCalls
from .inputs import as_texts
from .render import progress_bar

if TYPE_CHECKING:
    import httpx2
    import numpy
    from numpy.typing import NDArray

    from .tasks.images import Images

T = TypeVar("T")

_MAX_TEXTS = 256  # a request; keeps one answer near half a megabyte and the progress bar moving
_MAX_CHARACTERS = 1_000_000
_PROGRESS_FROM = 1024  # texts; below that, no progress bar unless asked for
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 30.0
_RETRIED = {429, 502, 503, 504}
_KINDS: dict[int, type[errors.Error]] = {
    400: errors.InvalidArgumentError,
    401: errors.InvalidArgumentError,
    403: errors.InvalidArgumentError,
    404: errors.ModelNotFoundError,
    413: errors.InvalidArgumentError,
    429: errors.OverloadedError,
    501: errors.UnsupportedError,
    503: errors.OverloadedError,
    504: errors.DeadlineError,
}


@dataclass(frozen=True)
class _Send:
    method: str
    path: str
    content: bytes | None = None


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: Any
    content: bytes
    error: Exception | None = None  # why nothing came back; the status is then 0


@dataclass(frozen=True)
class _Sleep:
    seconds: float


_NOTHING = _Reply(0, {}, b"")  # the outcome of a sleep
_Steps: TypeAlias = Generator[_Send | _Sleep, _Reply, T]


def _library() -> Any:
    try:
        import httpx2
    except ImportError:
        try:
            import httpx  # the same interface; what is there on Python 3.10
        except ImportError:
            raise ImportError("headrace.Client needs httpx2: pip install 'headrace[client]'") from None
        return httpx
    return httpx2


class _Protocol(ImageSteps):
    """What both clients have in common: all but the waiting."""

    def __init__(self, base_url: str, api_key: str | None, timeout: float, max_retries: int) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise errors.InvalidArgumentError(f"base_url={base_url!r}: must start with http:// or https://")
        if max_retries < 0:
            raise errors.InvalidArgumentError(f"max_retries={max_retries}: must be at least 0")
        self._library = _library()
        self._max_retries = max_retries
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        headers = {"content-type": "application/json"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._settings: dict[str, Any] = {
            "base_url": self.base_url,
            "headers": headers,
            "timeout": self._library.Timeout(timeout, connect=min(timeout, 10.0)),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def _exchange(self, send: _Send) -> _Steps[bytes]:
        """The body of a good answer; sends again, with growing pauses, what failed for want of capacity."""
        attempt = 0
        while True:
            reply = yield send
            if reply.status == 200:
                return reply.content
            wait = _pause(reply, attempt)
            hopeless = reply.error is None and reply.status not in _RETRIED
            if hopeless or attempt == self._max_retries or wait > _LONGEST_WAIT:
                raise self._error(reply)
            yield _Sleep(wait)
            attempt += 1

    def _error(self, reply: _Reply) -> Exception:
        if reply.error is not None:
            if isinstance(reply.error, self._library.TimeoutException):
                return errors.DeadlineError(f"{self.base_url} did not answer in time: {reply.error!r}")
            return errors.Error(
                f"cannot reach {self.base_url} ({reply.error}): is `headrace serve` running there?"
            )
        try:
            told = json.loads(reply.content)["error"]
            message, code = str(told["message"]), told.get("code")
        except (ValueError, LookupError, TypeError, AttributeError):
            message, code = f"HTTP {reply.status} from {self.base_url}, not an answer of headrace", None
        error = _KINDS.get(reply.status, errors.InternalError)(message)
        error.code = code
        if isinstance(error, errors.OverloadedError):
            error.retry_after = _retry_after(reply) or error.retry_after
        return error

    def _embed(
        self,
        texts: str | Iterable[str] | None,
        model: str,
        prompt_name: str | None,
        dimensions: int | None,
        truncate: bool,
        show_progress: bool | None,
        images: Images | None,
    ) -> _Steps[NDArray[numpy.float32]]:
        import numpy

        if images is not None:
            rows = yield from self._each_image(images, "/v1/embeddings", model=model, dimensions=dimensions)
            return numpy.asarray([row["embedding"] for row in rows], numpy.float32)
        items = as_texts(texts)
        parts: list[NDArray[numpy.float32]] = []
        with progress_bar(len(items), show_progress, _PROGRESS_FROM) as advance:
            for chunk in _chunks(items):
                body = {"model": model, "input": chunk, "encoding_format": "base64", "truncate": truncate}
                if dimensions is not None:
                    body["dimensions"] = dimensions
                if prompt_name is not None:
                    body["prompt_name"] = prompt_name
                try:
                    content = json.dumps(body, ensure_ascii=False).encode()
                except UnicodeEncodeError as error:
                    raise errors.InvalidArgumentError(f"texts: must be valid Unicode: {error}") from None
                answer = json.loads((yield from self._exchange(_Send("POST", "/v1/embeddings", content))))
                raw = b"".join(base64.b64decode(row["embedding"]) for row in answer["data"])
                parts.append(numpy.frombuffer(raw, "<f4").reshape(len(chunk), -1))
                advance(len(chunk))
        return numpy.concatenate(parts).astype(numpy.float32, copy=False)

    def _models(self) -> _Steps[list[dict[str, Any]]]:
        answer = json.loads((yield from self._exchange(_Send("GET", "/v1/models"))))
        return list(answer["data"])


def _chunks(texts: Sequence[T], most: int = _MAX_TEXTS) -> Iterator[list[T]]:
    """Runs of texts, or of pairs, that are within both limits; a text beyond them goes alone."""
    chunk: list[T] = []
    characters = 0
    for text in texts:
        size = _length(text)
        if chunk and (len(chunk) == most or characters + size > _MAX_CHARACTERS):
            yield chunk
            chunk, characters = [], 0
        chunk.append(text)
        characters += size
    if chunk:
        yield chunk


def _length(item: object) -> int:
    return len(item) if isinstance(item, str) else sum(map(_length, item)) if isinstance(item, tuple) else 0


def _retry_after(reply: _Reply) -> float | None:
    """What the server asked for, in seconds; None when it named no number."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(reply.headers[name]) * unit)
        except (KeyError, ValueError, TypeError):
            continue
    return None


def _pause(reply: _Reply, attempt: int) -> float:
    """The server's wish and up to a quarter more, so that those refused together do not return together."""
    asked = _retry_after(reply)
    if asked is not None:
        return asked * random.uniform(1.0, 1.25)
    return float(min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT) * random.uniform(0.5, 1.0))


class Client(TaskCalls, GenerateCalls, PredictCalls, ExplainCalls, _Protocol):
    """A headrace server as a local object.

    with headrace.Client("http://127.0.0.1:8000") as client:
        vectors = client.embed(["a mill wheel", "a water turbine"])     # float32 [2, 384]

    A refused request (429) is sent again after the time that the server names, at most `max_retries` times;
    then, as for every other error, the exception is the one that the engine itself would raise.
    """

    def __init__(
        self, base_url: str, *, api_key: str | None = None, timeout: float = 60.0, max_retries: int = 4
    ) -> None:
        super().__init__(base_url, api_key, timeout, max_retries)
        self._http: httpx2.Client = self._library.Client(**self._settings)

    def embed(
        self,
        texts: str | Iterable[str] | None = None,
        *,
        images: Images | None = None,
        model: str = "minilm",
        prompt_name: str | None = None,
        dimensions: int | None = None,
        truncate: bool = False,
        show_progress: bool | None = None,
    ) -> NDArray[numpy.float32]:
        """One row a text, float32; a list of any length is sent in requests of bounded size. `prompt_name` is one
        of the model's prompts, which `models` lists. `images` instead of texts: paths, bytes of files, data: URLs or
        images of Pillow, for models that see."""
        return self._run(self._embed(texts, model, prompt_name, dimensions, truncate, show_progress, images))

    def models(self) -> list[dict[str, Any]]:
        """The models that the server has: id, dimensions, max_tokens and more."""
        return self._run(self._models())

    def _run(self, steps: _Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                step = steps.send(self._perform(step))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _perform(self, step: _Send | _Sleep) -> _Reply:
        if isinstance(step, _Sleep):
            time.sleep(step.seconds)
            return _NOTHING
        try:
            answer = self._http.request(step.method, step.path, content=step.content)
            return _Reply(answer.status_code, answer.headers, answer.content)
        except self._library.TransportError as error:
            return _Reply(0, {}, b"", error)

    def _lines(self, send: _Send) -> Iterator[str]:
        """An answer line by line, as it comes; it is not asked for again."""
        try:
            with self._http.stream(send.method, send.path, content=send.content) as answer:
                if answer.status_code != 200:
                    raise self._error(_Reply(answer.status_code, answer.headers, answer.read()))
                yield from answer.iter_lines()
        except self._library.TransportError as error:
            raise self._error(_Reply(0, {}, b"", error)) from None

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(AsyncTaskCalls, AsyncGenerateCalls, AsyncPredictCalls, AsyncExplainCalls, _Protocol):
    """The same, awaited.

    async with headrace.AsyncClient("http://127.0.0.1:8000") as client:
        vectors = await client.embed("a mill wheel")     # float32 [1, 384]
    """

    def __init__(
        self, base_url: str, *, api_key: str | None = None, timeout: float = 60.0, max_retries: int = 4
    ) -> None:
        super().__init__(base_url, api_key, timeout, max_retries)
        self._http: httpx2.AsyncClient = self._library.AsyncClient(**self._settings)

    async def embed(
        self,
        texts: str | Iterable[str] | None = None,
        *,
        images: Images | None = None,
        model: str = "minilm",
        prompt_name: str | None = None,
        dimensions: int | None = None,
        truncate: bool = False,
        show_progress: bool | None = None,
    ) -> NDArray[numpy.float32]:
        """As Client.embed."""
        return await self._run(
            self._embed(texts, model, prompt_name, dimensions, truncate, show_progress, images)
        )

    async def models(self) -> list[dict[str, Any]]:
        """As Client.models."""
        return await self._run(self._models())

    async def _run(self, steps: _Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._perform(step))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _perform(self, step: _Send | _Sleep) -> _Reply:
        if isinstance(step, _Sleep):
            await asyncio.sleep(step.seconds)
            return _NOTHING
        try:
            answer = await self._http.request(step.method, step.path, content=step.content)
            return _Reply(answer.status_code, answer.headers, answer.content)
        except self._library.TransportError as error:
            return _Reply(0, {}, b"", error)

    async def _lines(self, send: _Send) -> AsyncIterator[str]:
        try:
            async with self._http.stream(send.method, send.path, content=send.content) as answer:
                if answer.status_code != 200:
                    raise self._error(_Reply(answer.status_code, answer.headers, await answer.aread()))
                async for line in answer.aiter_lines():
                    yield line
        except self._library.TransportError as error:
            raise self._error(_Reply(0, {}, b"", error)) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
