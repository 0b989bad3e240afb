"""The other tasks' recipes: each learns something, and what it wrote does in the engine what it was measured at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace
import headrace.toy
from headrace import lifecycle
from headrace.cli import main
from headrace.lifecycle.settings import TrainSettings
from headrace.lifecycle.training import train

PLACES, PEOPLE = ("paris", "river", "mill"), ("maria", "smith")
FILLING = ("the", "of", "to", "and", "in", "is", "wheel", "water", "turns", "runs")
CHANCE = np.random.default_rng(0)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base() -> Path:
    return headrace.toy.model("embed")


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numbers(**changes: Any) -> TrainSettings:
    return TrainSettings(
        **{"epochs": 6, "batch_size": 16, "learning_rate": 5e-3, "precision": "f32", **changes}
    )


def tagged_rows(count: int) -> list[dict[str, Any]]:
    rows = []
    for i in range(count):
        tokens: list[str] = []
        tags: list[str] = []
        for _ in range(CHANCE.integers(3, 8)):
            if CHANCE.random() < 0.3:
                tokens += ["maria", "smith"]
                tags += ["B-PER", "I-PER"]
            elif CHANCE.random() < 0.3:
                tokens.append(str(CHANCE.choice(PLACES)))
                tags.append("B-LOC")
            else:
                tokens.append(str(CHANCE.choice(FILLING)))
                tags.append("O")
        rows.append({"tokens": [*tokens, f"x{i}"], "tags": [*tags, "O"]})
    return rows


def test_entities_are_learned(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    with path.open("w") as file:
        for row in tagged_rows(200):
            file.writelines(f"{token} {tag}\n" for token, tag in zip(row["tokens"], row["tags"], strict=True))
            file.write("\n")
    found = train("tag", path, base, tmp_path / "model", numbers())
    assert found.test is not None
    assert found.metrics["f1_micro"] > 0.9
    assert set(found.test.per_class) == {"LOC", "PER"}
    with headrace.load(found.out, precision="f32") as model:
        for aggregation in ("simple", "first"):
            entities = model.tag("the mill of maria smith", aggregation=aggregation)[0]  # type: ignore[arg-type]
            assert [(e.label, e.text) for e in entities] == [("LOC", "mill"), ("PER", "maria smith")]
    with headrace.load(headrace.toy.model("tag")) as other:
        compared = lifecycle.evaluate(found.out, path, compare=other.info.path, bootstrap=100)
    assert compared.rows == found.rows["test"]
    assert compared.comparison["differences"][0].value < 0
    assert compared.comparison["differences"][0].is_real
    assert compared.intervals["f1_micro"][1] <= 1


def test_pairs_come_near_each_other(base: Path, tmp_path: Path) -> None:
    names = [f"{word} {other}" for word in (*PLACES, *PEOPLE, *FILLING) for other in (*PLACES, *PEOPLE)]
    rows = [
        {"anchor": f"where is {name}", "positive": f"a {name} and {name}", "negative": f"not {names[i - 1]}"}
        for i, name in enumerate(names)
    ]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    settings = numbers(learning_rate=1e-3, epochs=4, test=0.3)
    found = train("embed", path, base, tmp_path / "model", settings)
    before = lifecycle.evaluate(base, path, bootstrap=0)
    after = lifecycle.evaluate(found.out, path, rows="all", bootstrap=50, compare=base)
    assert after.metrics["mrr@10"] > before.metrics["mrr@10"]
    assert "flatter" in after.notes[0]
    difference = after.comparison["differences"][0]
    assert (difference.first, difference.second) == pytest.approx(
        (after.metrics["mrr@10"], before.metrics["mrr@10"])
    )
    assert found.metrics["recall@10"] > 0.5
    # What was measured in training is what the library of these folders computes.
    from sentence_transformers import SentenceTransformer

    texts = ["where is paris", "a mill and a wheel"]
    expected = SentenceTransformer(str(found.out), device="cpu").encode(texts)
    with headrace.load(found.out, precision="f32") as model:
        assert model.embed(texts) == pytest.approx(expected, abs=1e-4)


def test_likeness_is_judged_by_ranks(tmp_path: Path) -> None:
    rows = [
        {"sentence1": f"the {a}", "sentence2": f"the {b} {i}", "score": float(a == b)}
        for i, (a, b) in enumerate((a, b) for a in PLACES for b in (*PLACES, *PEOPLE))
    ]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    found = lifecycle.evaluate("demo:minilm", path, bootstrap=100)
    assert found.metrics["spearman"] > 0.5
    low, high = found.intervals["spearman"]
    assert low <= found.metrics["spearman"] <= high
    compared = lifecycle.evaluate("demo:minilm", path, bootstrap=0, compare=headrace.toy.model("embed"))
    assert compared.comparison["differences"][0].name == "spearman"


def test_answers_are_told_from_other_documents(base: Path, tmp_path: Path) -> None:
    rows = []
    for i in range(60):
        query = f"where is {i}"
        rows.append({"query": query, "document": f"good {CHANCE.choice(FILLING)} {i}", "label": 1})
        rows += [
            {"query": query, "document": f"bad {CHANCE.choice(FILLING)} {i} {k}", "label": 0}
            for k in range(3)
        ]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    settings = lifecycle.DataSettings(columns={"group": "query"})
    found = train("rerank", path, base, tmp_path / "model", numbers(), data_settings=settings)
    assert found.metrics["mrr@10"] > 0.9
    assert found.metrics["average_precision"] > 0.9
    from sentence_transformers import CrossEncoder

    pairs = [("where is 1", "good the 1"), ("where is 1", "bad the 1")]
    expected = CrossEncoder(str(found.out), device="cpu").predict(pairs)
    with headrace.load(found.out, precision="f32") as model:
        assert model.info.task == "rerank"
        ranked = model.rerank("where is 1", [document for _, document in pairs])
    assert [r.score for r in sorted(ranked, key=lambda r: r.index)] == pytest.approx(expected, abs=1e-4)
    strange = jsonl(
        tmp_path / "strange.jsonl", [{"query": "a", "document": f"b {i}", "label": i} for i in range(9)]
    )
    with pytest.raises(headrace.InvalidArgumentError, match=r"row 3: label 2: must be between 0"):
        train("rerank", strange, base, tmp_path / "other", numbers())


def language_model(folder: Path, layers: int = 2) -> Path:
    """A tiny llama whose tokens are words."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "<eos>", "<unk>", *PLACES, *PEOPLE, *FILLING, "where", "?"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(str(folder))
    config = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        eos_token_id=1, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(str(folder))
    return folder


def test_a_language_model_learns_to_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    torch.manual_seed(0)
    base = language_model(tmp_path / "base")
    rows = []
    for i in range(120):
        asked = " ".join(CHANCE.choice(FILLING, 3))
        name = (*PLACES, *PEOPLE)[i % 5]
        rows.append({"prompt": f"where is {name} {asked} ?", "text": f"{name} in {name}"})
    path = jsonl(tmp_path / "rows.jsonl", rows)
    settings = numbers(learning_rate=2e-2, epochs=8, lora_rank=8, lora_alpha=16, test=0)
    found = train("generate", path, base, tmp_path / "adapter", settings)
    losses = [record.validation["loss"] for record in found.history.epochs]
    assert min(losses) < 0.9 * losses[0]  # few weights of a model that knew nothing
    assert found.metrics["perplexity"] == pytest.approx(np.exp(min(losses)))
    assert f"headrace serve {base} --adapter adapter=" in str(found)
    with headrace.Engine() as engine:
        model = engine.add("base", base, precision="f32")
        tuned = engine.add_adapter("tuned", found.out, model="base")
        asked = "where is paris the of to ?"
        answers = [one.generate(asked, temperature=0, max_tokens=8).text.strip() for one in (model, tuned)]
    assert answers[0] != answers[1]
    capsys.readouterr()
    assert main(["evaluate", str(base), "--data", str(path), "--bootstrap", "0", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["perplexity"] == pytest.approx(_perplexity_by_transformers(base, rows), rel=1e-3)


def _perplexity_by_transformers(folder: Path, rows: list[dict[str, str]]) -> float:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    losses = []
    for row in rows:
        before, after = (tokenizer(row[part])["input_ids"] for part in ("prompt", "text"))
        with torch.no_grad():
            logs = model(torch.tensor([before + after])).logits[0].log_softmax(-1)
        losses += [-float(logs[len(before) - 1 + i, token]) for i, token in enumerate(after)]
    return float(np.exp(np.mean(losses)))
