"""`headrace package`: models of torch, scikit-learn, Keras and ONNX become folders that answer as they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from onnx_models import linear
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from torch import nn

import headrace
from headrace.cli import main
from headrace.manifest import read_manifest


class Net(nn.Module):
    """Two inputs and two outputs, with dropout, which must be off."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 8), nn.Linear(3, 8)
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(8, 2)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.drop(torch.relu(self.a(left) + self.b(right)))
        return self.out(hidden), hidden.sum(dim=1)


class Words(nn.Module):
    """The mean of embeddings, of those that a mask keeps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.out = nn.Embedding(50, 8), nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = mask.to(torch.float32)[:, :, None]
        return self.out((self.table(ids) * weights).sum(1) / weights.sum(1))


def pair(rows: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=(rows, size)).astype(np.float32) for name, size in (("left", 4), ("right", 3))
    }


@pytest.fixture(scope="module")
def net_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = Net()
    made = headrace.package(
        net,
        tmp_path_factory.mktemp("packaged") / "net",
        example_inputs=pair(5),
        outputs=["logits", "total"],
        inputs={"left": {"low": -100, "high": 100}},
        labels=["no", "yes"],
        licence="MIT",
        batch={"max_batch": 64},
    )
    assert net.training  # as it was
    assert (made.runtime, made.notes) == ("onnx", ())
    assert made.max_difference < 1e-5
    return made.directory


def test_a_torch_module_becomes_data(net_folder: Path) -> None:
    names = {"README.md", "SHA256SUMS", "golden.json", "headrace.toml", "model.onnx"}
    assert {path.name for path in net_folder.iterdir()} == names
    assert (
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=net_folder, check=False).returncode
        == 0
    )
    manifest = read_manifest(net_folder)
    assert not manifest.trusted
    assert (manifest.licence, manifest.gate and manifest.gate.max_difference) == ("MIT", 1e-5)
    card = (net_folder / "README.md").read_text()
    assert "input `left`" in card
    assert "licence: MIT" in card
    net, given = Net().eval(), pair(40)
    with torch.no_grad():
        logits, total = net(*(torch.from_numpy(array) for array in given.values()))
    with headrace.load(net_folder) as model:
        assert model.info.labels == ("no", "yes")
        assert [str(spec) for spec in model.info.inputs] == ["float32[4]", "float32[3]"]
        found = model.predict(**given)
        assert np.abs(found["logits"] - logits.numpy()).max() < 1e-5
        assert np.abs(found["total"] - total.numpy()).max() < 1e-5
        with pytest.raises(headrace.InvalidArgumentError, match="between -100 and 100"):
            model.predict({"left": [101, 0, 0, 0], "right": [0, 0, 0]})


def test_a_changed_file_is_refused_and_so_are_other_answers(net_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "net"
    shutil.copytree(net_folder, folder)
    golden = json.loads((folder / "golden.json").read_text())
    golden["answers"][1]["total"] += 0.5
    (folder / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(headrace.CorruptFileError, match=r"golden\.json is not the file that was packaged"):
        headrace.load(folder)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(headrace.InvalidArgumentError, match="its answer to input 1 differs"):
        headrace.load(folder)


def test_a_torch_program_runs_in_a_worker_and_must_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    net, given = Net(), pair(6)
    made = headrace.package(net, tmp_path / "net", example_inputs=given, runtime="torch")
    assert made.runtime == "torch"
    toml = tmp_path / "net" / "headrace.toml"
    with torch.no_grad():
        expected = net.eval()(*(torch.from_numpy(array) for array in given.values()))[0].numpy()
    with headrace.Engine() as engine:
        model = engine.add("net", tmp_path / "net")
        assert model.info.architecture == "torch"
        assert np.abs(model.predict(**given)["output_0"] - expected).max() < 1e-5
        assert model._calls is not None
        worker: Any = model._calls._targets[0]
        first = worker.pid
        os.kill(first, signal.SIGKILL)
        assert np.abs(model.predict(**given)["output_0"] - expected).max() < 1e-5  # by the next one
        assert worker.pid != first
    toml.write_text(toml.read_text().replace("trusted = true", "trusted = false"))
    with pytest.raises(headrace.UnsupportedError, match="trusted = true") as refused:
        headrace.load(tmp_path / "net")
    assert refused.value.code == "not_trusted"


def test_torchscript_is_run_as_its_manifest_says(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).eval()
    x = torch.randn(5, 3)
    with pytest.warns(DeprecationWarning, match=r"torch\.jit\.trace"):
        torch.jit.trace(module, x).save(str(tmp_path / "model.pt"))
    said = 'runtime = "torch"\ntrusted = true\n[inputs]\nx = "float32[3]"\n[outputs]\ny = "float32[2]"\n'
    for batch in ("", "[batch]\nworkers = 0\n"):
        (tmp_path / "headrace.toml").write_text(said + batch)
        with headrace.load(tmp_path) as model:
            assert np.abs(model.predict(x=x.numpy())["y"] - module(x).detach().numpy()).max() < 1e-6


def test_padded_sequences(tmp_path: Path) -> None:
    words = Words().eval()
    rng = np.random.default_rng(0)
    examples = {"ids": rng.integers(1, 50, size=(4, 7)), "mask": np.ones((4, 7), dtype=np.int64)}
    inputs = {
        "ids": {"shape": ["?"], "low": 0, "high": 49, "pad": 0},
        "mask": {"shape": ["?"], "low": 0, "high": 1, "mask_of": "ids"},
    }
    made = headrace.package(
        words, tmp_path / "words", example_inputs=examples, inputs=inputs, outputs=["logits"]
    )
    rows = [rng.integers(1, 50, size=size) for size in rng.integers(1, 30, size=20)]
    with headrace.load(made.directory) as model:
        found = model.predict_many([{"ids": row} for row in rows])
    for row, item in zip(rows, found, strict=True):
        ids = torch.from_numpy(row)[None]
        with torch.no_grad():
            alone = words(ids, torch.ones_like(ids))[0].numpy()
        assert np.abs(item["logits"] - alone).max() < 1e-5


def test_a_sklearn_pipeline_becomes_data(tmp_path: Path) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    made = headrace.package(pipeline, tmp_path / "cancer", example_inputs=x[:40])
    assert made.runtime == "onnx"
    with headrace.load(made.directory) as model:
        assert model.info.labels == ("0", "1")
        found = model.predict(x=x)
    rows = x.astype(np.float32)
    assert np.array_equal(found["label"], pipeline.predict(rows))
    assert np.abs(found["probabilities"] - pipeline.predict_proba(rows)).max() < 1e-5


def test_columns_of_a_table_are_inputs_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"age": rng.normal(40, 10, size=60), "city": rng.choice(["Ulm", "Köln", "Rom"], size=60)}
    )
    target = np.where(table["age"] > 40, "old", "young")
    columns = ColumnTransformer([("n", StandardScaler(), ["age"]), ("c", OneHotEncoder(), ["city"])])
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, target)
    made = headrace.package(pipeline, tmp_path / "table", example_inputs=table)
    assert made.runtime == "onnx"
    with headrace.load(made.directory) as model:
        found = model.predict({"age": 70, "city": "Rom"})
        assert found["label"] == "old"
        expected = pipeline.predict_proba(pd.DataFrame({"age": [70.0], "city": ["Rom"]}))[0]
        assert np.abs(found["probabilities"] - expected).max() < 1e-5


@pytest.mark.parametrize("kind", ["regression", "transformation"])
def test_what_is_no_classifier(tmp_path: Path, kind: str) -> None:
    x, y = load_diabetes(return_X_y=True)
    regression = kind == "regression"
    estimator = Ridge().fit(x, y) if regression else PCA(3, random_state=0).fit(x)
    made = headrace.package(
        estimator, tmp_path / kind, example_inputs=x[:20], inputs={"x": {"nan": "refuse"}}
    )
    with headrace.load(made.directory) as model:
        found = model.predict(x=x[:5])["value" if regression else "vector"]
    expected = estimator.predict(x[:5]) if regression else estimator.transform(x[:5])
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_what_has_no_way_to_data_runs_as_itself(tmp_path: Path) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression()).fit(x, y)
    made = headrace.package(pipeline, tmp_path / "logs", example_inputs=x[:10])
    assert made.runtime == "sklearn"
    assert len(made.notes) == 1
    assert made.notes[0].startswith("not onnx: skl2onnx")
    with headrace.load(made.directory) as model:
        rows = x[:50].astype(np.float32)
        assert np.abs(model.predict(x=rows)["probabilities"] - pipeline.predict_proba(rows)).max() < 1e-5


def test_an_onnx_file(tmp_path: Path) -> None:
    path, w, b = linear(tmp_path / "given.onnx")
    made = headrace.package(
        path, tmp_path / "linear", example_inputs={"x": np.ones((3, 3), dtype=np.float32)}
    )
    with headrace.load(made.directory) as model:
        assert np.allclose(model.predict(x=np.ones((1, 3)))["y"], np.ones((1, 3)) @ w + b, atol=1e-6)


class Random(nn.Module):
    """Never answers twice alike."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


def test_a_folder_is_only_made_where_the_answers_agree(tmp_path: Path) -> None:
    with pytest.raises(headrace.UnsupportedError, match="differ from the framework's by") as refused:
        headrace.package(Random(), tmp_path / "random", example_inputs=np.ones((2, 3), dtype=np.float32))
    assert "not onnx" in str(refused.value)
    assert "not torch" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"example_inputs": {}}, "rows of each input"),
        ({"example_inputs": {"x": [[1.0], [2.0, 3.0]]}}, "differ in length"),
        ({"example_inputs": np.ones((2, 3), np.float32), "inputs": {"y": {"low": 0}}}, "the examples have"),
        ({"example_inputs": np.ones((2, 3), np.float32), "inputs": {"input": "float32[4]"}}, "is said to be"),
        ({"example_inputs": np.ones((2, 3), np.float32), "runtime": "sklearn"}, "can become onnx, torch"),
        ({"example_inputs": np.ones((2, 3), np.float32), "tolerance": 0}, "must be above 0"),
        ({"example_inputs": np.ones((2, 3), np.float32), "batch": {"max_batch": 0}}, "max_batch"),
    ],
)
def test_what_is_asked_wrongly(tmp_path: Path, arguments: Any, message: str) -> None:
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        headrace.package(nn.Linear(3, 2), tmp_path / "linear", **arguments)


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(headrace.InvalidArgumentError, match="is there already"):
        headrace.package(nn.Linear(3, 2), tmp_path, example_inputs=np.ones((2, 3), np.float32))
    with pytest.raises(headrace.UnsupportedError, match="known are"):
        headrace.package(object(), tmp_path / "new", example_inputs=np.ones((2, 3), np.float32))


SCRIPT = """\
from sklearn.linear_model import LogisticRegression

def made():
    return LogisticRegression().fit([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0]], ["no", "yes", "no", "yes"])
"""


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.py").write_text(SCRIPT)
    (tmp_path / "rows.json").write_text(json.dumps({"x": [[0.0, 3.0], [3.0, 0.0]]}))
    command = [
        "package",
        f"{tmp_path}/small.py:made",
        "--example",
        f"{tmp_path}/rows.json",
        "--range",
        "x=0:10",
    ]
    assert main([*command, "-o", f"{tmp_path}/small"]) == 0
    assert "runs in onnx; its answers differ" in capsys.readouterr().out
    assert main([*command, "-o", f"{tmp_path}/other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runtime"] == "onnx"
    with headrace.load(tmp_path / "small") as model:
        assert model.predict({"x": [5, 0]})["label"] == "yes"
        assert (model.info.inputs[0].low, model.info.inputs[0].high) == (0, 10)
    import joblib

    joblib.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), tmp_path / "lr.joblib")
    (tmp_path / "one.json").write_text(json.dumps({"x": [[0.0], [3.0]]}))
    command = [
        "package",
        f"{tmp_path}/lr.joblib",
        "--example",
        f"{tmp_path}/one.json",
        "-o",
        f"{tmp_path}/lr",
    ]
    assert main(command) == 2
    assert "say --trust" in capsys.readouterr().err
    assert main([*command, "--trust"]) == 0


KERAS = """\
import sys
import numpy as np
import keras
import headrace
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((6,), name="x"), keras.layers.Dense(8, activation="relu"),
                          keras.layers.Dropout(0.5), keras.layers.Dense(3, activation="softmax")])
x = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
made = headrace.package(model, sys.argv[1], example_inputs=x[:4], outputs=["probabilities"])
with headrace.load(made.directory) as served:
    print(made.runtime, np.abs(served.predict(x=x)["probabilities"] - np.asarray(model(x).detach())).max() < 1e-5)
"""


def test_a_keras_model(tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text(KERAS)
    command = [sys.executable, str(tmp_path / "make.py"), str(tmp_path / "keras")]
    done = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": "torch"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["onnx", "True"]
