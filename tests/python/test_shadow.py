"""Shadow traffic: copies of requests that a candidate answers, and whose answers are only compared."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server

import headrace
import headrace.toy
from headrace.catalogue import Catalogue
from headrace.security.keys import Pepper, make_key
from headrace.shadow import Shadow

TEXTS = ["the water turns the wheel", "a mill", "paris is good"]


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def shadow_of(engine: headrace.Engine, name: str = "toy") -> Shadow:
    candidate = engine.candidate(name)
    assert candidate is not None
    assert candidate.shadow is not None
    return candidate.shadow


def versions(task: str, folder: Path) -> tuple[Path, Path]:
    return tuple(headrace.toy.model(task, folder / str(seed), seed=seed) for seed in (1, 2))  # type: ignore[return-value]


CALLS: dict[str, Callable[[headrace.Model], Any]] = {
    "embed": lambda model: model.embed(TEXTS),
    "classify": lambda model: model.classify(TEXTS),
    "rerank": lambda model: model.rerank("a mill", TEXTS),
    "tag": lambda model: model.tag(TEXTS),
    "answer": lambda model: model.answer("what turns?", TEXTS[0]),
    "fill_mask": lambda model: model.fill_mask("the [MASK] turns the [MASK]"),
}


@pytest.mark.parametrize("task", CALLS)
def test_each_task_is_compared(task: str, tmp_path: Path) -> None:
    call = CALLS[task]
    count = 1 if task in ("answer", "fill_mask") else 3
    first, second = versions(task, tmp_path)
    with headrace.Engine() as engine:
        model = engine.add("toy", first, precision="f32")
        alone = repr(call(model))
        engine.shadow("toy", first, precision="f32")
        assert repr(call(engine.model("toy"))) == alone
        wait_until(lambda: shadow_of(engine).stats.copies == 1)
        stats = shadow_of(engine).stats
        assert (stats.compared, stats.agreed, stats.dropped, stats.failed) == (count, count, 0, 0)
        assert stats.agreement == 1
        assert stats.served_seconds > 0 < stats.shadow_seconds
        if task == "embed":
            assert stats.min_cosine == pytest.approx(1, abs=1e-5) == stats.mean_cosine
        engine.shadow("toy", second, precision="f32")  # in its place
        for _ in range(10):
            assert repr(call(engine.model("toy"))) == alone  # never the other's answer
        wait_until(lambda: shadow_of(engine).stats.copies == 10)
        stats = shadow_of(engine).stats
        assert stats.compared == 10 * count
        if task in ("embed", "answer", "tag", "fill_mask"):
            assert stats.agreed < stats.compared
        expected = {"copies": 10, "compared": 10 * count}
        assert engine.stats()["shadows"]["toy"].items() >= expected.items()


def test_texts_that_are_written_are_timed() -> None:
    options = headrace.LanguageOptions(cache_tokens=1024)
    with headrace.Engine(language=options) as engine:
        model = engine.add("chat", "demo:smollm2")
        engine.shadow("chat", "demo:smollm2")

        async def leave_early() -> None:
            pieces = model.astream("Water", max_tokens=200, temperature=0)
            await anext(pieces)
            await pieces.aclose()

        model.generate("Water", max_tokens=4, temperature=0)
        asyncio.run(leave_early())
        wait_until(lambda: shadow_of(engine, "chat").stats.copies == 1)
        stats = shadow_of(engine, "chat").stats
        assert (stats.compared, stats.agreement, stats.failed) == (0, None, 0)
        assert not shadow_of(engine, "chat")._pending


def test_long_lists_and_awaited_calls_are_copied(tmp_path: Path) -> None:
    first, _ = versions("embed", tmp_path)
    with headrace.Engine() as engine:
        model = engine.add("toy", first)
        engine.shadow("toy", first)
        model.embed(TEXTS * 200)  # three portions

        async def ask() -> None:
            await model.aembed(TEXTS)
            await model.aembed_result([[2, 5, 3]])

        asyncio.run(ask())
        wait_until(lambda: shadow_of(engine).stats.copies == 5)
        assert shadow_of(engine).stats.compared == 604 == shadow_of(engine).stats.agreed


def test_a_shadow_that_does_not_keep_up_drops_copies_and_slows_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions("embed", tmp_path)
    with headrace.Engine() as engine:
        model = engine.add("toy", first)
        candidate = engine.shadow("toy", second)
        shadow = shadow_of(engine)
        waiting = candidate._wait
        monkeypatch.setattr(candidate, "_wait", lambda ticket: (time.sleep(0.2), waiting(ticket)))
        begin = time.monotonic()
        for _ in range(300):
            model.embed(TEXTS[0])
        assert time.monotonic() - begin < 30
        assert shadow.stats.dropped >= 200
        assert shadow.stats.copies <= 60
        monkeypatch.undo()


def test_a_candidate_that_fails_is_counted_and_nobody_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions("classify", tmp_path)
    with headrace.Engine() as engine:
        engine.add("toy", first)
        candidate = engine.shadow("toy", second)

        def fail(_: Any) -> None:
            raise headrace.InternalError("broken")

        monkeypatch.setattr(candidate, "_wait", fail)
        for _ in range(3):
            engine.model("toy").classify(TEXTS)
        wait_until(lambda: shadow_of(engine).stats.failed == 3)
        monkeypatch.undo()
        engine.model("toy").classify(TEXTS)
        wait_until(lambda: shadow_of(engine).stats.copies == 1)


def test_promotion_behind_a_gate(tmp_path: Path) -> None:
    first, second = versions("embed", tmp_path)
    with headrace.Engine() as engine:
        engine.add("toy", first, precision="f32")
        with pytest.raises(headrace.ModelNotFoundError, match="no candidate"):
            engine.promote("toy")
        for share in (0, -1, 1.1, float("nan")):
            with pytest.raises(headrace.InvalidArgumentError, match="share="):
                engine.shadow("toy", second, share=share)
        with pytest.raises(headrace.InvalidArgumentError, match="task is tag"):
            engine.shadow("toy", headrace.toy.model("tag"))
        candidate = engine.shadow("toy", first, precision="int8")
        gate = headrace.shadow.PromotionGate(min_compared=30, min_agreement=0.9, min_cosine=0.95)
        with pytest.raises(
            headrace.InvalidArgumentError, match=r"0 answers were compared, and 30 must be"
        ) as e:
            engine.promote("toy", gate=gate)
        assert e.value.code == "gate_refused"
        for _ in range(10):
            engine.model("toy").embed(TEXTS)
        wait_until(lambda: shadow_of(engine).stats.compared == 30)
        with pytest.raises(
            headrace.InvalidArgumentError, match=r"the mean cosine is [01]\.\d+, and must be 1"
        ):
            engine.promote("toy", gate=headrace.shadow.PromotionGate(min_cosine=1))
        assert engine.promote("toy", gate=gate) is candidate is engine.model("toy")
        assert engine.candidate("toy") is None
        engine.model("toy").embed(TEXTS)
        engine.shadow("toy", second)
        engine.replace("toy", second)
        assert engine.candidate("toy") is None


def test_with_a_memory_budget_both_stay(tmp_path: Path) -> None:
    first, second = versions("embed", tmp_path)
    with headrace.load(first, precision="f32") as model:
        size = model.info.bytes
    with headrace.Engine(memory_budget=3 * size) as engine:
        for name in ("toy", "a", "b"):
            engine.register(name, first, precision="f32")
        engine.shadow("toy", second, precision="f32")
        for name in ("a", "b", "toy", "a"):
            engine.model(name).embed(TEXTS)
        assert engine.residences()[0].loads == 1
        engine.drop_candidate("toy")
        wait_until(lambda: engine.memory_used <= 2 * size)
        wait_until(lambda: engine.unload("toy"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Server, httpx2.Client]]:
    for version, seed in (("1", 1), ("2", 1), ("3", 3)):
        headrace.toy.model("embed", tmp_path / "models" / "toy" / version, seed=seed)
        if version != "1":
            shutil.move(tmp_path / "models" / "toy" / version, tmp_path / version)
    headrace.toy.model("tag", tmp_path / "models" / "tagger")
    pepper = Pepper.find(tmp_path / "state", create=True)
    with Catalogue(f"sqlite:///{tmp_path}/state/catalogue.sqlite") as catalogue:
        text, key = make_key(pepper, "owner", ["infer", "manage:toy", "metrics"])
        catalogue.add(key)
    options = ("--grpc-port", "0", "--require-keys", "--state", str(tmp_path / "state"))
    headers = {"authorization": f"Bearer {text}"}
    with (
        Server(str(tmp_path / "models"), *options) as server,
        httpx2.Client(base_url=server.url, headers=headers, timeout=60) as http,
    ):
        for version in ("2", "3"):
            shutil.move(tmp_path / version, tmp_path / "models" / "toy" / version)
        yield server, http
        assert server.stop() == 0


def test_over_every_protocol(served: tuple[Server, httpx2.Client]) -> None:
    server, http = served
    load = "/v2/repository/models/toy/load"

    def put(status: int = 200, **parameters: Any) -> None:
        answer = http.post(load, json={"parameters": parameters})
        assert answer.status_code == status, answer.text

    put(version="2", shadow=1)
    for wrong in (1.5, -0.1, True, "a"):
        put(400, version="2", shadow=wrong)
    put(400, version="2", shadow=0.5, share=0.5)
    body = {"model": "toy", "input": TEXTS}
    inputs = [{"name": "text", "shape": [3], "datatype": "BYTES", "data": TEXTS}]
    text = triton.InferInput("text", [3], "BYTES")
    text.set_data_from_numpy(np.array([t.encode() for t in TEXTS], dtype=np.object_))
    headers = dict(http.headers)

    def ask() -> None:
        assert http.post("/v1/embeddings", json=body).status_code == 200  # the short way
        assert http.post("/v1/embeddings", json=body, headers={"expect": ""}).status_code == 200
        assert http.post("/embed", json={"model": "toy", "inputs": TEXTS}).status_code == 200
        assert http.post("/v2/models/toy/infer", json={"inputs": inputs}).status_code == 200
        with triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:
            client.infer("toy", [text], headers={"authorization": headers["authorization"]})

    def row() -> dict[str, Any]:
        rows = {each["id"]: each for each in http.get("/v1/status").json()["models"]}
        found: dict[str, Any] = next(rows[name] for name in rows if name.startswith("toy@"))
        return found

    ask()
    wait_until(lambda: row()["compared"]["copies"] == 5)
    assert (row()["state"], row()["share"]) == ("shadow", 1.0)
    told = row()["compared"]
    assert (told["compared"], told["agreed"], told["failed"]) == (15, 15, 0)
    assert told["mean_cosine"] == pytest.approx(1, abs=1e-4)
    key = headers["authorization"].removeprefix("Bearer ")
    assert server.metric("headrace_shadow_compared_total", key=key, model="toy") == 15
    assert server.metric("headrace_shadow_cosine_sum_total", key=key, model="toy") == pytest.approx(
        15, abs=1e-2
    )
    index = http.post("/v2/repository/index").json()
    assert any("copies of the requests" in each.get("reason", "") for each in index)

    promote = "/v1/admin/models/toy/promote"
    answer = http.post(promote, json={"min_compared": 1000})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "gate_refused")
    assert http.post(promote, json={"min_compared": -1}).status_code == 400
    assert http.post("/v1/admin/models/tagger/promote", json={}).status_code == 403
    assert http.post(promote, json={"min_compared": 15, "min_cosine": 0.99}).json()["version"] == "2"
    assert http.post(promote, json={}).status_code == 404
    put(version="3", shadow=1)
    ask()
    wait_until(lambda: row()["compared"]["copies"] == 5)
    assert row()["compared"]["agreed"] < 15
    put(shadow=0)
    assert http.get("/v2/models/toy").json()["versions"] == ["2"]
    assert "toy@3" not in http.get("/v1/status").text
    put(version="3", shadow=0.5)
    put(version="3")  # all requests
    assert http.get("/v2/models/toy").json()["versions"] == ["3"]
