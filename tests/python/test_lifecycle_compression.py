"""Compression: every method makes a folder that serves what was measured; what cannot be done is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from conftest import Server
from safetensors.numpy import load_file
from test_lifecycle_tasks import language_model

import headrace
import headrace.toy
from headrace import lifecycle
from headrace.cli import main
from headrace.lifecycle.compression import heads
from headrace.lifecycle.compression.speed import Gain, left_out
from headrace.lifecycle.inspection import inspect_files
from headrace.lifecycle.training import make_recipe

WORDS = ("mill", "wheel", "water", "river", "paris", "maria", "smith")
TRAINING = lifecycle.TrainSettings(epochs=6, learning_rate=5e-3, precision="f32", batch_size=8)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that a tiny model can learn: a word says the class."""
    chance = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "mills.csv"
    rows = ["text,label"]
    for i in range(160):
        word = ("good", "bad")[i % 2]
        rows.append(f"{' '.join(chance.choice(WORDS, chance.integers(2, 24)))} {word} {i},{word}")
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "model"
    lifecycle.train("classify", data, headrace.toy.model("embed"), out, TRAINING)
    (out / "README.md").write_text("# Mills\n\nSays whether a mill is good.\n")
    return out


def squeeze(base: Path, data: Path, out: Path, method: str, **options: Any) -> lifecycle.Compression:
    training = options.pop("training", TRAINING)
    settings = lifecycle.CompressSettings(method=method, training=training, **options)
    return lifecycle.compress(base, data, out, settings, turns=1, threads=1, bootstrap=200)


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


@pytest.mark.parametrize(
    ("method", "options", "served", "key", "value"),
    [
        ("bf16", {}, "bf16", "dtype", "bfloat16"),
        ("int8", {}, "int8", "dtype", "float16"),
        ("prune-heads", {}, "f32", "head_dim", 16),
        ("prune-heads", {"importance": "magnitude", "recover_epochs": 1, "precision": "int8"}, "int8",
         "num_attention_heads", 1),
        ("prune-neurons", {"recover_epochs": 1}, "f32", "intermediate_size", 32),
        ("prune-neurons", {"importance": "magnitude", "precision": "bf16"}, "bf16", "intermediate_size", 32),
        ("prune-layers", {"recover_epochs": 1}, "f32", "num_hidden_layers", 1),
        ("prune-layers", {"importance": "magnitude"}, "f32", "num_hidden_layers", 1),
        ("prune-weights", {"share": 0.3, "recover_epochs": 1}, "f32", "num_hidden_layers", 2),
        ("distill", {"recover_epochs": 2}, "f32", "num_hidden_layers", 1),
        ("distill", {"recover_epochs": 2, "student_layers": 2, "precision": "int8"}, "int8", "num_hidden_layers", 2),
    ],
)  # fmt: skip
def test_a_method_makes_a_folder_that_is_served_as_measured(
    base: Path,
    data: Path,
    tmp_path: Path,
    method: str,
    options: dict[str, Any],
    served: str,
    key: str,
    value: Any,
) -> None:
    found = squeeze(base, data, tmp_path / "small", method, **options)
    record = json.loads((found.out / "compression.json").read_text())
    assert config_of(found.out)[key] == value
    with headrace.load(found.out, threads=1) as model:
        assert model.info.precision == served
        assert model.info.weight_bytes == found.sizes[1].memory
    again = lifecycle.evaluate(found.out, data, threads=1, bootstrap=0)  # the rows that the base held out
    assert again.rows == found.after.rows == 16
    assert again.metrics == pytest.approx(found.after.metrics, abs=1e-6)
    assert found.after.metrics["accuracy"] >= 0.7
    assert found.lost is not None
    assert found.lost.value == pytest.approx(
        found.after.metrics["accuracy"] - found.before.metrics["accuracy"]
    )
    assert record["method"] == method
    assert record["quality"]["after"]["metrics"]["accuracy"] == found.after.metrics["accuracy"]
    assert record["size"]["after"]["disk"] == (found.out / "model.safetensors").stat().st_size
    assert len(record["base"]["sha256"]) == 64
    assert str(tmp_path) not in json.dumps(record)
    card = (found.out / "README.md").read_text()
    assert card.startswith("# Mills\n\nSays whether a mill is good.\n\n## Compression\n")
    assert f"- method: {method}" in card
    assert not (found.out / "checkpoints").exists()


def test_served_answers_are_the_evaluated_ones(base: Path, data: Path, tmp_path: Path) -> None:
    options = {"recover_epochs": 1, "precision": "int8"}
    found = squeeze(base, data, tmp_path / "small", "prune-heads", **options)
    lines = data.read_text().splitlines()
    texts = [lines[row["row"]].split(",")[0] for row in found.after.predictions]
    with Server(f"small={found.out}") as server:
        answer = httpx2.post(
            f"{server.url}/v1/classify", json={"model": "small", "input": texts}, timeout=60
        ).json()
        assert server.stop() == 0
    served = [item["labels"][0] for item in answer["data"]]
    assert [one["label"] for one in served] == [row["found"] for row in found.after.predictions]
    expected = [row["score"] for row in found.after.predictions]
    assert [one["score"] for one in served] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
def test_fewer_heads_give_in_the_engine_what_torch_gives(
    base: Path, data: Path, tmp_path: Path, importance: str
) -> None:
    import torch

    rows = inspect_files({"train": data})["train"]
    recipe = make_recipe("classify", base, rows.names, TRAINING)
    recipe.use((recipe.encode(rows), rows.labels, np.arange(len(rows.rows))), None)
    settings = lifecycle.CompressSettings(method="prune-heads", importance=importance, training=TRAINING)
    config = heads.prune(recipe, settings)["config"]
    recipe.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config_of(tmp_path) | config))
    text = "the water of the river turns the wheel of a good mill"
    with torch.inference_mode():
        expected = recipe.model(**recipe.tokenizer(text, return_tensors="pt")).logits.softmax(1)[0]
    with headrace.load(tmp_path, precision="f32") as model:
        scores = {one.label: one.score for one in model.classify(text)[0]}
    assert [scores[name] for name in rows.names] == pytest.approx(expected.tolist(), abs=2e-5)


def test_importance_keeps_what_matters(base: Path, data: Path, tmp_path: Path) -> None:
    """A head and neurons whose outputs are 0 go first, by either criterion."""
    from safetensors.numpy import save_file

    weights = load_file(base / "model.safetensors")
    for layer in range(2):
        weights[f"bert.encoder.layer.{layer}.attention.output.dense.weight"][:, :16] = 0
        weights[f"bert.encoder.layer.{layer}.output.dense.weight"][:, ::2] = 0
    source = tmp_path / "source"
    source.mkdir()
    for path in base.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    save_file(weights, str(source / "model.safetensors"), metadata={"format": "pt"})
    for importance in ("taylor", "magnitude"):
        found = squeeze(source, data, tmp_path / f"h-{importance}", "prune-heads", importance=importance)
        assert found.done["heads"]["kept"] == [[1], [1]]
        assert found.after.metrics["log_loss"] == pytest.approx(found.before.metrics["log_loss"], abs=1e-5)
        found = squeeze(source, data, tmp_path / f"n-{importance}", "prune-neurons", importance=importance)
        assert found.after.metrics["log_loss"] == pytest.approx(found.before.metrics["log_loss"], abs=1e-5)


def test_pruned_weights_stay_zero_and_no_speed_is_promised(base: Path, data: Path, tmp_path: Path) -> None:
    found = squeeze(base, data, tmp_path / "small", "prune-weights", share=0.4, recover_epochs=1)
    weights = load_file(found.out / "model.safetensors")
    matrices = [value for name, value in weights.items() if ".layer." in name and value.ndim == 2]
    zeros = sum(int((matrix == 0).sum()) for matrix in matrices)
    assert found.done["weights"]["zero"] == zeros
    assert zeros == pytest.approx(0.4 * sum(matrix.size for matrix in matrices), rel=0.01)
    assert any("neither speed nor memory" in note for note in found.notes)
    assert found.sizes[0].memory == found.sizes[1].memory


def test_a_student_of_its_own_learns_from_the_teacher(base: Path, data: Path, tmp_path: Path) -> None:
    student = headrace.toy.model("embed", tmp_path / "student", seed=4)
    found = squeeze(base, data, tmp_path / "small", "distill", student=student, recover_epochs=6)
    assert found.after.metrics["accuracy"] >= 0.8
    record = json.loads((found.out / "compression.json").read_text())
    assert record["base"]["student"]["name"] == "student"
    assert found.history is not None
    assert found.history.losses[-1] < found.history.losses[0]
    other = tmp_path / "other"
    other.mkdir()
    for path in student.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["wheel"], words["water"] = words["water"], words["wheel"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(headrace.InvalidArgumentError, match="reads texts as other tokens"):
        squeeze(base, data, tmp_path / "never", "distill", student=other)


@pytest.mark.parametrize("task", ["tag", "embed", "rerank"])
@pytest.mark.parametrize("method", ["int8", "prune-neurons", "distill"])
def test_other_tasks(task: str, method: str, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    path = tmp_path / "rows.jsonl"
    rows = []
    for i in range(40):
        words = [str(word) for word in chance.choice(WORDS, 5)]
        rows.append(
            {
                "tag": {"tokens": words, "tags": ["B-PER" if word == "maria" else "O" for word in words]},
                "embed": {"anchor": " ".join(words), "positive": f"the {' '.join(words[::-1])} {i}"},
                "rerank": {
                    "query": f"{words[0]} {i // 4}",
                    "document": f"{' '.join(words)} {i}",
                    "label": i % 2,
                },
            }[task]
        )
    path.write_text("\n".join(map(json.dumps, rows)))
    training = lifecycle.TrainSettings(
        epochs=1, learning_rate=1e-3, precision="f32", batch_size=8, test=0.5, validation=0
    )
    options: dict[str, Any] = {"recover_epochs": 1} if method == "distill" else {}
    found = squeeze(headrace.toy.model(task), path, tmp_path / "small", method, training=training, **options)
    assert found.task == task
    assert found.differences
    with headrace.load(found.out, threads=1) as model:
        assert model.info.task == task


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    rows = [f"where is paris the {('of', 'to')[i % 2]} ? maria in paris {i}" for i in range(40)]
    path.write_text("\n".join(["text", *rows]))
    return path


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.manual_seed(0)
    return language_model(tmp_path_factory.mktemp("writer") / "model")


@pytest.mark.parametrize(
    ("method", "options", "served"),
    [
        ("q8", {}, "q8"),
        ("q4", {}, "q4"),
        ("int8", {}, "int8"),
        ("bf16", {}, "bf16"),
        ("prune-layers", {"recover_epochs": 1}, "f32"),
        ("prune-neurons", {"precision": "int8"}, "int8"),
        ("prune-weights", {"share": 0.2}, "f32"),
        ("distill", {"recover_epochs": 2, "precision": "bf16"}, "bf16"),
    ],
)
def test_language_models(
    writer: Path, texts: Path, tmp_path: Path, method: str, options: dict[str, Any], served: str
) -> None:
    found = squeeze(writer, texts, tmp_path / "small", method, **options)
    before, after = (one.metrics["perplexity"] for one in (found.before, found.after))
    assert after < before * 1.1
    with headrace.load(found.out, threads=1) as model:
        assert model.info.precision == served
        assert len(model.generate("where is paris", max_tokens=3, ignore_eos=True).tokens) == 3
    if method in ("q8", "q4"):
        assert after == pytest.approx(before, rel=0.002 if method == "q8" else 0.05)
        assert found.sizes[1].disk < found.sizes[0].disk / (3 if method == "q8" else 5)


def test_a_gguf_is_evaluated_as_it_is_served(writer: Path, texts: Path, tmp_path: Path) -> None:
    """Its output matrix has 8 bits beside layers of 4, which "q4" would take to 4 too."""
    found = squeeze(writer, texts, tmp_path / "small", "q4")
    path = next(found.out.glob("*.gguf"))
    tokenizer = headrace.Tokenizer.from_file(found.out / "tokenizer.json")
    rows = [tokenizer.encode(row).ids for row in texts.read_text().splitlines()[1:]]
    perplexities = {}
    for precision in ("auto", "q4"):
        decoder = headrace._core.LanguageModel(str(path), precision=precision, threads=1)
        loss = 0.0
        for ids in rows:
            logits = decoder.logits(np.asarray(ids, np.int32))[:-1].astype(np.float64)
            loss += (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(ids) - 1), ids[1:]]).sum()
        perplexities[precision] = np.exp(loss / sum(len(ids) - 1 for ids in rows))
    assert found.after.metrics["perplexity"] == pytest.approx(perplexities["auto"], rel=1e-6)
    assert perplexities["q4"] != pytest.approx(perplexities["auto"], rel=1e-4)


@pytest.mark.parametrize("has_prompts", [False, True])
def test_a_language_student_learns_with_all_its_weights(
    writer: Path, texts: Path, tmp_path: Path, has_prompts: bool
) -> None:
    rows = texts
    if has_prompts:
        rows = tmp_path / "answers.csv"
        rows.write_text(
            "prompt,text\n" + "".join(f"where is paris {i},maria in paris {i}\n" for i in range(40))
        )
    student = language_model(tmp_path / "student", layers=1)
    found = squeeze(writer, rows, tmp_path / "small", "distill", student=student, recover_epochs=4)
    assert found.history is not None
    assert found.history.losses[-1] < found.history.losses[0]
    before, after = (load_file(folder / "model.safetensors") for folder in (student, found.out))
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in before)
    assert config_of(found.out)["num_hidden_layers"] == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"method": "shrink"}, "must be one of bf16, int8, q8"),
        ({"method": "static-int8"}, "is not offered: the engine scales each row"),
        ({"method": "int8", "share": 0.5}, "share=0.5: must be left out of int8"),
        ({"method": "int8", "recover_epochs": 1}, "recover_epochs=1: must be 0 of int8"),
        ({"method": "int8", "precision": "bf16"}, "precision='bf16': must be left out of int8"),
        ({"method": "prune-heads", "share": 1.0}, "between 0 and 1"),
        ({"method": "prune-heads", "importance": "guess"}, "one of taylor, magnitude"),
        ({"method": "prune-heads", "student_layers": 2}, "left out but of distill"),
        ({"method": "distill", "recover_epochs": 0}, "1 or more of distill"),
        ({"method": "distill", "temperature": 0.0}, "above 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], told: str) -> None:
    with pytest.raises((headrace.InvalidArgumentError, headrace.UnsupportedError), match=told):
        lifecycle.CompressSettings(**settings)


def test_what_a_model_cannot_have_is_refused(
    base: Path, writer: Path, data: Path, texts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "never"
    for model, rows, method, options, told in (
        (base, data, "q4", {}, "int8 is of classify"),
        (writer, texts, "prune-heads", {}, "heads share keys"),
        (writer, texts, "prune-weights", {"recover_epochs": 1}, "fill the zeros"),
        (headrace.toy.model("answer"), data, "int8", {}, "models are compressed for classify"),
    ):
        with pytest.raises(headrace.UnsupportedError, match=told):
            squeeze(model, rows, out, method, **options)
    with pytest.raises(headrace.InvalidArgumentError, match="student_layers=5: the model has 2"):
        squeeze(base, data, tmp_path / "other", "distill", student_layers=5)
    with pytest.raises(headrace.InvalidArgumentError, match="must be 1 or more"):
        lifecycle.compress(base, data, out, lifecycle.CompressSettings(method="int8"), turns=0)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    with pytest.raises(headrace.InvalidArgumentError, match="is not empty"):
        squeeze(base, data, full, "int8")
    strange = tmp_path / "strange.csv"
    strange.write_text("text,label\nthe mill is good,good\nthe mill is bad,awful\n")
    with pytest.raises(headrace.InvalidArgumentError, match="a label that the model does not know"):
        squeeze(base, strange, tmp_path / "third", "prune-layers")


def test_the_command(base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["compress", str(base), "--data", str(data), "--turns", "1", "--threads", "1", "--bootstrap", "100"]
    assert main([*run, "--out", str(tmp_path / "a"), "--method", "int8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["speed"]["is_real"] is False  # one turn shows nothing
    assert found["quality"]["rows"] == 16
    pruning = ["--method", "prune-layers", "--recover-epochs", "1", "--learning-rate", "0.005"]
    assert main([*run, "--out", str(tmp_path / "b"), *pruning]) == 0
    told = capsys.readouterr().out
    assert "accuracy: 1.0000 before" in told
    assert f"headrace serve {tmp_path / 'b'}" in told
    assert main([*run, "--out", str(tmp_path / "b"), "--method", "bf16", "--overwrite"]) == 0
    capsys.readouterr()
    assert main([*run, "--out", str(tmp_path / "c"), "--method", "static-int8"]) == 2
    assert "int8 is the dynamic form" in capsys.readouterr().err


def test_a_gain_is_real_only_where_its_interval_says_so() -> None:
    assert [left_out(n) for n in (6, 9, 15, 20)] == [0, 1, 3, 5]
    assert Gain("texts/s", 1, 2, 2.0, 1.9, 2.1, 9).is_real
    assert not Gain("texts/s", 1, 2, 2.0, 0.9, 2.1, 9).is_real
    assert not Gain("texts/s", 1, 2, 2.0, 2.0, 2.0, 1).is_real
    assert "a real loss" in str(Gain("texts/s", 2, 1, 0.5, 0.4, 0.6, 9))
