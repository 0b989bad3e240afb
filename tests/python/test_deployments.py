"""headrace.toml, the gate of golden answers, aliases and candidates on trial: in an engine and over HTTP."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from conftest import Server

import headrace
import headrace.toy
from headrace.catalogue import Catalogue
from headrace.cli import main
from headrace.manifest import read_manifest
from headrace.security.keys import Pepper, make_key

TEXTS = ["the water turns the wheel", "a mill", "\u6c34\u8f66"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Versions 1 and 2 of a model, which answer otherwise."""
    for version, seed in (("1", 1), ("2", 2)):
        headrace.toy.model("embed", tmp_path / "models" / "toy" / version, seed=seed)
    return tmp_path / "models" / "toy"


def record(model: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out.with_suffix(".txt")
    lines.write_text("\n".join(TEXTS) + "\n\n")
    assert main(["golden", str(model), "--file", str(lines), "--out", str(out)]) == 0
    assert "3 inputs" in capsys.readouterr().out


def test_a_manifest_says_task_precision_and_aliases(folder: Path) -> None:
    (folder / "headrace.toml").write_text('precision = "int8"\naliases = ["prod", "latest"]\n')
    with headrace.Engine() as engine:
        engine.add("toy", folder)
        assert engine.model("prod").info.precision == "int8"
        assert engine.model("latest") is engine.model("toy")
        assert engine.aliases() == {"prod": "toy", "latest": "toy"}
        engine.add("other", folder / "1", precision="f32")
        assert engine.model("other").info.precision == "f32"  # said by the caller
        engine.alias("prod", "other")
        assert engine.model("prod").name == "other"
        for bad, name in (("toy", "other"), ("a b", "toy"), ("x" * 200, "toy")):
            with pytest.raises(headrace.InvalidArgumentError, match="alias="):
                engine.alias(bad, name)
        with pytest.raises(headrace.ModelNotFoundError):
            engine.alias("prod", "nothing")
        with pytest.raises(headrace.InvalidArgumentError, match="alias of"):
            engine.add("prod", folder / "1")
        engine.retire("other")
        with pytest.raises(headrace.ModelNotFoundError):
            engine.model("prod")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tsak = 'embed'", "'tsak' is not known"),
        ("precision = 8", "must be a str"),
        ("aliases = 'prod'", "must be a list"),
        ("aliases = [1]", "list of names"),
        ("[gate]\nmin_cosine = 0.9", "needs golden"),
        ("[gate]\ngolden = 'g'\nmin_cosine = 2", "between 0 and 1"),
        ("[gate]\ngolden = '../../g.json'", "own folder"),
        ("[gate]\ngolden = '/etc/passwd'", "own folder"),
        ("[gate]\ngolden = 'g.json'\nspeed = 3", "'speed' is not known"),
        ("nonsense", "not TOML"),
    ],
)
def test_manifests_that_are_wrong(folder: Path, text: str, message: str) -> None:
    (folder / "headrace.toml").write_text(text)
    with pytest.raises(headrace.CorruptFileError, match=message):
        read_manifest(folder / "1")


def test_a_version_that_answers_otherwise_does_not_pass_the_gate(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(folder / "1", folder / "golden.json", capsys)
    (folder / "headrace.toml").write_text('[gate]\ngolden = "golden.json"\n')
    with headrace.Engine() as engine:
        engine.add("toy", folder / "1")
        good = engine.model("toy").embed(TEXTS)
        with pytest.raises(headrace.InvalidArgumentError, match="the gate refuses this model: the cosine"):
            engine.replace("toy", folder / "2")
        with pytest.raises(headrace.InvalidArgumentError, match="the gate"):
            engine.try_candidate("toy", folder / "2", share=0.5)
        with pytest.raises(headrace.InvalidArgumentError, match="the gate"):
            engine.add("fresh", folder / "2")
        assert [info.name for info in engine.models()] == ["toy"]
        np.testing.assert_array_equal(engine.model("toy").embed(TEXTS), good)
        engine.replace("toy", folder / "1", precision="int8")  # near enough


@pytest.mark.parametrize("task", ["classify", "tag", "generate"])
def test_gates_of_other_tasks(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if task == "generate":
        good: str | Path = "demo:smollm2"
    else:
        good = headrace.toy.model(task, tmp_path / "good")
    golden = tmp_path / "golden.json"
    record(Path(good) if task != "generate" else good, golden, capsys)  # type: ignore[arg-type]
    from headrace.golden import check
    from headrace.manifest import Gate

    with headrace.load(good, precision="f32") as model:
        check(model, Gate(golden))
        rows = json.loads(golden.read_text())
        rows["answers"][1] = "something else"
        golden.write_text(json.dumps(rows))
        with pytest.raises(headrace.InvalidArgumentError, match=r"2 of 3 golden answers.*for input 1"):
            check(model, Gate(golden))
        check(model, Gate(golden, min_agreement=0.6))
        rows["task"] = "embed"
        golden.write_text(json.dumps(rows))
        with pytest.raises(headrace.CorruptFileError, match="golden answers for embed"):
            check(model, Gate(golden))


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        '{"task": "embed", "inputs": ["a"], "answers": []}',
        '{"task": "embed", "inputs": [1], "answers": [[1]]}',
    ],
)
def test_golden_files_that_are_wrong(folder: Path, text: str) -> None:
    (folder / "golden.json").write_text(text)
    (folder / "headrace.toml").write_text('[gate]\ngolden = "golden.json"\n')
    with headrace.Engine() as engine, pytest.raises(headrace.CorruptFileError, match=r"golden.json"):
        engine.add("toy", folder / "1")


def test_a_candidate_gets_its_share(folder: Path) -> None:
    with headrace.Engine() as engine:
        engine.add("toy", folder / "1")
        for share in (0, 1, -0.1, 1.5, float("nan")):
            with pytest.raises(headrace.InvalidArgumentError, match="share="):
                engine.try_candidate("toy", folder / "2", share=share)
        candidate = engine.try_candidate("toy", folder / "2", share=0.2)
        seen = Counter(engine.model("toy").info.version for _ in range(5000))
        assert 850 <= seen["2"] <= 1150
        candidate.embed(TEXTS)
        assert {"toy", "toy@2"} == set(engine.stats()["models"])
        assert engine.stats()["models"]["toy@2"]["sequences"] == 3
        assert [info.version for info in engine.models()] == ["1"]
        engine.drop_candidate("toy")
        assert {engine.model("toy").info.version for _ in range(200)} == {"1"}
        engine.try_candidate("toy", folder / "2", share=0.01)
        assert engine.promote("toy").info.version == "2"
        assert {engine.model("toy").info.version for _ in range(200)} == {"2"}
        with pytest.raises(headrace.ModelNotFoundError, match="no candidate"):
            engine.promote("toy")


def test_over_http(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "headrace.toml").write_text('aliases = ["prod"]\n')
    shutil.move(folder / "2", tmp_path / "2")
    pepper = Pepper.find(tmp_path / "state", create=True)
    with Catalogue(f"sqlite:///{tmp_path}/state/catalogue.sqlite") as catalogue:
        text, key = make_key(pepper, "owner", ["infer:toy", "manage:toy", "metrics"])
        catalogue.add(key)
    with (
        Server(str(folder.parent), "--require-keys", "--state", str(tmp_path / "state")) as server,
        httpx2.Client(base_url=server.url, headers={"authorization": f"Bearer {text}"}, timeout=60) as http,
    ):
        shutil.move(tmp_path / "2", folder / "2")

        def embed(name: str) -> Any:
            answer = http.post("/v1/embeddings", json={"model": name, "input": TEXTS[0]})
            assert answer.status_code == 200, answer.text
            return tuple(answer.json()["data"][0]["embedding"])

        def load(status: int = 200, **parameters: Any) -> None:
            answer = http.post("/v2/repository/models/toy/load", json={"parameters": parameters})
            assert answer.status_code == status, answer.text

        first = embed("toy")
        assert embed("prod") == first  # the scope is that of the model
        assert http.get("/v1/models/prod").json()["id"] == "toy"
        load(version="2", share=0.5)
        assert len({embed("prod") for _ in range(60)}) == 2
        index = http.post("/v2/repository/index").json()
        assert [(row["version"], "on trial" in row.get("reason", "")) for row in index] == [
            ("1", False),
            ("2", True),
        ]
        assert 'model="toy@2"' in http.get("/metrics").text
        load(share=0)
        assert {embed("toy") for _ in range(60)} == {first}
        load(version="2", share=0.1)
        load(version="2")  # the rest of the requests as well
        assert http.get("/v2/models/toy").json()["versions"] == ["2"]
        assert first not in {embed("toy") for _ in range(60)}
        for share in (1, -1, True, "a", None):
            load(200 if share is None else 400, version="2", **({} if share is None else {"share": share}))
        assert server.stop() == 0
