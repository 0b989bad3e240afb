"""Models loaded when they are asked for and unloaded under a memory budget: in an engine."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleet_models import COUNT, TEXT, expected, fleet, size

import headrace
import headrace.toy
from headrace.cli import main
from headrace.memory import MemoryBudget, estimate_bytes, parse_bytes

__all__ = ["expected", "fleet", "size"]  # fixtures


def wait_until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


class Watched:
    """The most that an engine's models ever took, looked at all the time."""

    def __init__(self, engine: headrace.Engine) -> None:
        self._engine = engine
        self._end = threading.Event()
        self.most = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.wait(0.0005):
            self.most = max(self.most, self._engine.memory_used)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def test_twenty_models_in_room_for_five(
    fleet: Path, expected: dict[str, np.ndarray[Any, Any]], size: int
) -> None:
    with headrace.Engine(memory_budget=5 * size, queue_budget=300) as engine:
        for name in expected:
            engine.register(name, fleet / name, precision="f32")
        assert (engine.memory_used, engine.models()) == (0, [])

        def ask(seed: int) -> int:
            chance, right = random.Random(seed), 0
            for _ in range(60):
                name = chance.choice(sorted(expected))
                right += np.array_equal(engine.model(name).embed(TEXT), expected[name])
            return right

        with Watched(engine) as watched, ThreadPoolExecutor(4) as clients:
            assert list(clients.map(ask, range(4))) == [60] * 4
        assert 3 * size < watched.most <= 5 * size
        wait_until(lambda: engine.memory_used <= 5 * size)
        rows = engine.residences()
        assert [row.name for row in rows] == sorted(expected)
        assert sum(row.loads for row in rows) - sum(row.unloads for row in rows) <= 5
        assert {row.state for row in rows} == {"ready", "unloaded"}
        assert all(row.bytes == (size if row.state == "ready" else 0) for row in rows)
        assert len(engine.models()) == COUNT  # each was there once


def test_a_hundred_ask_and_it_is_loaded_once(fleet: Path, size: int) -> None:
    with headrace.Engine(memory_budget=5 * size, queue_budget=300) as engine:
        engine.register("toy", fleet / "toy00")
        engine.add("other", fleet / "toy01")
        longest = 0.0

        async def tick() -> None:
            nonlocal longest
            while True:
                begin = time.perf_counter()
                await asyncio.sleep(0.001)
                longest = max(longest, time.perf_counter() - begin)

        async def ask(name: str) -> None:
            model = await engine.amodel(name)
            assert (await model.aembed(TEXT)).shape == (1, 32)

        async def all_at_once() -> None:
            ticking = asyncio.create_task(tick())
            leaves = asyncio.create_task(ask("toy"))
            await asyncio.sleep(0)
            leaves.cancel()
            await asyncio.gather(*(ask("toy") for _ in range(100)), *(ask("other") for _ in range(20)))
            ticking.cancel()

        asyncio.run(all_at_once())
        assert next(row for row in engine.residences() if row.name == "toy").loads == 1
        assert longest < 1


def test_others_go_on_while_one_is_loaded(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with headrace.Engine(memory_budget=1 << 30) as engine:
        engine.add("other", fleet / "toy00")
        engine.register("slow", fleet / "toy01")
        loading = engine._load

        def slowly(*arguments: Any) -> headrace.Model:
            time.sleep(1)
            return loading(*arguments)

        monkeypatch.setattr(engine, "_load", slowly)

        async def ask() -> tuple[int, float]:
            slow = asyncio.ensure_future(engine.amodel("slow"))
            count, longest = 0, 0.0
            while not slow.done():
                begin = time.perf_counter()
                await (await engine.amodel("other")).aembed(TEXT)
                longest = max(longest, time.perf_counter() - begin)
                count += 1
            return count, longest

        count, longest = asyncio.run(ask())
        assert count > 20
        assert longest < 0.7  # none waited for the load


def test_a_model_in_a_circle_of_garbage_is_not_in_use(fleet: Path, size: int) -> None:
    with headrace.Engine(memory_budget=size) as engine:
        for name in ("a", "b"):
            engine.register(name, fleet / "toy00", precision="f32")
        circle: list[Any] = [engine.model("a")]
        circle.append(circle)
        del circle
        gc.disable()
        try:
            assert engine.model("b").embed(TEXT).shape == (1, 32)
        finally:
            gc.enable()


def test_one_in_use_stays_and_one_that_is_pinned_too(fleet: Path, size: int, tmp_path: Path) -> None:
    shutil.copytree(fleet / "toy00", tmp_path / "pinned")
    (tmp_path / "pinned" / "headrace.toml").write_text("pinned = true\n")
    with headrace.Engine(memory_budget=3 * size, queue_budget=300) as engine:
        engine.add("pinned", tmp_path / "pinned", precision="f32")
        held = engine.add("held", fleet / "toy01", precision="f32")
        for name in ("a", "b", "c"):
            engine.register(name, fleet / "toy02", precision="f32")
        for name in ("a", "b", "c", "a"):
            engine.model(name).embed(TEXT)
        states = {row.name: row.state for row in engine.residences()}
        assert states == {
            "pinned": "ready", "held": "ready", "a": "ready", "b": "unloaded", "c": "unloaded",
        }  # fmt: skip
        assert not engine.unload("held")
        assert engine.unload("pinned")  # the operator may
        assert engine.unload("b")
        assert held.embed(TEXT).shape == (1, 32)
        del held
        assert engine.unload("held")
        with pytest.raises(headrace.ModelNotFoundError, match="there is: pinned, held"):
            engine.unload("nothing")


def test_used_longest_ago_goes_first(fleet: Path, size: int) -> None:
    with headrace.Engine(memory_budget=3 * size) as engine:
        for name in ("a", "b", "c", "d"):
            engine.register(name, fleet / "toy00", precision="f32")
        for name in ("a", "b", "c", "a", "d"):
            engine.model(name).embed(TEXT)
        assert {row.name for row in engine.residences() if row.state == "unloaded"} == {"b"}


def test_what_has_no_room(fleet: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headrace.residency, "ROOM_SECONDS", 0.2)
    monkeypatch.setattr(headrace.Engine._take_memory, "__defaults__", (0.2,))
    with headrace.Engine(memory_budget=2 * size) as engine:
        held = [engine.add(name, fleet / "toy00", precision="f32") for name in ("a", "b")]
        engine.register("c", fleet / "toy01", precision="f32")
        for _ in range(2):  # not remembered: it may be over
            with pytest.raises(headrace.OverloadedError, match=r"models in use take .* try again") as raised:
                engine.model("c")
        assert (raised.value.code, raised.value.retry_after) == ("memory_busy", 1.0)
        held.clear()
        assert engine.model("c").embed(TEXT).shape == (1, 32)
    with headrace.Engine(memory_budget=size // 2) as engine:
        with pytest.raises(headrace.UnsupportedError, match="more than the whole memory budget") as refused:
            engine.add("a", fleet / "toy00", precision="f32")
        assert refused.value.code == "model_too_large"
        assert (engine.memory_used, engine.residences()) == (0, [])
    with pytest.raises(headrace.InvalidArgumentError, match="memory_budget=0"):
        headrace.Engine(memory_budget=0)


def test_an_estimate_that_was_too_low_is_made_good(
    fleet: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headrace.engine, "estimate_bytes", lambda *_, **__: 1)
    with headrace.Engine(memory_budget=2 * size) as engine:
        for name in ("a", "b", "c"):
            engine.register(name, fleet / "toy00", precision="f32")
            engine.model(name).embed(TEXT)
        wait_until(lambda: engine.memory_used == 2 * size)
    with headrace.Engine(memory_budget=size // 2) as engine:
        engine.register("a", fleet / "toy00", precision="f32")
        with pytest.raises(headrace.UnsupportedError):
            engine.model("a")
        wait_until(lambda: engine.memory_used == 0)


def test_a_load_that_fails_poisons_nothing(fleet: Path, size: int, tmp_path: Path) -> None:
    shutil.copytree(fleet / "toy00", tmp_path / "broken")
    weights = tmp_path / "broken" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with headrace.Engine(memory_budget=2 * size) as engine:
        engine.register("broken", tmp_path / "broken", precision="f32")
        engine.register("good", fleet / "toy01", precision="f32")

        def ask(name: str) -> str:
            try:
                return str(engine.model(name).embed(TEXT).shape)
            except headrace.Error as error:
                return type(error).__name__

        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(ask, ["broken", "good"] * 20))
        assert set(answers[::2]) == {"CorruptFileError"}
        assert set(answers[1::2]) == {"(1, 32)"}
        [row] = [row for row in engine.residences() if row.name == "broken"]
        assert (row.state, row.loads, row.bytes) == ("failed", 0, 0)
        weights.write_bytes(whole)
        monkey = headrace.residency.RETRY_SECONDS
        headrace.residency.RETRY_SECONDS = 0
        try:
            assert ask("broken") == "(1, 32)"
        finally:
            headrace.residency.RETRY_SECONDS = monkey


def test_replacing_and_trying_take_room_too(fleet: Path, size: int, tmp_path: Path) -> None:
    with headrace.Engine(memory_budget=3 * size) as engine:
        engine.register("toy", fleet / "toy00", precision="f32")
        engine.register("other", fleet / "toy01", precision="f32")
        engine.replace("toy", fleet / "toy02", precision="f32")  # while it was not in memory
        first = engine.model("toy").embed(TEXT)
        engine.model("other").embed(TEXT)
        engine.try_candidate("toy", fleet / "toy03", share=0.5, precision="f32")
        assert not engine.unload("toy")  # one on trial beside it
        assert engine.memory_used == 3 * size
        engine.replace("toy", fleet / "toy04", precision="f32")
        wait_until(lambda: engine.memory_used <= 2 * size)
        assert engine.unload("toy")
        assert not np.array_equal(engine.model("toy").embed(TEXT), first)
        assert engine.model("toy").info.path == str(fleet / "toy04")
        engine.unload("other")
        engine.retire("other")
        engine.unload("toy")
        engine.remove("toy")
        assert engine.residences() == []


def test_a_language_model_counts_its_cache() -> None:
    options = headrace.LanguageOptions(cache_tokens=1024)
    with headrace.Engine(language=options, memory_budget=3 << 30) as engine:
        model = engine.add("smollm2", "demo:smollm2")
        info = model.info
        # Layers, keys and values, heads, numbers of a head, bytes of bf16.
        assert info.cache_bytes == 1024 * 30 * 2 * 3 * 64 * 2
        assert engine.memory_used == info.bytes == info.weight_bytes + info.cache_bytes
        text = model.generate("Water", max_tokens=3, temperature=0, choice=None).text
        model.generate([{"role": "user", "content": "Hi"}], max_tokens=3, temperature=0)
        model.generate("Water", max_tokens=3, temperature=0, regex="[a-z]+")
        del model
        assert engine.unload("smollm2")  # nothing of a request holds it
        wait_until(lambda: engine.memory_used == 0)
        assert engine.model("smollm2").generate("Water", max_tokens=3, temperature=0).text == text
        assert engine.memory_used == info.bytes


def test_estimates_are_near(fleet: Path) -> None:
    for precision in ("f32", "bf16", "int8"):
        for model in (fleet / "toy00", headrace.repository.resolve("demo:minilm")):
            with headrace.load(model, precision=precision) as loaded:
                guess = estimate_bytes(model, None, precision)
                assert 0.9 < guess / loaded.info.bytes < 1.1, (precision, model)


def test_sizes_are_read() -> None:
    assert parse_bytes("4GiB") == 4 << 30
    assert parse_bytes(" 1.5 kb ") == 1500
    for text in ("", "GiB", "-1", "0", "4 XB", "4GiBs", "1e9", "inf"):
        with pytest.raises(headrace.InvalidArgumentError, match="such as 4GiB"):
            parse_bytes(text)


def test_a_budget_waits_for_what_is_being_given_back() -> None:
    budget = MemoryBudget(10)
    budget.take("a", 10, "a", lambda: False, 1)
    budget.leave("a")
    threading.Timer(0.1, budget.give_back, ["a"]).start()
    budget.take("b", 10, "b", lambda: pytest.fail("nothing more needs to go"), 5)
    assert budget.used == 10


def test_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.toml"
    file.write_text('memory_budget = "2GiB"\n')
    assert main(["config", "show", "--json", "--origin", "--config", str(file)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["memory_budget"] == {"value": 2 << 30, "origin": str(file)}
    monkeypatch.setenv("HEADRACE_MEMORY_BUDGET", "lots")
    assert main(["config", "show"]) == 2
    assert "such as 4GiB" in capsys.readouterr().err
