"""Functions as models, in this process: every form, always a batch, and one request's fault is its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

import headrace
from headrace.errors import (
    CancelledError,
    DeadlineError,
    InternalError,
    InvalidArgumentError,
    OverloadedError,
)


@pytest.fixture
def engine() -> Iterator[headrace.Engine]:
    with headrace.Engine(threads=1) as found:
        yield found


def test_every_form_is_given_a_batch(engine: headrace.Engine) -> None:
    seen: list[Any] = []

    def plain(batch: list[int]) -> list[int]:
        seen.append(batch)
        return [x + 1 for x in batch]

    async def later(batch: list[int]) -> list[int]:
        seen.append(batch)
        await asyncio.sleep(0)
        return [x + 1 for x in batch]

    class Adder:
        def __init__(self) -> None:
            self.by = 1

        def __call__(self, batch: list[int]) -> list[int]:
            seen.append(batch)
            return [x + self.by for x in batch]

    for options in ({}, {"max_batch": 1}, {"max_wait": 0.001}, {"concurrency": 2}):
        for form in (plain, later, Adder):
            name = f"{form.__name__}-{len(engine.models())}"
            model = engine.add(name, headrace.model(**options)(form))  # type: ignore[call-overload]
            assert model.predict(1) == 2
            assert model.predict_many([1, 2, 3]) == [2, 3, 4]
            assert engine.predict(name, 4) == 5
            assert asyncio.run(engine.apredict(name, 5)) == 6
    assert all(isinstance(batch, list) for batch in seen)


def test_a_function_needs_no_decorator_and_stays_one(engine: headrace.Engine) -> None:
    assert engine.add("plain", lambda batch: [str(x) for x in batch]).predict(3) == "3"

    @headrace.model
    def double(batch: list[int]) -> list[int]:
        """Twice as much."""
        return [2 * x for x in batch]

    assert double([4]) == [8]
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice as much."
    info = engine.add("double", double).info
    assert (info.task, info.architecture, info.version) == ("predict", "python", "1")


def test_requests_share_batches_and_long_lists_are_in_order(engine: headrace.Engine) -> None:
    sizes: list[int] = []

    @headrace.model(max_batch=16)
    def slow(batch: list[int]) -> list[int]:
        sizes.append(len(batch))
        time.sleep(0.005)
        return [-x for x in batch]

    model = engine.add("slow", slow)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(model.apredict(i) for i in range(100)))

    assert asyncio.run(ask()) == [-i for i in range(100)]
    assert max(sizes) == 16
    assert len(sizes) < 20
    assert model.predict_many(range(1000)) == [-i for i in range(1000)]
    assert model.predict_many([]) == []


def test_max_wait_gathers_company(engine: headrace.Engine) -> None:
    sizes: list[int] = []

    @headrace.model(max_batch=8, max_wait=0.5)
    def gathering(batch: list[int]) -> list[int]:
        sizes.append(len(batch))
        return batch

    model = engine.add("gathering", gathering)

    async def ask() -> None:
        async def one(i: int) -> None:
            await asyncio.sleep(i * 0.01)
            await model.apredict(i)

        await asyncio.gather(*(one(i) for i in range(8)))

    asyncio.run(ask())
    assert sizes == [8]


def test_tensors(engine: headrace.Engine) -> None:
    shapes: list[Any] = []

    @headrace.model(
        inputs={"a": "float32[?]", "b": headrace.TensorSpec("b", "int64", low=0, high=9)},
        outputs={"sum": "float32", "all": "float32[?]"},
    )
    def combine(a: Any, b: Any) -> dict[str, Any]:
        shapes.append((a.shape, a.dtype, b.shape, b.dtype))
        return {"sum": a.sum(axis=1) + b, "all": a * 2}

    model = engine.add("combine", combine)
    found = model.predict(a=[[1, 2], [3, 4]], b=[1, 2])
    np.testing.assert_array_equal(found["sum"], np.float32([4, 9]))
    np.testing.assert_array_equal(found["all"], np.float32([[2, 4], [6, 8]]))
    assert shapes[0] == ((2, 2), np.float32, (2,), np.int64)
    one = model.predict({"a": [1.5, 2.5, 3], "b": 4})
    assert one["sum"] == 11
    assert one["all"].tolist() == [3, 5, 6]
    assert [row["sum"] for row in model.predict_many([{"a": [1, 2], "b": 0}, {"a": [5, 6], "b": 1}])] == [
        3,
        12,
    ]

    async def ask() -> list[Any]:
        asked = (model.apredict(a=np.ones((1, 1 + i % 3), np.float64), b=[i % 10]) for i in range(50))
        return await asyncio.gather(*asked)

    for i, each in enumerate(asyncio.run(ask())):  # items of different sizes never share an array
        assert each["sum"].tolist() == [1 + i % 3 + i % 10]
        assert each["all"].shape == (1, 1 + i % 3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"a": [[1, 2]]}, "the input 'b' is missing"),
        ({"a": [[1, 2]], "b": [1], "c": [1]}, "no input 'c'"),
        ({"a": [1, 2], "b": [1]}, "must be [n, 2]"),
        ({"a": [[1, 2, 3]], "b": [1]}, "must be [n, 2]"),
        ({"a": [[1, 2], [3]], "b": [1]}, "different lengths"),
        ({"a": [[1, float("nan")]], "b": [1]}, "a[0, 1] is nan"),
        ({"a": [[1, 1e300]], "b": [1]}, "a[0, 1] is inf"),
        ({"a": [["x", "y"]], "b": [1]}, "expected float32[2]"),
        ({"a": [[1, 2]], "b": [1.5]}, "b: holds float64"),
        ({"a": [[1, 2]], "b": [10]}, "b[0] is 10: must lie between 0 and 9"),
        ({"a": [[1, 2]], "b": [-1]}, "must lie between"),
        ({"a": [[1, 2]], "b": [2**40]}, "int32 is"),
        ({"a": [[1, 2]], "b": [1, 2]}, "b: it holds 2 items: must be 1"),
        ({"a": np.zeros((0, 2)), "b": []}, "at least 1"),
    ],
)
def test_unfit_tensors_never_reach_the_model(engine: headrace.Engine, given: Any, says: str) -> None:
    spec = {"dtype": "int32", "low": 0, "high": 9}

    @headrace.model(inputs={"a": "float32[2]", "b": spec}, outputs={"c": "float32"})
    def never(a: Any, b: Any) -> Any:
        raise AssertionError("it was called")

    with pytest.raises(InvalidArgumentError) as caught:
        engine.add("never", never).predict(**given)
    assert says in str(caught.value)


def test_a_non_contiguous_input_is_made_contiguous(engine: headrace.Engine) -> None:
    @headrace.model(inputs={"x": "float32[3]"}, outputs={"y": "bool"})
    def contiguous(x: Any) -> Any:
        return np.full(len(x), x.flags.c_contiguous)

    x = np.arange(12, dtype=np.float32).reshape(3, 4).T
    assert not x.flags.c_contiguous
    assert engine.add("contiguous", contiguous).predict(x=x)["y"].all()


def test_texts_are_tensors_too(engine: headrace.Engine) -> None:
    @headrace.model(inputs={"text": "str"}, outputs={"upper": "str", "length": "int64"})
    def upper(text: Any) -> Any:
        return {"upper": [each.upper() for each in text], "length": [len(each) for each in text]}

    model = engine.add("upper", upper)
    assert model.predict(text=["mill", "wheel"])["upper"].tolist() == ["MILL", "WHEEL"]
    assert model.predict({"text": "brook"}) == {"upper": "BROOK", "length": 5}
    with pytest.raises(InvalidArgumentError, match="must hold str alone"):
        model.predict(text=[1])


def test_a_generator_streams(engine: headrace.Engine) -> None:
    closed = threading.Event()

    @headrace.model
    def count(batch: list[int]) -> Iterator[list[Any]]:
        try:
            for i in range(max(batch)):
                yield [i if i < wanted else None for wanted in batch]
        finally:
            closed.set()

    @headrace.model
    async def acount(batch: list[int]) -> AsyncIterator[list[Any]]:
        for i in range(max(batch)):
            await asyncio.sleep(0)
            yield [i if i < wanted else None for wanted in batch]

    for name, form in (("plain", count), ("async", acount)):
        model = engine.add(name, form)
        assert model.info.streams
        assert list(model.predict_stream(4)) == [0, 1, 2, 3]
        assert model.predict_many([2, 3]) == [[0, 1], [0, 1, 2]]

        async def ask(model: headrace.Model = model) -> list[list[int]]:
            async def one(n: int) -> list[int]:
                return [piece async for piece in model.apredict_stream(n)]

            return await asyncio.gather(*(one(n) for n in range(1, 9)))

        assert asyncio.run(ask()) == [list(range(n)) for n in range(1, 9)]
    closed.clear()
    for piece in engine.model("plain").predict_stream(10**9):
        if piece == 3:
            break
    assert closed.wait(5)  # who leaves ends the work


def test_pieces_come_as_they_are_made(engine: headrace.Engine) -> None:
    go = threading.Event()

    @headrace.model
    def slow(batch: list[int]) -> Iterator[list[int]]:
        yield [1] * len(batch)
        assert go.wait(5)
        yield [2] * len(batch)

    pieces = engine.add("slow", slow).predict_stream(0)
    assert next(pieces) == 1
    go.set()
    assert list(pieces) == [2]


def test_one_requests_fault_is_its_own(engine: headrace.Engine) -> None:
    @headrace.model(max_batch=64, max_wait=0.2)
    def picky(batch: list[int]) -> list[int]:
        if 13 in batch:
            raise ValueError("thirteen")
        return batch

    model = engine.add("picky", picky)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(model.apredict(i) for i in range(20)), return_exceptions=True)

    found = asyncio.run(ask())
    error = found.pop(13)
    assert found == [i for i in range(20) if i != 13]
    assert isinstance(error, InternalError)
    assert error.code == "model_error"
    assert "ValueError" in str(error)
    assert "thirteen" not in str(error)  # what it says may quote somebody's input
    assert isinstance(error.__cause__, ValueError)
    assert engine.stats()["models"]["picky"]["failed"] == 1


def test_an_exception_as_an_answer_fails_its_item(engine: headrace.Engine) -> None:
    @headrace.model(max_batch=64, max_wait=0.1)
    def checks(batch: list[int]) -> list[Any]:
        return [x if x >= 0 else InvalidArgumentError(f"{x}: must not be negative") for x in batch]

    model = engine.add("checks", checks)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(model.apredict(x) for x in (1, -2, 3)), return_exceptions=True)

    one, two, three = asyncio.run(ask())
    assert (one, three) == (1, 3)
    assert isinstance(two, InvalidArgumentError)


@pytest.mark.parametrize("answer", [[1, 2, 3], "text", None, 7])
def test_an_answer_of_the_wrong_length_is_said(engine: headrace.Engine, answer: Any) -> None:
    model = engine.add("wrong", lambda batch: answer)
    with pytest.raises(InternalError, match="it was given 1 items and gave"):
        model.predict(0)


def test_deadlines_cancelling_and_overload() -> None:
    running, go, seen = threading.Event(), threading.Event(), []

    @headrace.model(max_batch=1)
    def gated(batch: list[int]) -> list[int]:
        seen.extend(batch)
        running.set()
        assert go.wait(20)
        return batch

    with headrace.Engine(threads=1, queue_budget=0.05) as engine:
        model = engine.add("gated", gated)

        async def ask() -> None:
            first = asyncio.create_task(model.apredict(1))
            while not running.is_set():
                await asyncio.sleep(0.001)
            late = asyncio.create_task(model.apredict(2, timeout=0.01))
            left = asyncio.create_task(model.apredict(3))
            await asyncio.sleep(0.05)
            left.cancel()
            await asyncio.sleep(0)
            go.set()
            assert await first == 1
            with pytest.raises(DeadlineError):
                await late
            with pytest.raises(asyncio.CancelledError):
                await left

        asyncio.run(ask())
        assert seen == [1]
        time.sleep(0.05)
        model.predict_many([0] * 8)  # quick ones: it learns its speed
        go.clear()
        running.clear()
        threading.Thread(target=model.predict, args=(5,)).start()
        assert running.wait(5)

        async def flood() -> list[Any]:
            asked = (model.apredict(i, priority="interactive", admission="refuse") for i in range(20_000))
            tasks = [asyncio.create_task(each) for each in asked]
            await asyncio.sleep(0.2)
            go.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

        refused = [each for each in asyncio.run(flood()) if isinstance(each, OverloadedError)]
        assert refused
        assert refused[0].retry_after > 0


def test_removing_replacing_and_trials(engine: headrace.Engine) -> None:
    engine.add("m", lambda batch: ["old"] * len(batch))
    engine.replace("m", lambda batch: ["new"] * len(batch))
    assert engine.predict("m", 0) == "new"
    engine.try_candidate("m", lambda batch: ["next"] * len(batch), share=0.5)
    assert {engine.predict("m", 0) for _ in range(100)} == {"new", "next"}
    engine.promote("m")
    assert engine.predict("m", 0) == "next"
    model = engine.model("m")
    engine.remove("m")
    with pytest.raises(CancelledError):
        model.predict(0)
    with pytest.raises(LookupError):
        engine.predict("m", 0)


def test_two_engines_on_one_event_loop() -> None:
    """Their requests have ids of their own, by which the loop is told of their ends."""

    async def ask(one: headrace.Engine, two: headrace.Engine) -> list[Any]:
        work = [engine.apredict("slow", i) for i in range(50) for engine in (one, two)]
        return await asyncio.gather(*work)

    def slow(batch: list[int]) -> list[int]:
        time.sleep(0.002)
        return batch

    with headrace.Engine(threads=1) as one, headrace.Engine(threads=1) as two:
        for engine in (one, two):
            engine.add("slow", headrace.model(max_batch=2)(slow))
        assert asyncio.run(ask(one, two)) == [i for i in range(50) for _ in range(2)]


def test_settings_and_tasks_are_checked(engine: headrace.Engine) -> None:
    for wrong in (
        {"max_batch": 0}, {"max_wait": -1}, {"workers": -1}, {"concurrency": 0}, {"time_limit": 1.0},
        {"workers": 1, "time_limit": 0}, {"workers": 1, "concurrency": 2}, {"inputs": {"x": "float32"}},
        {"inputs": {"x": "float31"}, "outputs": {"y": "float32"}}, {"inputs": {"x": "f["}, "outputs": {"y": "int8"}},
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError):
            headrace.model(**wrong)(lambda batch: batch)  # type: ignore[call-overload]
    with pytest.raises(InvalidArgumentError):
        headrace.model(3)  # type: ignore[call-overload]
    model = engine.add("m", lambda batch: batch)
    with pytest.raises(InvalidArgumentError, match="cannot embed: its task is predict"):
        model.embed("text")
    with pytest.raises(InvalidArgumentError, match="does not stream"):
        list(model.predict_stream(1))
    with pytest.raises(InvalidArgumentError, match="give an item"):
        model.predict()
