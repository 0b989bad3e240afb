"""Functions in worker processes: crashes, hangs and kills end nobody's request but the one that is why."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worker_functions

import headrace
from headrace.errors import InternalError, InvalidArgumentError, UnsupportedError


@pytest.fixture
def engine() -> Iterator[headrace.Engine]:
    with headrace.Engine(threads=1, queue_budget=60) as found:
        yield found


def gathered(model: headrace.Model, items: list[Any]) -> list[Any]:
    async def ask() -> list[Any]:
        return await asyncio.gather(*(model.apredict(item) for item in items), return_exceptions=True)

    return asyncio.run(ask())


def test_workers_are_processes_that_load_once(engine: headrace.Engine) -> None:
    model = engine.add("pids", worker_functions.Pids)
    found = gathered(model, list(range(200)))
    assert [each["item"] for each in found] == list(range(200))
    pids = {each["pid"] for each in found}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert all(each["made_in"] == each["pid"] for each in found)
    engine.remove("pids")
    for pid in pids:
        assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_values_go_and_come_as_they_are(engine: headrace.Engine) -> None:
    model = engine.add("fragile", worker_functions.fragile)
    for value in (None, True, 3, 2.5, "Mühle \U0001f600", [1, [2, {"a": "b"}]], {}, float("inf"), b"\0\xff"):
        assert model.predict(value) == value
    for array in (
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.float64(2.5),
        np.zeros((0, 3)),
        np.array(["a", "b"]),
    ):
        found = model.predict([array, {"deep": array}])
        np.testing.assert_array_equal(found[0], array)
        np.testing.assert_array_equal(found[1]["deep"], array)
    big = np.random.default_rng(0).standard_normal((5, 1000, 1000))  # more than there is room for at first
    np.testing.assert_array_equal(model.predict(big), big)
    with pytest.raises(InvalidArgumentError, match="cannot go to a worker"):
        model.predict(object())
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        model.predict("\ud800")
    with pytest.raises(InternalError):
        model.predict("strange")
    assert model.predict("after") == "after"


def test_forms(engine: headrace.Engine) -> None:
    assert engine.add("later", worker_functions.later).predict(1) == 2
    for function in (worker_functions.letters, worker_functions.slow_letters):
        model = engine.add(function.__name__, function)
        assert list(model.predict_stream("mill")) == list("mill")
        assert next(iter(model.predict_stream("wheel"))) == "w"  # and leaves
        assert model.predict("ab") == ["a", "b"]
    model = engine.add("total", worker_functions.total)
    found = model.predict(x=np.ones((2, 3, 4), np.float32), name=["ab", "cd"])
    assert found["sum"].tolist() == [12, 12]
    assert found["name"].tolist() == ["ba", "dc"]


def test_errors_are_told(engine: headrace.Engine) -> None:
    model = engine.add("fragile", worker_functions.fragile)
    one, two, three = gathered(model, ["fine", "raise", "refuse"])
    assert one == "fine"
    assert isinstance(two, InternalError)
    assert two.code == "model_error"
    assert "ValueError" in str(two)
    assert isinstance(three, InvalidArgumentError)
    assert str(three) == "refused: try another"


@pytest.mark.parametrize("poison", ["exit", "segfault", "hang", "kill"])
def test_the_poison_is_found_and_the_rest_succeeds(engine: headrace.Engine, poison: str) -> None:
    model = engine.add("fragile", worker_functions.fragile)
    items: list[Any] = [*range(5), poison, *range(5, 10)]
    found = gathered(model, items)
    error = found.pop(5)
    assert found == list(range(10))
    assert isinstance(error, InternalError)
    assert error.code == "poisoned_request"
    begin = time.perf_counter()
    with pytest.raises(InternalError, match="workers died of one like it"):
        model.predict(poison)
    assert time.perf_counter() - begin < 0.5  # nobody runs it again
    assert model.predict("after") == "after"


def test_a_function_that_cannot_be_made_or_found_is_said(engine: headrace.Engine) -> None:
    with pytest.raises(InvalidArgumentError, match="no weights here"):
        engine.add("broken", worker_functions.Broken)
    assert "broken" not in [info.name for info in engine.models()]
    local = headrace.model(workers=1)(lambda batch: batch)
    try:
        import cloudpickle  # noqa: F401
    except ImportError:
        with pytest.raises(UnsupportedError, match="cloudpickle"):
            engine.add("local", local)
    else:
        assert engine.add("local", local).predict(3) == 3


def test_fifty_kills_under_load(engine: headrace.Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is killed, every request ends, and with its answer: none of them is why."""
    model = engine.add("double", worker_functions.slow_double)
    stop, killed = threading.Event(), set()
    working: set[int] = set()  # those that have answered: they are in the middle of a batch nearly always

    def kill() -> None:
        while len(killed) < 50 and not stop.wait(0.02):
            for pid in working - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                break

    async def ask() -> tuple[list[Any], list[Any]]:
        answers: list[Any] = []
        errors: list[Any] = []

        async def client(seed: int) -> None:
            i = seed
            while len(killed) < 50:
                try:
                    double, pid = await model.apredict(i)
                    answers.append((i, double))
                    working.add(pid)
                except Exception as error:
                    errors.append(error)
                i += 16

        await asyncio.gather(*(client(seed) for seed in range(16)))
        return answers, errors

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        answers, errors = asyncio.run(asyncio.wait_for(ask(), 120))
    finally:
        stop.set()
        killer.join()
    assert len(killed) == 50
    assert len(caplog.records) > 25  # so many of them had a batch
    assert all(answer == 2 * item for item, answer in answers)
    assert len(answers) > 100
    assert [error.code for error in errors] == []


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time, headrace, worker_functions\n"
        "model = headrace.Engine(threads=1).add('pids', worker_functions.Pids)\n"
        "print(*{model.predict(0)['pid'] for _ in range(20)}, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert pids
    end = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize("end", ["", "del engine"])
def test_an_engine_that_is_left_open_does_not_abort_the_interpreter(end: str) -> None:
    """Its thread comes back from C++ after a second, and the interpreter takes longer than that to end."""
    program = """
import ctypes, sys
import headrace

class Slow:
    sleep = ctypes.CDLL(None).usleep
    def __del__(self):
        self.sleep(1_500_000)

sys.modules["kept to the end"] = Slow()
engine = headrace.Engine(threads=1)
print(engine.add("same", headrace.model(lambda batch: batch)).predict(3))
"""
    done = subprocess.run([sys.executable, "-c", program + end], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
