"""The tasks as objects: async twins, long lists, limits, wrong tasks, damaged checkpoints. Numbers: tests/parity."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace
import headrace.toy
from headrace import _core
from headrace.tasks.classify import ClassifyJob

TEXT = "Maria Smith runs the mill in Paris."


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, headrace.Model]]:
    with headrace.Engine() as engine:
        yield {
            task: engine.add(task, headrace.toy.model(task))
            for task in ("embed", "classify", "rerank", "tag", "answer", "fill_mask")
        }


CALLS: dict[str, Callable[[headrace.Model], Any]] = {
    "embed": lambda m: m.embed(TEXT).tolist(),
    "classify": lambda m: m.classify([TEXT, "bad water"]),
    "rerank": lambda m: m.rerank("who turns", ["the mill", "the water"]),
    "tag": lambda m: m.tag([TEXT, TEXT * 100]),
    "answer": lambda m: m.answer("who", TEXT * 30, top_k=3),
    "fill_mask": lambda m: m.fill_mask("the [MASK] turns"),
}
AWAITED: dict[str, Callable[[headrace.Model], Any]] = {
    "classify": lambda m: m.aclassify([TEXT, "bad water"]),
    "rerank": lambda m: m.arerank("who turns", ["the mill", "the water"]),
    "tag": lambda m: m.atag([TEXT, TEXT * 100]),
    "answer": lambda m: m.aanswer("who", TEXT * 30, top_k=3),
    "fill_mask": lambda m: m.afill_mask("the [MASK] turns"),
}


@pytest.mark.parametrize("task", AWAITED)
def test_awaited_gives_the_same(models: dict[str, headrace.Model], task: str) -> None:
    assert asyncio.run(AWAITED[task](models[task])) == CALLS[task](models[task])


@pytest.mark.parametrize("task", CALLS)
@pytest.mark.parametrize("other", CALLS)
def test_a_model_has_one_task(models: dict[str, headrace.Model], task: str, other: str) -> None:
    if task == other:
        assert models[task].info.task == task
        CALLS[task](models[task])
        return
    with pytest.raises(
        headrace.InvalidArgumentError, match=f"its task is {other.replace('_', '-')}"
    ) as raised:
        CALLS[task](models[other])
    assert raised.value.code == "wrong_task"


def test_long_lists_run_in_portions(models: dict[str, headrace.Model]) -> None:
    texts = [f"the mill {i}" for i in range(700)]
    labels = models["classify"].classify(texts)
    assert labels == asyncio.run(models["classify"].aclassify(texts))
    assert labels[650] == models["classify"].classify(texts[650])[0]
    entities = models["tag"].tag(texts)
    assert len(entities) == 700
    assert entities[699] == models["tag"].tag(texts[699])[0]
    ranked = models["rerank"].rerank("the wheel", texts)
    assert sorted(r.index for r in ranked) == list(range(700))
    assert ranked[:9] == models["rerank"].rerank("the wheel", iter(texts), top_n=9)


def test_a_long_list_is_looked_through_first(models: dict[str, headrace.Model]) -> None:
    before = models["classify"]._engine.stats()["models"]["classify"]["sequences"]
    with pytest.raises(headrace.InvalidArgumentError, match=r"input\[600\] has 1002 tokens"):
        models["classify"].classify(["the mill"] * 600 + ["the " * 1000])
    assert models["classify"]._engine.stats()["models"]["classify"]["sequences"] == before


def test_equal_documents_keep_their_order(models: dict[str, headrace.Model]) -> None:
    ranked = models["rerank"].rerank("who", ["a mill", "the water", "a mill", "the water"])
    places = [r.index for r in ranked]
    assert places in ([0, 2, 1, 3], [1, 3, 0, 2])


def test_a_document_is_cut_and_the_query_never(models: dict[str, headrace.Model]) -> None:
    model = models["rerank"]
    words = ["the", "mill"] * 600
    whole = model.rerank("who turns", [" ".join(words[:507]), " ".join(words)], truncate=True)
    assert whole[0].score == whole[1].score  # 512 tokens but [CLS], two [SEP] and the query's two
    with pytest.raises(headrace.InvalidArgumentError, match=r"documents\[1\] has 513 tokens.* at most 512"):
        model.rerank("who turns", ["a", " ".join(words[:508])])
    with pytest.raises(headrace.InvalidArgumentError, match="the query has 510 tokens; of 509") as raised:
        model.rerank("the " * 510, ["a"], truncate=True)
    assert raised.value.code == "context_length_exceeded"


def test_entities_of_windows_are_at_their_places(models: dict[str, headrace.Model]) -> None:
    text = " ".join([TEXT] * 300)
    entities = models["tag"].tag(text, aggregation="none", ignore_labels=[])[0]
    assert [e.start for e in entities] == sorted({e.start for e in entities})
    assert "".join(e.text for e in entities) == text.replace(" ", "")


def test_an_answer_may_be_that_there_is_none(models: dict[str, headrace.Model]) -> None:
    model = models["answer"]
    found = model.answer("who", TEXT)
    assert found.best is not None
    assert (found.text, found.score) == (found.best.text, found.best.score)
    surest = model.answer("who", TEXT, allow_no_answer=True)
    if found.no_answer_score > found.score:
        assert surest.best is None
        assert (surest.text, surest.score) == ("", found.no_answer_score)
    assert surest.spans == found.spans
    nothing = model.answer("who", " ")
    assert nothing.best is None
    assert nothing.spans == ()


def test_special_tokens_in_texts_stay_text_beside_a_mask(models: dict[str, headrace.Model]) -> None:
    model = models["fill_mask"]
    told = model.fill_mask("the [MASK] turns [SEP] [PAD]")
    assert len(told) == 1
    assert told != model.fill_mask("the [MASK] turns")
    tokenizer = model.tokenizer
    ids = tokenizer.encode("the [MASK] turns [SEP] [PAD]").ids
    assert ids.count(tokenizer.token_to_id("[SEP]")) == 1  # the template's


def test_an_encoder_is_there_without_its_head() -> None:
    path = headrace.toy.model("classify")
    with headrace.load(path, task="embed") as model:
        assert model.embed(TEXT).shape == (1, 32)
        assert model.info.labels == ()
    with headrace.load(headrace.toy.model("rerank"), task="classify") as model:
        assert [label.label for label in model.classify(TEXT)[0]] == ["LABEL_0"]
    for task, message in (("tag", "describes a model to classify or embed"), ("rerank", "2 labels")):
        with pytest.raises(headrace.InvalidArgumentError, match=message):
            headrace.load(path, task=task)
    with pytest.raises(headrace.InvalidArgumentError, match="must be one of embed, classify"):
        headrace.load(path, task="sing")


def test_a_directory_of_sentence_transformers_embeds(tmp_path: Path) -> None:
    path = headrace.toy.model("fill_mask", tmp_path / "model")
    (path / "1_Pooling").mkdir()
    kind = "sentence_transformers.models."
    modules = [{"type": f"{kind}Transformer", "path": ""}, {"type": f"{kind}Pooling", "path": "1_Pooling"}]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    with headrace.load(path) as model:
        assert model.info.task == "embed"
        assert model.embed(TEXT).shape == (1, 32)


WRONG: list[tuple[str, Callable[[headrace.Model], Any], str]] = [
    ("classify", lambda m: m.classify([]), "empty list"),
    ("classify", lambda m: m.classify(["a", ""]), r"input\[1\] is an empty string"),
    ("classify", lambda m: m.classify([("a", "b"), "c"]), r"input\[1\] is no pair"),
    ("classify", lambda m: m.classify([("a", "b"), ("c", "")]), r"input\[1\] is an empty string"),
    ("classify", lambda m: m.classify("a", top_k=0), "top_k=0: must be an integer between 1 and"),
    ("classify", lambda m: m.classify("a", top_k=True), "top_k=True"),
    ("classify", lambda m: m.classify("a", timeout=-1), "timeout=-1"),
    ("classify", lambda m: m.classify("a\ud800"), "surrogate"),
    ("rerank", lambda m: m.rerank("", ["a"]), "query is an empty string"),
    ("rerank", lambda m: m.rerank("a", []), "documents is an empty list"),
    ("rerank", lambda m: m.rerank("a", "b"), "documents is a str"),
    ("rerank", lambda m: m.rerank("a", ["b", 3]), r"documents\[1\] is of type int"),
    ("rerank", lambda m: m.rerank("a", ["b"], top_n=0), "top_n=0"),
    ("tag", lambda m: m.tag("a", aggregation="best"), "none, simple, first, average, max"),
    ("tag", lambda m: m.tag("a", stride=510), "stride=510: must be at least 0 and below 510"),
    ("tag", lambda m: m.tag("a", stride=-1), "stride=-1"),
    ("tag", lambda m: m.tag("the " * 100_000, stride=509),
     r"input\[0\], read in windows of 512 tokens that share 509, would be 50939392 tokens; a request may have 1048576"),
    ("answer", lambda m: m.answer("", "b"), "question is an empty string"),
    ("answer", lambda m: m.answer("a", 3), "context is of type int"),
    ("answer", lambda m: m.answer("a", "b", top_k=101), "top_k=101: must be an integer between 1 and 100"),
    ("answer", lambda m: m.answer("a", "b", max_answer_tokens=0), "max_answer_tokens=0"),
    ("answer", lambda m: m.answer("the " * 600, "b"), "the question has 600 tokens"),
    ("answer", lambda m: m.answer("a", "b", window=16, stride=14), "stride"),
    ("fill_mask", lambda m: m.fill_mask("no mask"), r"has no \[MASK\]; write it"),
    ("fill_mask", lambda m: m.fill_mask("a " * 600 + "[MASK]", truncate=True), "within the part that is read"),
    ("fill_mask", lambda m: m.fill_mask("a [MASK]", top_k=1001), "top_k=1001"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "call", "message"), WRONG)
def test_what_is_wrong_is_said(
    models: dict[str, headrace.Model], task: str, call: Callable[[headrace.Model], Any], message: str
) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        call(models[task])


def change(path: Path, **settings: Any) -> Path:
    config = json.loads((path / "config.json").read_text())
    config.update(settings)
    (path / "config.json").write_text(
        json.dumps({key: value for key, value in config.items() if value is not ...})
    )
    return path


@pytest.mark.parametrize(
    ("task", "settings", "error", "message"),
    [
        ("classify", {"id2label": {"0": "a", "2": "b"}}, headrace.CorruptFileError, "2 labels and the key '2'"),
        ("classify", {"id2label": {"0": "a", "x": "b"}}, headrace.CorruptFileError, "the key 'x'"),
        ("classify", {"id2label": {}}, headrace.CorruptFileError, "must be an object of 1 to"),
        ("classify", {"id2label": ["a"]}, headrace.CorruptFileError, "must be an object of 1 to"),
        ("classify", {"id2label": {"0": 1, "1": 2}}, headrace.CorruptFileError, "string"),
        ("classify", {"id2label": {str(i): "x" for i in range(3)}}, headrace.CorruptFileError,
         r"'classifier.weight' has shape \[2, 32\]; config.json makes it \[3, 32\]"),
        ("tag", {"id2label": ...}, headrace.CorruptFileError,
         r"'classifier.weight' has shape \[5, 32\]; config.json makes it \[2, 32\]"),
        ("classify", {"problem_type": "guessing"}, headrace.UnsupportedError, "problem_type 'guessing'"),
        ("rerank", {"sentence_transformers": {"activation_fn": "torch.nn.Softplus"}}, headrace.UnsupportedError,
         "torch.nn.Softplus"),
        ("embed", {"architectures": ["BertForMaskedLM"]}, headrace.CorruptFileError,
         "cls.predictions.transform.dense.weight' is missing"),
        ("embed", {"architectures": [3]}, headrace.CorruptFileError, "string"),
        ("embed", {"architectures": "Bert"}, headrace.CorruptFileError, "array"),
    ],
)  # fmt: skip
def test_damaged_settings(
    tmp_path: Path, task: str, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = change(headrace.toy.model(task, tmp_path / "model"), **settings)
    with pytest.raises(error, match=message):
        headrace.load(path)


def test_labels_without_names_are_counted(tmp_path: Path) -> None:
    path = change(headrace.toy.model("tag", tmp_path / "model"), id2label=..., num_labels=5)
    with headrace.load(path) as model:
        assert model.info.labels == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")


def test_a_mask_token_that_nobody_knows(tmp_path: Path) -> None:
    path = headrace.toy.model("fill_mask", tmp_path / "model")
    (path / "tokenizer_config.json").write_text('{"mask_token": "<blank>"}')
    with pytest.raises(headrace.CorruptFileError, match="'<blank>', which the tokenizer does not know"):
        headrace.load(path)
    (path / "tokenizer_config.json").unlink()  # [MASK] is found without it
    with headrace.load(path) as model:
        assert len(model.fill_mask("a [MASK]")) == 1


@pytest.mark.parametrize("task", ["classify", "tag", "embed"])
def test_an_answer_without_numbers_is_an_error(tmp_path: Path, task: str) -> None:
    path = headrace.toy.model(task, tmp_path / "model")
    weights = path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    with headrace.load(path) as model:
        water = model.tokenizer.token_to_id("water")
    begin = 8 + size + header["bert.embeddings.word_embeddings.weight"]["data_offsets"][0] + water * 32 * 4
    data[begin : begin + 4] = np.float32("nan").tobytes()
    weights.write_bytes(data)
    call = {"classify": "classify", "tag": "tag", "embed": "embed"}[task]
    with headrace.load(path) as model:
        with pytest.raises(
            headrace.InternalError, match=r"input\[1\] holds infinity or NaN.*safetensors"
        ) as raised:
            getattr(model, call)(["the mill", "the water"])
        assert raised.value.code == "not_finite"
        getattr(model, call)(["the mill", "the wheel"])  # others are not harmed
        assert model._engine.stats()["models"][model.name]["failed"] == 1


_IN_COMPANY = """
import headrace, headrace.toy

texts = [("the mill water " * (i % 9 + 1)) + "turns" for i in range(30)]
for precision in ("f32", "bf16", "int8"):
    with headrace.load(headrace.toy.model("classify"), precision=precision, threads=2) as model:
        assert model.classify(texts) == [model.classify(text)[0] for text in texts], precision
        assert model.classify(texts[::-1]) == model.classify(texts)[::-1], precision
    with headrace.load(headrace.toy.model("rerank"), precision=precision) as model:
        alone = [model.rerank("who turns", [text])[0].score for text in texts]
        assert {r.index: r.score for r in model.rerank("who turns", texts)} == dict(enumerate(alone)), precision
    with headrace.load(headrace.toy.model("tag"), precision=precision) as model:
        assert model.tag(texts) == [model.tag(text)[0] for text in texts], precision
"""


@pytest.mark.parametrize("isa", _core.runnable_isas())
def test_alone_equals_in_company_bit_for_bit_on_every_table(isa: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _IN_COMPANY],
        env={**os.environ, "HEADRACE_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_a_full_queue_refuses_tasks_too() -> None:
    async def ask_at_once(model: headrace.Model) -> list[Any]:
        calls = [model._arun_request(ClassifyJob(["the mill " * 200] * 8)) for _ in range(60)]
        return await asyncio.gather(*calls, return_exceptions=True)

    with headrace.Engine(queue_budget=0.001, threads=1) as engine:
        model = engine.add("classify", headrace.toy.model("classify"))
        model.classify(["the mill " * 200] * 32)  # its speed is known now
        outcomes = asyncio.run(ask_at_once(model))
    refused = [outcome for outcome in outcomes if isinstance(outcome, headrace.OverloadedError)]
    assert refused
    assert all(error.retry_after > 0 for error in refused)
    assert len(refused) < len(outcomes)
    assert all(isinstance(o, (tuple, headrace.OverloadedError)) for o in outcomes)
