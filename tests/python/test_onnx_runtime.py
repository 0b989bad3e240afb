"""ONNX models: what their files and headrace.toml say, batches of every shape, and files that are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Server
from onnx import TensorProto, helper, numpy_helper
from onnx_models import linear, masked_mean, port, save

import headrace
from headrace.predict.onnx_file import read_onnx

PADDED = """\
runtime = "onnx"
[inputs.ids]
high = 999
pad = 0
[inputs.mask]
mask_of = "ids"
[outputs.doubled]
cut_to = "ids"
[outputs.mean]
"""


def test_a_lone_file_is_a_model(tmp_path: Path) -> None:
    path, w, b = linear(tmp_path / "small.onnx")
    x = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)
    with headrace.load(path) as model:
        assert (model.name, model.info.task, model.info.architecture) == ("small", "predict", "onnx")
        assert [str(spec) for spec in (*model.info.inputs, *model.info.outputs)] == [
            "float32[3]",
            "float32[2]",
        ]
        assert np.abs(model.predict(x=x)["y"] - (x @ w + b)).max() < 1e-6
        assert np.abs(model.predict({"x": x[0]})["y"] - (x[0] @ w + b)).max() < 1e-6


def test_a_folder_with_such_a_file_and_one_of_versions(tmp_path: Path) -> None:
    linear(tmp_path / "models" / "one" / "model.onnx")
    linear(tmp_path / "models" / "two" / "1" / "model.onnx")
    _, w, b = linear(tmp_path / "models" / "two" / "2" / "model.onnx", seed=2)
    with headrace.Engine() as engine:
        assert engine.add("one", tmp_path / "models" / "one").info.outputs[0].name == "y"
        two = engine.add("two", tmp_path / "models" / "two")
        assert two.info.version == "2"
        assert np.allclose(two.predict(x=np.ones((1, 3)))["y"], np.ones((1, 3)) @ w + b, atol=1e-6)


def test_versions_share_the_manifest_above_them(tmp_path: Path) -> None:
    for version in (1, 2):
        _, w, b = linear(tmp_path / "net" / str(version) / "model.onnx", seed=version)
    (tmp_path / "net" / "headrace.toml").write_text('runtime = "onnx"\n[inputs.x]\nhigh = 1\n')
    with headrace.Engine() as engine:
        model = engine.add("net", tmp_path / "net")
        assert model.info.version == "2"
        assert np.allclose(model.predict(x=np.ones((1, 3)))["y"], np.ones((1, 3)) @ w + b, atol=1e-6)
        with pytest.raises(headrace.InvalidArgumentError, match="between any and 1"):
            model.predict(x=[[2, 2, 2]])
        assert engine.replace("net", tmp_path / "net" / "1").info.version == "1"


def test_what_is_no_input_is_refused_before_the_model_sees_it(tmp_path: Path) -> None:
    linear(tmp_path / "model.onnx")
    (tmp_path / "headrace.toml").write_text('runtime = "onnx"\n[inputs.x]\nlow = -1\nhigh = 1\n')
    with headrace.load(tmp_path) as model:
        for given, message in (
            ([[1, 2, 3]], "must lie between -1 and 1"),
            ([[0, float("nan"), 0]], "takes no NaN"),
            ([[0, 0]], r"must be \[n, 3\]"),
            ([["a", "b", "c"]], "expected float32"),
        ):
            with pytest.raises(headrace.InvalidArgumentError, match=message):
                model.predict(x=given)
        with pytest.raises(headrace.InvalidArgumentError, match="no input 'z'"):
            model.predict(z=[[0, 0, 0]])


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_split_and_filled_up(tmp_path: Path, batch: int) -> None:
    path, w, b = linear(tmp_path / "fixed.onnx", batch=batch)
    x = np.random.default_rng(1).normal(size=(11, 3)).astype(np.float32)
    with headrace.load(path) as model:
        for count in (1, 3, 4, 11):
            assert np.abs(model.predict(x=x[:count])["y"] - (x[:count] @ w + b)).max() < 1e-6


def test_shorter_items_are_padded_and_the_mask_is_made(tmp_path: Path) -> None:
    masked_mean(tmp_path / "model.onnx")
    (tmp_path / "headrace.toml").write_text(PADDED)
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 1000, size=size).tolist() for size in rng.integers(1, 40, size=64)]
    with headrace.Engine() as engine:
        model = engine.add("mean", tmp_path)
        assert [spec.name for spec in model.info.outputs] == ["doubled", "mean"]
        found = model.predict_many([{"ids": row} for row in rows])
        assert np.allclose([item["mean"] for item in found], [np.mean(row) for row in rows])
        given = model.predict(ids=[[1, 2], [3, 4]], mask=[[1, 0], [1, 1]])
        assert given["mean"].tolist() == [1.0, 3.5]
        assert given["doubled"].tolist() == [[2, 4], [6, 8]]

        async def apart() -> list[Any]:
            return await asyncio.gather(*(model.apredict({"ids": row}) for row in rows))

        for row, item in zip(rows, asyncio.run(apart()), strict=True):
            assert item["mean"] == pytest.approx(np.mean(row))
            assert item["doubled"].tolist() == [2 * value for value in row]  # without its neighbours' padding
        metrics = engine.stats()["models"]["mean"]
        assert metrics["batches"] < len(rows) + 2  # they did run together
        with pytest.raises(headrace.InvalidArgumentError, match="between any and 999"):
            model.predict_many([{"ids": [1]}, {"ids": [1000, 1]}])
        with pytest.raises(headrace.InvalidArgumentError, match="each item must have 1 axes"):
            model.predict_many([{"ids": [1]}, {"ids": [[1]]}])


def test_without_padding_items_of_different_sizes_run_apart(tmp_path: Path) -> None:
    path = masked_mean(tmp_path / "mean.onnx")
    with headrace.load(path) as model:

        async def both() -> list[Any]:
            items = [{"ids": [1] * size, "mask": [1] * size} for size in (2, 3, 2)]
            return await asyncio.gather(*(model.apredict(item) for item in items))

        assert [len(item["doubled"]) for item in asyncio.run(both())] == [2, 3, 2]
        with pytest.raises(headrace.InvalidArgumentError, match="different lengths"):
            model.predict_many([{"ids": [1], "mask": [1]}, {"ids": [1, 2], "mask": [1, 2]}])


def test_several_runners_and_worker_processes(tmp_path: Path) -> None:
    _, w, b = linear(tmp_path / "model.onnx")
    x = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    for options in ("concurrency = 2", "workers = 1"):
        (tmp_path / "headrace.toml").write_text(f'runtime = "onnx"\n[batch]\nmax_batch = 8\n{options}\n')
        with headrace.load(tmp_path) as model:
            assert np.abs(model.predict(x=x)["y"] - (x @ w + b)).max() < 1e-6


def test_texts_are_tensors_too(tmp_path: Path) -> None:
    path = save(
        tmp_path / "echo.onnx",
        [helper.make_node("Identity", ["text"], ["same"])],
        [port("text", TensorProto.STRING, ["n", 1])],
        [port("same", TensorProto.STRING, ["n", 1])],
    )
    with headrace.load(path) as model:
        assert model.predict(text=[["mill"], ["Mühle"]])["same"].tolist() == [["mill"], ["Mühle"]]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[inputs.z]\nhigh = 1", "names 'z' among the inputs"),
        ("[outputs.z]\nhigh = 1", "names 'z' among the outputs"),
        ('[inputs.x]\ndtype = "int64"', "says int64 of 'x'; the file says float32"),
        ("[inputs.x]\nshape = [4]", r"says float32\[4\] of 'x'; the file says float32\[3\]"),
        ("[inputs.x]\npad = 0", "is for numbers with a size that may differ"),
        ("[inputs.x]\nwidth = 1", "must be a dtype"),
        ('model = "../model.onnx"', "must be a file of this folder"),
        ('model = "other.onnx"', "there is no such file"),
    ],
)
def test_a_manifest_that_contradicts_its_file(tmp_path: Path, toml: str, message: str) -> None:
    linear(tmp_path / "model.onnx")
    (tmp_path / "headrace.toml").write_text(f'runtime = "onnx"\n{toml}\n')
    with pytest.raises(headrace.Error, match=message):
        headrace.load(tmp_path)


def test_data_files_lie_in_the_models_own_folder(tmp_path: Path) -> None:
    path, w, b = linear(tmp_path / "model" / "model.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.data", size_threshold=0)
    with headrace.load(path.parent) as loaded:
        assert np.allclose(loaded.predict(x=np.ones((1, 3)))["y"], np.ones((1, 3)) @ w + b, atol=1e-6)
    weights = path.parent / "weights.data"
    outside = tmp_path / "outside.data"
    weights.rename(outside)
    with pytest.raises(headrace.CorruptFileError, match="which is missing"):
        headrace.load(path.parent)
    weights.symlink_to(outside)
    with pytest.raises(headrace.CorruptFileError, match="must be a file of the model's own folder"):
        headrace.load(path.parent)


def test_operators_of_other_libraries_are_not_run_but_functions_of_the_file_are(tmp_path: Path) -> None:
    ports = [port("x", TensorProto.FLOAT, ["n", 3])], [port("y", TensorProto.FLOAT, ["n", 3])]
    node = helper.make_node("Twice", ["x"], ["y"], domain="our.own")
    path = save(tmp_path / "m.onnx", [node], *ports, domains=(("", 17), ("our.own", 1)))
    with pytest.raises(headrace.UnsupportedError, match="such libraries are never loaded"):
        headrace.load(path)
    function = helper.make_function(
        "our.own",
        "Twice",
        ["a"],
        ["c"],
        [helper.make_node("Add", ["a", "a"], ["c"])],
        [helper.make_opsetid("", 17)],
    )
    model = onnx.load(path)
    model.functions.append(function)
    onnx.save(model, path)
    with headrace.load(path) as loaded:
        assert loaded.predict(x=[[1, 2, 3]])["y"].tolist() == [[2, 4, 6]]


def test_the_checks_know_every_way_that_numbers_are_kept(tmp_path: Path) -> None:
    tensors = [
        numpy_helper.from_array(np.ones((2, 3), dtype=dtype), dtype)
        for dtype in ("float32", "float64", "int8", "uint16", "int64", "float16", "bool")
    ]
    tensors += [
        helper.make_tensor(f"listed{kind}", kind, [2, 2], [1, 2, 3, 4])
        for kind in (
            TensorProto.FLOAT,
            TensorProto.INT64,
            TensorProto.DOUBLE,
            TensorProto.FLOAT16,
            TensorProto.UINT8,
        )
    ]
    tensors.append(helper.make_tensor("texts", TensorProto.STRING, [2], [b"a", b"b"]))
    tensors.append(helper.make_tensor("halves", TensorProto.INT4, [3], [1, 2, 3]))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [port("x", TensorProto.FLOAT, [None, 1])],
        [port("y", TensorProto.FLOAT, [None, 1])],
        tensors,
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    found = read_onnx(tmp_path / "m.onnx", tmp_path)
    assert found.parameters == 7 * 6 + 5 * 4 + 2 + 3


def test_it_is_served(tmp_path: Path) -> None:
    path, w, b = linear(tmp_path / "small.onnx")
    import httpx2

    with Server(str(path)) as server:
        body = {"model": "small", "input": {"x": [1, 2, 3]}}
        answer = httpx2.post(f"{server.url}/v1/predict", json=body)
        assert answer.status_code == 200, answer.text
        expected = np.array([1, 2, 3], dtype=np.float32) @ w + b
        assert np.allclose(answer.json()["output"]["y"], expected, atol=1e-6)
        assert server.stop() == 0
