"""load, Model and Engine as a data scientist or a web team uses them, with the real demo model."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import headrace
from headrace import _core

TINY = Path(__file__).parents[1] / "golden" / "tiny_bert"
TEXTS = ["A headrace leads water to the wheel.", "The mill stands still.", "水车"]


@pytest.fixture(scope="module")
def model() -> Iterator[headrace.Model]:
    with headrace.load("demo:minilm") as loaded:
        yield loaded


class TestInputs:
    def test_every_kind_of_column_gives_the_same_vectors(self, model: headrace.Model) -> None:
        expected = model.embed(TEXTS)
        for texts in (
            tuple(TEXTS),
            np.array(TEXTS),
            np.array(TEXTS, dtype=object),
            pd.Series(TEXTS, index=[7, 8, 9]),
            pl.Series(TEXTS),
            (text for text in TEXTS),
            dict.fromkeys(TEXTS).keys(),
        ):
            np.testing.assert_array_equal(model.embed(texts), expected)

    def test_one_text_is_a_batch_of_one(self, model: headrace.Model) -> None:
        vectors = model.embed(TEXTS[0])
        assert vectors.shape == (1, 384)
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, model.embed(TEXTS[:1]))

    def test_vectors_have_length_one(self, model: headrace.Model) -> None:
        np.testing.assert_allclose(np.linalg.norm(model.embed(TEXTS), axis=1), 1, atol=1e-6)

    def test_dimensions_cut_and_renormalise(self, model: headrace.Model) -> None:
        full, short = model.embed(TEXTS), model.embed(TEXTS, dimensions=64)
        cut = full[:, :64]
        np.testing.assert_allclose(short, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)

    def test_the_vectors_are_the_engine_s_own_memory(self, model: headrace.Model) -> None:
        vectors = model.embed(TEXTS)
        assert not vectors.flags.owndata
        assert vectors.flags.writeable
        vectors[0] = 0  # nobody else's

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            ([], "empty list"),
            (["fine", ""], r"input\[1\] is an empty string"),
            (["fine", None], r"input\[1\] is of type NoneType"),
            (["fine", 3], r"input\[1\] is of type int"),
            (pd.Series(["fine", float("nan")]), r"input\[1\] is of type float"),
            (b"bytes", "bytes"),
            ({"text": 1}, "dict"),
            (7, "int"),
            (np.array([["a", "b"]]), "2 dimensions"),
            (["fine", "broken \ud800"], r"input\[1\] .*surrogate"),
        ],
    )
    def test_what_is_no_text_is_refused_by_place(
        self, model: headrace.Model, texts: object, message: str
    ) -> None:
        with pytest.raises(headrace.InvalidArgumentError, match=message):
            model.embed(texts)  # type: ignore[arg-type]
        assert model.embed("still alive").shape == (1, 384)

    def test_an_over_long_text_is_refused_or_cut(self, model: headrace.Model) -> None:
        long = "wheel " * 600
        with pytest.raises(
            headrace.InvalidArgumentError, match=r"input\[1\] has 602 tokens.*at most 256"
        ) as caught:
            model.embed(["fine", long])
        assert caught.value.code == "context_length_exceeded"
        np.testing.assert_array_equal(model.embed(long, truncate=True), model.embed("wheel " * 254))

    def test_a_special_token_spelled_out_stays_text(self, model: headrace.Model) -> None:
        assert not np.array_equal(model.embed("a [SEP] b"), model.embed("a b"))
        forged = model.tokenizer.encode("a [SEP] b", allow_special=True).ids
        plain = model.tokenizer.encode("a [SEP] b", allow_special=False).ids
        assert forged != plain

    @pytest.mark.parametrize(
        "options",
        [
            {"dimensions": 0},
            {"dimensions": 385},
            {"timeout": 0},
            {"timeout": -1.0},
            {"timeout": float("nan")},
        ],
    )
    def test_options_outside_their_range_are_refused(
        self, model: headrace.Model, options: dict[str, float]
    ) -> None:
        with pytest.raises(headrace.InvalidArgumentError, match=next(iter(options))):
            model.embed(TEXTS, **options)  # type: ignore[arg-type]


class TestLongLists:
    def test_portions_join_in_order(self, model: headrace.Model) -> None:
        texts = [f"wheel number {i}" for i in range(1500)]
        vectors = model.embed(texts)
        assert vectors.shape == (1500, 384)
        for i in (0, 255, 256, 1023, 1499):
            np.testing.assert_array_equal(vectors[i : i + 1], model.embed(texts[i]))

    def test_a_bad_text_late_in_the_list_is_found_before_any_work(self, model: headrace.Model) -> None:
        texts = ["fine"] * 3000 + ["wheel " * 600]
        before = model._core.metrics(model.name)["sequences"]
        with pytest.raises(headrace.InvalidArgumentError, match=r"input\[3000\]"):
            model.embed(texts)
        assert model._core.metrics(model.name)["sequences"] == before

    def test_the_progress_bar_counts_texts(
        self, model: headrace.Model, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model.embed(["a mill"] * 600, show_progress=True)
        assert "600/600" in capsys.readouterr().err
        model.embed(["a mill"] * 600, show_progress=False)
        model.embed(["a mill"] * 600)  # no terminal: no bar
        assert capsys.readouterr().err == ""

    def test_ctrl_c_ends_a_long_call_and_nothing_keeps_running(self) -> None:
        program = (
            "import headrace, os, signal, threading, time\n"
            "model = headrace.load('demo:minilm')\n"
            "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
            "begin = time.monotonic()\n"
            "try:\n    model.embed(['the wheel turns ' * 60] * 4000)\n"
            "except KeyboardInterrupt:\n    took = time.monotonic() - begin\n"
            "assert took < 5, took\n"
            "assert model.embed('still alive').shape == (1, 384)\n"
            "assert model._core.metrics('minilm')['queued_tokens'] == 0\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class TestAsync:
    async def test_twins_agree(self, model: headrace.Model) -> None:
        np.testing.assert_array_equal(await model.aembed(TEXTS), model.embed(TEXTS))
        texts = [f"wheel {i}" for i in range(700)]
        np.testing.assert_array_equal(
            await model.aembed(texts, dimensions=32), model.embed(texts, dimensions=32)
        )

    async def test_many_tasks_at_once_get_their_own_answers(self, model: headrace.Model) -> None:
        texts = [f"wheel {i} of the mill" for i in range(200)]
        alone = model.embed(texts)
        answers = await asyncio.gather(*(model.aembed(text) for text in texts))
        np.testing.assert_array_equal(np.concatenate(answers), alone)

    async def test_the_event_loop_keeps_turning(self, model: headrace.Model) -> None:
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                begin = time.perf_counter()
                await asyncio.sleep(0.005)
                longest = max(longest, time.perf_counter() - begin)

        watcher = asyncio.create_task(watch())
        work = asyncio.create_task(model.aembed(["the wheel turns " * 50] * 512))
        await work
        watcher.cancel()
        assert longest < 1.0, "the loop stood still while the model worked"

    async def test_cancelling_the_task_cancels_the_work(self, model: headrace.Model) -> None:
        before = model._core.metrics(model.name)["cancelled"]
        tasks = [asyncio.create_task(model.aembed(["the wheel turns " * 60] * 200)) for _ in range(4)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert model._core.metrics(model.name)["cancelled"] == before + 4
        assert (await model.aembed("still alive")).shape == (1, 384)

    async def test_token_ids_are_taken_as_they_are(self, model: headrace.Model) -> None:
        ids = model.tokenizer.encode(TEXTS[0]).ids
        result = await model.aembed_result([list(ids)])
        np.testing.assert_array_equal(result.vectors, model.embed(TEXTS[0]))
        assert (result.tokens, result.truncated) == (len(ids), 0)
        for bad in ([[]], [[-1]], [[30522]], [[1.5]], [[True]], [["a"]], [[2**40]], [5]):
            with pytest.raises(headrace.InvalidArgumentError, match=r"input\[0\]"):
                await model.aembed_result(bad)  # type: ignore[arg-type]

    async def test_a_timeout_that_passes_in_the_queue(self, model: headrace.Model) -> None:
        busy = [asyncio.create_task(model.aembed(["the wheel turns " * 60] * 256)) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(headrace.DeadlineError, match="timeout"):
            await model.aembed_result(["late"] * 64, timeout=0.001, priority="batch", admission="wait")
        await asyncio.gather(*busy)

    def test_each_event_loop_has_its_own_completions(self, model: headrace.Model) -> None:
        expected = model.embed(TEXTS)
        wrong: list[str] = []

        def use_a_loop() -> None:
            for _ in range(3):
                if not np.array_equal(asyncio.run(model.aembed(TEXTS)), expected):
                    wrong.append("other vectors")

        threads = [threading.Thread(target=use_a_loop) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not wrong


class TestEngine:
    def test_models_share_an_engine(self) -> None:
        with headrace.Engine(threads=2) as engine:
            minilm = engine.add("minilm", "demo:minilm")
            tiny = engine.add("tiny", TINY)
            assert [info.name for info in engine.models()] == ["minilm", "tiny"]
            assert engine.model("tiny") is tiny
            assert minilm.embed("water").shape == (1, 384)
            assert tiny.embed("water").shape == (1, 24)
            assert engine.stats()["models"]["tiny"]["sequences"] == 1
            engine.remove("tiny")
            with pytest.raises(headrace.ModelNotFoundError, match="'tiny'; there is: minilm"):
                engine.model("tiny")
            with pytest.raises(headrace.ModelNotFoundError):
                tiny.embed("water")
            assert minilm.embed("water").shape == (1, 384)

    @pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 129, "日本"])
    def test_names_are_identifiers(self, name: str) -> None:
        with headrace.Engine() as engine, pytest.raises(headrace.InvalidArgumentError, match="model name"):
            engine.add(name, TINY)

    def test_a_taken_name_is_refused(self) -> None:
        with headrace.Engine() as engine:
            engine.add("tiny", TINY)
            with pytest.raises(headrace.InvalidArgumentError, match="taken"):
                engine.add("tiny", TINY)

    def test_a_closed_engine_says_so(self) -> None:
        model = headrace.load(TINY)
        model.close()
        model.close()
        with pytest.raises(headrace.CancelledError, match="closed"):
            model.embed("water")

    @pytest.mark.parametrize("options", [{"threads": 0}, {"queue_budget": 0}, {"max_batch_tokens": 0}])
    def test_options_outside_their_range(self, options: dict[str, int]) -> None:
        with pytest.raises(headrace.InvalidArgumentError, match=next(iter(options))):
            headrace.Engine(**options)  # type: ignore[arg-type]

    def test_precision_and_device(self) -> None:
        for precision in ("f32", "bf16", "int8"):
            with headrace.load(TINY, precision=precision) as model:
                assert model.info.precision == precision
        with headrace.load(TINY) as model:
            assert model.info.precision in ("f32", "bf16")
        with pytest.raises(headrace.UnsupportedError, match="cuda"):
            headrace.load(TINY, device="cuda")
        with pytest.raises(headrace.InvalidArgumentError, match="f33"):
            headrace.load(TINY, precision="f33")

    def test_a_forked_child_is_told_to_make_its_own_and_exits_well(self) -> None:
        program = (
            "import headrace, os, sys\n"
            f"model = headrace.load({str(TINY)!r})\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    try:\n        model.embed('water')\n"
            "    except headrace.UnsupportedError as error:\n        assert 'fork' in str(error)\n"
            "    model.close()\n"
            f"    headrace.load({str(TINY)!r}).embed('water')\n"
            "    sys.exit(7)\n"  # through the interpreter's own end, which destroys the parent's engine
            "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
            "model.embed('water')\n"
        )
        subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)


class TestShow:
    def test_repr_says_what_it_is(self, model: headrace.Model) -> None:
        text = repr(model)
        for part in ("minilm", "embed", "22.6M", "384", "256", headrace.isa()):
            assert part in text
        assert "<table>" in model._repr_html_()

    def test_html_is_escaped(self, tmp_path: Path) -> None:
        path = shutil.copytree(TINY, tmp_path / "<b>bold")
        with headrace.Engine() as engine:
            model = engine.add("tiny", path)
            assert "<b>bold" not in model._repr_html_()
            assert "tiny" in engine._repr_html_()
            assert "tiny" in repr(engine)

    def test_info_names_the_machine(self) -> None:
        info = headrace.info()
        assert info["isa"] in info["runnable_isas"]
        assert info["runnable_isas"][-1] == "reference"
        assert info["version"] == headrace.__version__
        json.dumps(info)


class TestIsa:
    def run(self, isa: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "import headrace; print(headrace.isa())"],
            capture_output=True,
            text=True,
            env={**os.environ, "HEADRACE_ISA": isa},
            timeout=60,
            check=False,
        )

    @pytest.mark.parametrize("isa", _core.runnable_isas())
    def test_every_table_that_runs_here_can_be_forced(self, isa: str) -> None:
        assert self.run(isa).stdout.strip() == isa

    @pytest.mark.parametrize("isa", ["sse9", *sorted(set(_core.known_isas()) - set(_core.runnable_isas()))])
    def test_what_the_processor_lacks_is_an_error(self, isa: str) -> None:
        run = self.run(isa)
        assert run.returncode != 0
        assert "UnsupportedError" in run.stderr
        assert isa in run.stderr
