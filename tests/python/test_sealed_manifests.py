"""headrace.toml and golden answers that are sealed with their model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import headrace
import headrace.toy
from headrace.golden import record
from headrace.manifest import read_manifest
from headrace.security.seal_keys import LocalKey, new_key
from headrace.security.sealing import seal

TEXTS = ["the water turns the wheel", "a mill"]


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalKey:
    monkeypatch.setenv("HEADRACE_SEAL_KEY_FILE", str(tmp_path / "seal.key"))
    return new_key(tmp_path / "seal.key")


def sealed(
    tmp_path: Path, key: LocalKey, text: str, *, golden_of: int | None = None, version: str = ""
) -> Path:
    plain = headrace.toy.model("embed", tmp_path / "plain" / version, seed=1)
    (plain / "headrace.toml").write_text(text)
    if golden_of is not None:
        with headrace.load(headrace.toy.model("embed", seed=golden_of), precision="f32") as model:
            record(model, TEXTS, plain / "golden.json")
    out = tmp_path / "sealed" / version
    out.parent.mkdir(exist_ok=True)
    seal(plain, out, key)
    assert not (out / "headrace.toml").exists()
    return out


def test_a_sealed_model_reads_its_own(tmp_path: Path, key: LocalKey) -> None:
    folder = sealed(tmp_path, key, 'precision = "int8"\naliases = ["prod"]\npinned = true\n')
    with headrace.Engine(memory_budget=1 << 20) as engine:
        engine.add("toy", folder)
        assert engine.model("prod").info.precision == "int8"
        assert engine.residences()[0].pinned
        # What lies open beside it is not what was sealed.
        (folder / "headrace.toml").write_text('precision = "bf16"\n')
        assert read_manifest(folder).precision == "int8"


@pytest.mark.parametrize("golden_of", [1, 2])
def test_its_gate_is_sealed_too(tmp_path: Path, key: LocalKey, golden_of: int) -> None:
    folder = sealed(tmp_path, key, '[gate]\ngolden = "golden.json"\n', golden_of=golden_of)
    assert not (folder / "golden.json").exists()
    with headrace.Engine() as engine:
        if golden_of == 1:
            assert engine.add("toy", folder).embed(TEXTS).shape == (2, 32)
            return
        with pytest.raises(headrace.InvalidArgumentError, match="the gate refuses this model"):
            engine.add("toy", folder)


def test_what_is_wrong_in_it(tmp_path: Path, key: LocalKey) -> None:
    with pytest.raises(headrace.CorruptFileError, match=r"golden\.json was not sealed with the model"):
        read_manifest(sealed(tmp_path, key, '[gate]\ngolden = "golden.json"\n', version="1"))
    with pytest.raises(headrace.CorruptFileError, match="'speed' is not known"):
        read_manifest(sealed(tmp_path, key, "speed = 3\n", version="2"))


def test_above_versions_it_may_lie_open(tmp_path: Path, key: LocalKey) -> None:
    plain = headrace.toy.model("embed", tmp_path / "plain")
    (tmp_path / "sealed").mkdir()
    seal(plain, tmp_path / "sealed" / "1", key)
    (tmp_path / "sealed" / "headrace.toml").write_text('precision = "int8"\n')
    with headrace.Engine() as engine:
        assert engine.add("toy", tmp_path / "sealed").info.precision == "int8"


def test_under_a_budget_it_comes_and_goes(tmp_path: Path, key: LocalKey) -> None:
    folder = sealed(tmp_path, key, 'precision = "f32"\n')
    with headrace.Engine(memory_budget=200_000) as engine:
        for name in ("a", "b"):
            engine.register(name, folder)
        for name in ("a", "b", "a"):
            assert engine.model(name).embed(TEXTS).shape == (2, 32)
        end = time.monotonic() + 5
        while engine.memory_used > 200_000:
            assert time.monotonic() < end
        assert [row.loads for row in engine.residences()] == [2, 1]
