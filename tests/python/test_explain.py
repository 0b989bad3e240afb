"""Explanations: the coalitions against their definition, the engine's numbers, HTTP, the clients, the command."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from conftest import Server

import headrace
import headrace.toy
from headrace import lifecycle
from headrace.attributions.coalitions import plan
from headrace.attributions.pieces import Fields, Words

TEXT = "good water turns the bad wheel of the mill, and runs to Paris"
FUNCTIONS = Path(__file__).with_name("served_functions.py")


def shapley(game: Any, pieces: int) -> np.ndarray[Any, Any]:
    """The definition: the mean gain over all orders."""
    found = np.zeros(pieces)
    for order in itertools.permutations(range(pieces)):
        there = np.zeros(pieces, bool)
        for piece in order:
            before = game(there)
            there[piece] = True
            found[piece] += game(there) - before
    return found / math.factorial(pieces)


def game(mask: np.ndarray[Any, Any]) -> float:
    """Pieces that work together, against each other, alone, and not at all."""
    return float(2 * mask[0] * mask[1] - 3 * mask[2] * (1 - mask[0]) + mask[3] - mask[1] * mask[2] * mask[3])


def values(masks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([game(mask) for mask in masks])


def test_exact_values_are_those_of_the_definition() -> None:
    made = plan(5, "shap", 32)
    assert made.is_exact
    assert len({tuple(mask) for mask in made.masks}) == len(made.masks) == 32
    found, errors = made.attributions(values(made.masks))
    assert errors is None
    np.testing.assert_allclose(found, shapley(game, 5), atol=1e-12)


def test_sampled_values_add_up_and_come_near() -> None:
    made = plan(5, "shap", 31)
    assert not made.is_exact
    assert len(made.masks) <= 31
    found, _ = made.attributions(values(made.masks))
    assert found.sum() == pytest.approx(game(np.ones(5)) - game(np.zeros(5)), abs=1e-12)
    # More pieces than are ever exact: the game's five, and ten that do nothing.
    many = plan(15, "shap", 4000, seed=3)
    found, errors = many.attributions(values(many.masks))
    assert errors is not None
    expected = np.concatenate([shapley(game, 5), np.zeros(10)])
    assert (abs(found - expected) <= 4 * errors + 1e-12).all()
    assert abs(found - expected).max() < 0.15
    again, _ = plan(15, "shap", 4000, seed=3).attributions(values(many.masks))
    assert (again == found).all()


def test_occlusion_and_the_choice_of_auto() -> None:
    made = plan(5, "occlusion", 7)
    found, _ = made.attributions(values(made.masks))
    everything = np.ones(5)
    for piece in range(5):
        without = everything.copy()
        without[piece] = 0
        assert found[piece] == game(everything) - game(without)
    assert plan(50, "auto", 256).method == "shap"
    assert plan(200, "auto", 256).method == "occlusion"
    with pytest.raises(
        headrace.InvalidArgumentError, match=r"200 pieces needs at least 400 evaluations.*segments"
    ):
        plan(200, "shap", 256)
    with pytest.raises(headrace.InvalidArgumentError, match="at least 302"):
        plan(300, "auto", 256)
    with pytest.raises(headrace.InvalidArgumentError, match="must be one of"):
        plan(3, "lime", 256)
    with pytest.raises(headrace.InvalidArgumentError, match="2 or more"):
        plan(3, "shap", 1)


def test_words() -> None:
    words = Words("It's not  good, 水車!")
    assert words.names == ["It's", "not", "good", ",", "水", "車", "!"]
    assert words.without([True] * 7) == words.text
    assert words.without([True, False, True, True, True, False, True]) == "It's   good, 水!"
    assert words.without([False] * 7).strip() == ""
    assert Words("mill").without([False]) == " "
    assert Words("a b c d e", segments=2).names == ["a b c", "d e"]
    kept = Words("Maria runs the mill", keep=(11, 14))
    assert kept.names == ["Maria", "runs", "mill"]
    text, (start, end) = kept.place_without([False, True, False])
    assert text[start:end] == "the"
    with pytest.raises(headrace.InvalidArgumentError, match="no words"):
        Words(" \n")


def test_fields() -> None:
    fields = Fields({"age": 31, "country": "FR", "x": [1.0, 2.0]}, {"age": 40})
    assert fields.names == ["age", "country", "x[0]", "x[1]"]
    assert fields.values == [31, "FR", 1.0, 2.0]
    found = fields.without(np.array([False, False, True, False]))
    assert (found["age"], found["country"], found["x"].tolist()) == (40, "", [1.0, 0.0])
    spec = headrace.TensorSpec("ids", "int64", (None,), low=1, high=9)
    assert Fields({"ids": [3, 4]}, None, [spec]).without(np.zeros(2, bool))["ids"].tolist() == [1, 1]
    grid = Fields({"x": np.zeros((1, 28, 28), np.float32)}, None, segments=16)
    assert len(grid) == 16
    assert grid.names[5] == "x[7:14, 7:14]"
    assert len(Fields(list(range(300)), None)) == 64
    for item, baseline, says in (
        (3, None, "no features"),
        ({"a": None}, None, "explain numbers"),
        ({"a": 1}, {"b": 1}, "no input of the item"),
        ({"a": [1, 2]}, {"a": [1]}, "has the shape"),
    ):
        with pytest.raises(headrace.InvalidArgumentError, match=says):
            Fields(item, baseline)


@pytest.fixture(scope="module")
def classifier() -> Iterator[headrace.Model]:
    with headrace.load(headrace.toy.model("classify"), precision="f32") as model:
        yield model


def test_texts(classifier: headrace.Model) -> None:
    found = classifier.explain(TEXT, max_evaluations=128)
    [labels] = classifier.classify(TEXT)
    assert (found.target, found.value) == (labels[0].label, pytest.approx(labels[0].score, abs=1e-6))
    assert found.method == "shap"
    assert found.gap < 1e-6
    assert found.evaluations <= 128
    assert found.errors is not None
    assert [TEXT[start:end] for start, end in found.spans] == found.names
    # The other label's score is the rest to 1, so its attributions are these with another sign.
    other = classifier.explain(TEXT, target=labels[1].label, max_evaluations=128)
    np.testing.assert_allclose(other.attributions, -found.attributions, atol=1e-6)
    alone = classifier.explain(TEXT, method="occlusion")
    for i in (0, 4):
        start, end = alone.spans[i]
        scores = {one.label: one.score for one in classifier.classify(TEXT[:start] + TEXT[end:])[0]}
        assert alone.attributions[i] == pytest.approx(alone.value - scores[alone.target], abs=1e-6)
    assert asyncio.run(classifier.aexplain(TEXT, max_evaluations=128)).to_dict() == found.to_dict()
    with pytest.raises(headrace.InvalidArgumentError, match="the model's labels are"):
        classifier.explain(TEXT, target="neutral")
    with pytest.raises(headrace.InvalidArgumentError, match="takes no images"):
        classifier.explain(image=np.zeros((8, 8, 3), np.uint8))


def test_entities() -> None:
    with headrace.load(headrace.toy.model("tag")) as model:
        entities = model.tag("Maria Smith runs the mill in Paris.", aggregation="first")[0]
        found = model.explain("Maria Smith runs the mill in Paris.", entity=1)
        assert entities[1].text in found.target
        assert not set(entities[1].text.split()) & set(found.names)
        assert found.gap < 1e-6
        with pytest.raises(headrace.InvalidArgumentError, match="entities"):
            model.explain("Maria Smith runs the mill in Paris.", entity=99)


def test_pictures() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    with headrace.load(headrace.toy.vision_model(), precision="f32") as model:
        found = model.explain(image=picture, segments=4, method="shap")
        assert found.evaluations == 16
        assert found.value == pytest.approx(model.classify(images=picture)[0][0].score, abs=1e-6)
        assert found.gap < 1e-6
        assert found.picture is not None
        assert found.groups is not None
        assert found.picture.shape[:2] == found.groups.shape == (32, 32)
        assert "<svg" in found._repr_html_()
        gradients = lifecycle.explain(model, image=picture, method="integrated_gradients")
        assert gradients.gap < 0.01
        assert len(gradients.attributions) == 32 * 32
        assert gradients.value == pytest.approx(found.value, abs=1e-4)


def test_integrated_gradients_of_texts(classifier: headrace.Model) -> None:
    found = lifecycle.explain(classifier, TEXT, method="integrated_gradients")
    assert found.value == pytest.approx(classifier.classify(TEXT)[0][0].score, abs=1e-4)
    assert found.gap <= 0.01 * max(abs(found.value - found.baseline_value), 0.1)
    assert "".join(found.names) == TEXT.replace(" ", "")
    with pytest.raises(headrace.InvalidArgumentError, match="more max_evaluations"):
        lifecycle.explain(classifier, TEXT, method="integrated_gradients", max_evaluations=1)
    with pytest.raises(headrace.InvalidArgumentError, match="take shap or occlusion"):
        lifecycle.explain(headrace.toy.model("tag"), TEXT, method="integrated_gradients")


@headrace.model
def linear(batch: list[Any]) -> list[float]:
    return [2 * item["a"] - item["b"] + (3 if item["c"] == "x" else 0) for item in batch]


@headrace.model(inputs={"x": "float32[3]", "k": "int64"}, outputs={"p": "float32[2]", "label": "int64"})
def net(x: Any, k: Any) -> Any:
    score = 1 / (1 + np.exp(-(x @ np.float32([1, 2, -1]) + k)))
    return np.stack([score, 1 - score], 1), (score < 0.5).astype(np.int64)


def test_functions_and_tensors() -> None:
    with headrace.Engine() as engine:
        model = engine.add("linear", linear)
        found = model.explain({"a": 3, "b": 2.0, "c": "x"}, baseline={"a": 1})
        assert dict(zip(found.names, found.attributions, strict=True)) == {"a": 4, "b": -2, "c": 3}
        assert (found.value, found.baseline_value) == (7, 2)
        tensors = engine.add("net", net)
        one = tensors.explain({"x": [1, 2, 3], "k": 1})
        assert (one.target, one.names) == ("p[0]", ["x[0]", "x[1]", "x[2]", "k"])
        assert one.gap < 1e-6
        assert one.attributions[0] == pytest.approx(one.attributions[3])  # they do the same
        other = tensors.explain({"x": [1, 2, 3], "k": 1}, target=1)
        np.testing.assert_allclose(other.attributions, -one.attributions, atol=1e-6)
        assert asyncio.run(tensors.aexplain({"x": [1, 2, 3], "k": 1})).to_dict() == one.to_dict()
        with pytest.raises(headrace.InvalidArgumentError, match="2 numbers"):
            tensors.explain({"x": [1, 2, 3], "k": 1}, target=2)
        with pytest.raises(headrace.InvalidArgumentError, match="must be a dict"):
            tensors.explain([1, 2])


def test_how_it_shows_itself(classifier: headrace.Model, tmp_path: Path) -> None:
    found = classifier.explain("<b>good</b> water")
    assert "<b>good" not in found._repr_html_()
    assert "&lt;" in found._repr_html_()
    assert "\x1b[48;2;" in found.coloured()
    assert "\x1b" not in classifier.explain("good \x1b[31m water").coloured().replace(
        "\x1b[48;2", ""
    ).replace("\x1b[0m", "")
    assert found.top(1)[0][0] in str(found).splitlines()[1]
    found.write_html(tmp_path / "why.html")
    assert (tmp_path / "why.html").read_text().startswith("<!doctype html>")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = [str(headrace.toy.model("classify")), str(headrace.toy.vision_model())]
    names = [f"{name}={FUNCTIONS}:{name}" for name in ("weighed", "slow")]
    with Server("--queue-budget", "300", *models, *names) as running:
        yield running
        assert running.stop() == 0


def ask(server: Server, route: str, **body: Any) -> httpx2.Response:
    return httpx2.post(f"{server.url}/v1/{route}", json=body, timeout=60)


def test_over_http(server: Server, classifier: headrace.Model) -> None:
    plain = ask(server, "classify", model="toy-classify", input=["good water", TEXT], top_k=1).json()
    answer = ask(
        server, "classify", model="toy-classify", input=["good water", TEXT], top_k=1, explain=True
    ).json()
    assert [row["labels"] for row in answer["data"]] == [row["labels"] for row in plain["data"]]
    expected = classifier.explain(TEXT).to_dict()
    found = answer["data"][1]["explanation"]
    assert [piece["name"] for piece in found["pieces"]] == [piece["name"] for piece in expected["pieces"]]
    for one, other in zip(found["pieces"], expected["pieces"], strict=True):
        assert one["attribution"] == pytest.approx(other["attribution"], abs=0.02)  # the server may round
    assert (
        answer["usage"]["total_tokens"] > 50 * plain["usage"]["total_tokens"]
    )  # all evaluations are paid for
    item = {"a": 3, "b": 2.0}
    answer = ask(
        server, "predict", model="weighed", input=item, explain={"baseline": {"a": 1, "b": 0}}
    ).json()
    assert answer["output"] == 4
    assert {piece["name"]: piece["attribution"] for piece in answer["explanation"]["pieces"]} == {
        "a": 4,
        "b": -2,
    }
    assert answer["usage"] == {"items": 4}
    answer = ask(
        server, "predict", model="weighed", inputs=[item, item], explain={"method": "occlusion"}
    ).json()
    assert [row["output"] for row in answer["data"]] == [4, 4]
    assert answer["data"][1]["explanation"]["method"] == "occlusion"


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("classify", {"input": "good", "explain": {"method": "lime"}}, "explain"),
        ("classify", {"input": "good", "explain": {"max_evaluations": 100_000}}, "2048"),
        ("classify", {"input": "good", "explain": 3}, "explain"),
        ("classify", {"input": "good", "explain": {"baseline": "bad"}}, "/v1/predict"),
        ("classify", {"input": "good", "explain": {"target": "neutral"}}, "the model's labels"),
        ("classify", {"input": [["good", "bad"]], "explain": True}, "pairs"),
        (
            "classify",
            {"input": [f"{TEXT} {i}" for i in range(20)], "explain": True},
            "a request may ask for 2048",
        ),
        ("classify", {"input": "word " * 400, "explain": {"method": "shap"}}, "at least 800 evaluations"),
        ("predict", {"model": "weighed", "input": 3, "explain": True}, "no features"),
        ("predict", {"model": "weighed", "input": {"a": 1, "b": 1}, "explain": {"target": "c"}}, "target"),
        (
            "predict",
            {"model": "weighed", "input": {"a": 1, "b": 1}, "stream": True, "explain": True},
            "streamed",
        ),
    ],
)
def test_refusals(server: Server, route: str, body: dict[str, Any], says: str) -> None:
    answer = ask(server, route, **{"model": "toy-classify", **body})
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["message"]


def test_leaving_ends_the_evaluations(server: Server) -> None:
    """Each of the 256 evaluations takes 20 ms; a client that leaves after half a second stops them."""
    body = {"model": "slow", "input": {f"x{i}": 1 for i in range(60)}, "explain": True}
    with pytest.raises(httpx2.TimeoutException):
        httpx2.post(f"{server.url}/v1/predict", json=body, timeout=0.5)
    time.sleep(1)
    ran = ask(server, "predict", model="slow", input="").json()["output"]
    time.sleep(0.5)
    assert ask(server, "predict", model="slow", input="").json()["output"] == ran
    assert 0 < ran < 150


def test_clients(server: Server, classifier: headrace.Model) -> None:
    with headrace.Client(server.url) as client:
        found = client.explain("good water turns", model="toy-classify", target="positive")
        assert (found.names, found.target, found.text) == (
            ["good", "water", "turns"],
            "positive",
            "good water turns",
        )
        assert found.gap < 1e-6
        table = client.explain({"a": 3, "b": 2.0}, model="weighed")
        assert dict(zip(table.names, table.attributions, strict=True)) == {"a": 6, "b": -2}
        picture = client.explain(image=np.zeros((8, 8, 3), np.uint8), model="toy-vision", segments=4)
        assert (picture.kind, len(picture.names)) == ("image", 4)
        assert "patch" in str(picture)

    async def run() -> Any:
        async with headrace.AsyncClient(server.url) as client:
            return await client.explain("good water turns", model="toy-classify", target="positive")

    assert asyncio.run(run()).to_dict() == found.to_dict()


def test_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "headrace.cli", "explain", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    model = str(headrace.toy.model("classify"))
    found = json.loads(
        run(model, "--text", TEXT, "--target", "positive", "--json", "--html", f"{tmp_path}/a.html")
    )
    assert (found["target"], found["method"]) == ("positive", "shap")
    assert "<span" in (tmp_path / "a.html").read_text()
    assert "\x1b[48;2;" in run(model, "--text", TEXT, "--colour", "always")
    found = json.loads(run(f"{FUNCTIONS}:weighed", "--input", '{"a": 1, "b": 1}', "--json"))
    assert [piece["attribution"] for piece in found["pieces"]] == [2, -1]
