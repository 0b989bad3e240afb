"""Drift: a stream like the reference stays low, a shifted one passes the threshold of the alert."""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
import yaml
from conftest import ROOT, Server

import headrace
import headrace.toy
from headrace.drift import ALERT, FEWEST, Drift, Histogram
from headrace.errors import CorruptFileError

WORDS = ("a", "the", "mill", "wheel", "water", "river", "turns", "good", "bad", "paris", "maria")


def texts(count: int, longest: int, seed: int = 0, words: tuple[str, ...] = WORDS) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(words, k=rng.randint(1, longest))) for _ in range(count)]


def settings(folder: Path, text: str) -> Path:
    (folder / "headrace.toml").write_text(text)
    return folder


@pytest.fixture(autouse=True)
def every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process every request is looked at, so that few are enough."""
    monkeypatch.setattr(headrace.drift, "_PAUSE", 0.0)


SMALL = "[drift]\ntexts = 600\nwindow = 500\n"


class TestHistogram:
    @pytest.mark.parametrize("is_label", [False, True])
    def test_the_same_stays_low_and_another_does_not(self, is_label: bool) -> None:
        for seed in range(20):
            rng = random.Random(seed)
            seen = Histogram(1000, 1000, is_label=is_label)

            def draw(mean: float, rng: random.Random = rng) -> float:
                value = rng.lognormvariate(mean, 0.5)
                return float(min(30, int(value * 5))) if is_label else value

            seen.add(draw(0.0) for _ in range(1000))
            assert (seen.learned, seen.seen, seen.index) == (1000, 0, None)
            seen.add(draw(0.0) for _ in range(FEWEST - 1))
            assert seen.index is None
            seen.add(draw(0.0) for _ in range(5000))
            assert seen.seen == 1000
            assert seen.index is not None
            assert seen.index < 0.1
            seen.add(draw(0.5) for _ in range(1000))
            assert seen.index > ALERT
            seen.add(draw(0.0) for _ in range(1000))
            assert seen.index < 0.1  # the window has forgotten

    def test_what_is_always_the_same(self) -> None:
        seen = Histogram(200, 200)
        seen.add([7.0] * 400)
        assert seen.index == pytest.approx(0, abs=1e-9)
        for other in (6.0, 8.0):
            seen.add([other] * 200)
            assert seen.index is not None
            assert seen.index > ALERT

    def test_numbers_that_are_none(self) -> None:
        seen = Histogram(200, 200)
        seen.add([math.nan, math.inf, *map(float, range(200))])
        assert seen.learned == 200
        seen.add([math.nan] * 300)
        assert seen.index is not None
        assert seen.index > ALERT


def test_the_threshold_is_that_of_the_alert() -> None:
    [group] = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    [rule] = [rule for rule in group["rules"] if rule["alert"] == "HeadraceDrift"]
    assert rule["expr"].endswith(f"(headrace_drift_index) > {ALERT}")
    script = (ROOT / "python" / "headrace" / "serve" / "console" / "models.js").read_text()
    assert f"const DRIFTED = {ALERT};" in script


def stats(engine: headrace.Engine, name: str = "m") -> dict[str, float]:
    found: dict[str, float] = engine.stats()["drift"][name]
    return found


@pytest.mark.parametrize("task", ["embed", "classify", "rerank", "tag"])
def test_a_model_of_each_task(task: str, tmp_path: Path) -> None:
    folder = settings(headrace.toy.model(task, tmp_path / "m"), SMALL)

    def ask(model: headrace.Model, inputs: list[str]) -> None:
        if task == "rerank":
            for i in range(0, len(inputs), 50):
                model.rerank("a mill", inputs[i : i + 50])
        else:
            getattr(model, task)(inputs)

    with headrace.Engine() as engine:
        model = engine.add("m", folder)
        ask(model, texts(600, 20))
        assert stats(engine) == {"input_tokens": None, "output": None, "reference": 600, "window": 0}
        for seed in range(1, 3):
            ask(model, texts(500, 20, seed))
        found = stats(engine)
        assert found["window"] == 500
        assert found["input_tokens"] < 0.15
        assert found["output"] < 0.15
        for seed in range(2):
            ask(model, texts(500, 60, seed, ("river", "smith", "paris")))
        found = stats(engine)
        assert found["input_tokens"] > ALERT
        assert found["output"] > ALERT


def test_a_model_that_comes_back_into_memory_goes_on(tmp_path: Path) -> None:
    folder = settings(headrace.toy.model("embed", tmp_path / "m"), SMALL)
    with headrace.Engine(memory_budget=1 << 30) as engine:
        engine.register("m", folder)
        engine.model("m").embed(texts(700, 20))
        assert stats(engine)["reference"] == 600
        assert engine.unload("m")
        assert "m" not in engine.stats()["drift"]
        engine.model("m").embed("again")
        assert stats(engine)["reference"] == 600
        engine.remove("m")
        engine.add("m", folder)  # another one, as far as anybody knows
        assert stats(engine)["reference"] == 0


def test_golden_inputs_as_the_reference(tmp_path: Path) -> None:
    folder = headrace.toy.model("classify", tmp_path / "m")
    with headrace.load(folder) as model:
        headrace.golden.record(model, texts(400, 20), folder / "golden.json")
    gate = (
        '[drift]\nreference = "golden"\nwindow = 300\n[gate]\ngolden = "golden.json"\nmin_agreement = 0.9\n'
    )
    settings(folder, gate)
    with headrace.Engine() as engine:
        model = engine.add("m", folder)
        assert stats(engine)["reference"] == 400
        for seed in range(5):
            model.classify(texts(400, 20, seed))
        assert stats(engine)["input_tokens"] < 0.15
    for text in ('[drift]\nreference = "golden"\n', gate.replace("300", "100"), "[drift]\ntexts = 5\n"):
        settings(folder, text)
        with headrace.Engine() as engine, pytest.raises(headrace.Error, match=r"drift|window|texts"):
            engine.add("m", folder)
    settings(folder, '[drift]\nreference = "evaluation"\n')
    with headrace.Engine() as engine, pytest.raises(CorruptFileError, match="'traffic' or 'golden'"):
        engine.add("m", folder)
    settings(folder, "[drift]\nwindow = 0\n")
    with headrace.Engine() as engine:
        engine.add("m", folder).classify("a mill")
        assert engine.stats()["drift"] == {}


def test_texts_that_are_written() -> None:
    """Prompts and answers by their lengths."""
    source = Path(headrace.repository.resolve("demo:smollm2"))

    async def ask(model: headrace.Model, count: int, prompt: str, tokens: int) -> None:
        await asyncio.gather(*(model.agenerate(prompt, max_tokens=tokens, seed=i) for i in range(count)))

    with headrace.Engine() as engine:
        model = engine.add("m", source)
        model._drift = Drift("generate", (), texts=100, window=FEWEST)
        asyncio.run(ask(model, 100, "a mill", 1))
        found = stats(engine)
        assert (found["reference"], found["input_tokens"]) == (100, None)
        asyncio.run(ask(model, FEWEST, "a mill wheel by the river", 2))
        found = stats(engine)
        assert found["input_tokens"] > ALERT
        assert found["output"] > ALERT


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = settings(headrace.toy.model("embed", tmp_path_factory.mktemp("toys") / "toy"), SMALL)
    with Server(f"toy={folder}", "--grpc-port", "0", "--queue-budget", "60") as running:
        yield running
        assert running.stop() == 0
    shutil.rmtree(folder)


def test_every_protocol_counts_and_metrics_tell(server: Server) -> None:
    with httpx2.Client(base_url=server.url, timeout=60) as http:

        def ask(inputs: list[str], number: int) -> None:
            routes = ("/v1/embeddings", {"model": "toy", "input": inputs}), ("/embed", {"inputs": inputs})
            route, body = routes[number % 2]
            assert http.post(route, json=body).status_code == 200

        ask(texts(300, 20), 0)
        assert server.metric("headrace_drift_reference", model="toy") == 256  # so many of a request
        ask(texts(244, 20, 1), 1)
        assert server.metric("headrace_drift_reference", model="toy") == 500
        with triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:
            given = triton.InferInput("text", [100], "BYTES")
            given.set_data_from_numpy(np.array([t.encode() for t in texts(100, 20, 2)], dtype=np.object_))
            client.infer("toy", [given])
        assert server.metric("headrace_drift_reference", model="toy") == 600
        assert server.metric("headrace_drift_window", model="toy") == 0
        for number in range(40):  # of which the server looks at some
            ask(texts(250, 20, number), number)
        assert server.metric("headrace_drift_window", model="toy") == 500
        assert server.metric("headrace_drift_index", model="toy", of="input_tokens") < 0.15
        assert server.metric("headrace_drift_index", model="toy", of="output") < 0.15
        for number in range(60):
            ask(texts(100, 200, number, ("paris", "smith")), number)
        assert server.metric("headrace_drift_index", model="toy", of="input_tokens") > ALERT
        assert server.metric("headrace_drift_index", model="toy", of="output") > ALERT
        [row] = http.get("/v1/status").json()["models"]
        assert row["drift"]["window"] == 500
        assert row["drift"]["output"] > ALERT
        assert "paris" not in json.dumps(row)
