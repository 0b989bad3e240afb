"""torch.export programs: what is checked before they run, and compiled for this machine, kept, and read again."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import headrace
from headrace.predict import compiled, exported
from headrace.predict.torch import TorchProgram

D = torch.export.Dim


class Words(nn.Module):
    """Ids of any number to three logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.out = nn.Embedding(50, 16), nn.Linear(16, 3)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        weights = mask.to(torch.float32)[:, :, None]
        return {"logits": self.out((self.table(ids) * weights).sum(1) / weights.sum(1))}


def items(rows: int, size: int = 6, seed: int = 0) -> dict[str, Any]:
    ids = np.random.default_rng(seed).integers(0, 50, (rows, size))
    return {"ids": ids, "mask": np.ones((rows, size), dtype=np.int64)}


def expected(given: dict[str, Any]) -> Any:
    with torch.no_grad():
        return Words().eval()(*(torch.from_numpy(array) for array in given.values()))["logits"].numpy()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packaged(folder: Path, more: str = "") -> Path:
    sizes = {"ids": "int64[?]", "mask": "int64[?]"}
    headrace.package(Words(), folder, example_inputs=items(4), inputs=sizes, runtime="torch")
    toml = folder / "headrace.toml"
    toml.write_text(more + toml.read_text())
    return folder


def exported_program(path: Path, module: nn.Module, examples: tuple[Any, ...], shapes: Any) -> str:
    torch.export.save(torch.export.export(module.eval(), examples, dynamic_shapes=shapes), path)
    return os.fspath(path)


def test_compiled_beside_serving_and_kept(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One compilation takes most of this test's time; everything that needs a compiled program is in it."""
    folder = packaged(tmp_path / "words")
    with headrace.Engine() as engine:
        model = engine.add("words", folder)
        began = time.monotonic()
        while not (kept := list(cache.glob("compiled/*.pt2"))):
            for rows in (1, 5):
                given = items(rows)
                assert np.abs(model.predict(**given)["logits"] - expected(given)).max() < 1e-5
            assert time.monotonic() - began < 400
            time.sleep(0.2)
    [path] = kept
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {each.suffix for each in path.parent.iterdir()} == {".pt2", ".lock"}  # nothing else is left

    # Another start finds it, in a worker; an id beyond the table, which would end the process, is an error there, also
    # where headrace.toml does not say its range.
    manifest = folder / "headrace.toml"
    said = manifest.read_text().splitlines()
    assert {"low = 0", "high = 49"} <= set(said)
    manifest.write_text("\n".join(line for line in said if line not in ("low = 0", "high = 49")))
    with headrace.Engine() as engine:
        model = engine.add("words", folder)
        assert model._calls is not None
        worker: Any = model._calls._targets[0]
        first = worker.pid
        bad = items(3)
        bad["ids"][1, 2] = 50
        with pytest.raises(
            headrace.InvalidArgumentError, match="ids: holds 0 to 50: must lie between 0 and 49"
        ):
            model.predict(**bad)
        given = items(9, size=11)
        assert np.abs(model.predict(**given)["logits"] - expected(given)).max() < 1e-5
        assert worker.pid == first

    program = os.fspath(folder / "model.pt2")
    said = [["ids", "int64", [None]], ["mask", "int64", [None]]]
    threads = os.cpu_count() or 1
    made = TorchProgram(program, said, ["logits"], threads, "background")
    assert made.compiled
    for rows, size in ((1, 1), (2, 3), (17, 40)):
        given = items(rows, size)
        assert np.abs(made(**given)["logits"] - expected(given)).max() < 1e-5
    backwards = {name: array[:, ::-1] for name, array in items(4).items()}  # in memory the other way round
    assert (
        np.abs(made(**backwards)["logits"] - expected({n: a.copy() for n, a in backwards.items()})).max()
        < 1e-5
    )
    with pytest.raises(RuntimeError, match="unmatched dtype"):  # torch's own check, behind ours
        made._run(*(torch.from_numpy(array.astype(np.int32)) for array in items(2).values()))

    # Compared with a program of other weights it would not have been taken.
    other = Words()
    nn.init.ones_(other.out.weight)
    shapes = ({0: D.DYNAMIC, 1: D.DYNAMIC},) * 2
    examples = tuple(torch.from_numpy(array) for array in items(4).values())
    of_others = torch.export.load(exported_program(tmp_path / "other.pt2", other, examples, shapes))
    assert compiled._difference(torch.export.load(program), path) < 1e-5
    assert compiled._difference(of_others, path) > 0.01

    # A file that is not what was written is not run.
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING), pytest.MonkeyPatch.context() as patched:
        patched.setenv("CXX", str(tmp_path / "no-compiler"))
        made = TorchProgram(program, said, ["logits"], threads, "before")
    assert not made.compiled
    assert not path.exists()
    assert "its bytes are not those that were written" in caplog.text
    assert "there is no C++ compiler" in caplog.text
    assert np.abs(made(**items(3))["logits"] - expected(items(3))).max() < 1e-5


def test_what_could_not_be_compiled_is_not_tried_at_each_start(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = packaged(tmp_path / "words", 'compile = "before"\n')
    key = compiled.key_of(folder / "model.pt2", 1)
    (compiled.cache_folder() / f"{key}.refused").write_text("its answers differ by 3.0e-01 of max(1, value)")
    with caplog.at_level(logging.WARNING), headrace.Engine(threads=1) as engine:
        (folder / "headrace.toml").write_text(
            (folder / "headrace.toml").read_text() + "\n[batch]\nworkers = 0\n"
        )
        model = engine.add("words", folder)
        assert np.abs(model.predict(**items(2))["logits"] - expected(items(2))).max() < 1e-5
    assert "its answers differ by 3.0e-01" in caplog.text
    assert f"delete {cache}/compiled/{key}.refused" in caplog.text


def test_the_name_is_of_all_that_it_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(b"one")
    first = compiled.key_of(path, 2)
    assert compiled.key_of(path, 2) == first
    found = {first, compiled.key_of(path, 1)}
    with monkeypatch.context() as patched:
        patched.setattr(compiled, "_processor", lambda: "x86_64 another")
        found.add(compiled.key_of(path, 2))
    with monkeypatch.context() as patched:
        patched.setattr(torch, "__version__", "2.99.0")
        found.add(compiled.key_of(path, 2))
    path.write_bytes(b"two")
    found.add(compiled.key_of(path, 2))
    assert len(found) == 5
    assert "avx" in compiled._processor() or "asimd" in compiled._processor()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_a_folder_that_others_can_write_to_is_refused(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    (cache / "compiled").mkdir(parents=True, mode=0o700)
    for place in (cache / "compiled", cache):
        place.chmod(mode)
        with pytest.raises(headrace.UnsupportedError, match="another user can write to it"):
            compiled.cache_folder()
        place.chmod(0o700)
    assert compiled.cache_folder() == cache / "compiled"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
def test_a_folder_of_another_user_is_refused_and_the_program_serves(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (cache / "compiled").mkdir(parents=True, mode=0o700)
    os.chown(cache / "compiled", 12345, 12345)
    path = exported_program(tmp_path / "m.pt2", nn.Linear(3, 2), (torch.ones(4, 3),), ({0: D.DYNAMIC},))
    with caplog.at_level(logging.WARNING):
        made = TorchProgram(path, [["x", "float32", [3]]], ["y"], 1, "before")
    assert not made.compiled
    assert "runs as exported" in caplog.text
    assert made(x=np.ones((2, 3), np.float32))[0].shape == (2, 2)


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_a_fixed_batch_is_split_and_filled_up(tmp_path: Path, rows: int) -> None:
    net = nn.Linear(3, 2).eval()
    path = exported_program(tmp_path / "m.pt2", net, (torch.ones(3, 3),), None)
    made = TorchProgram(path, [["x", "float32", [3]]], ["y"], 1)
    x = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
    [found] = made(x=x)
    np.testing.assert_allclose(found, net(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


def test_a_declared_range_is_held(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x.sum(1) + y.sum(1)

    size = D("size", min=4, max=8)
    shapes = ({0: D("n", max=5), 1: size}, {0: D("n", max=5), 1: size})
    path = exported_program(tmp_path / "m.pt2", Sum(), (torch.ones(3, 6), torch.ones(3, 6)), shapes)
    made = TorchProgram(path, [["x", "float32", [None]], ["y", "float32", [None]]], ["z"], 1)

    def ones(rows: int, *sizes: int) -> dict[str, Any]:
        return {name: np.ones((rows, size), np.float32) for name, size in zip("xy", sizes, strict=True)}

    assert made(**ones(12, 4, 4))[0].tolist() == [8.0] * 12  # in batches of at most five
    for sizes, message in (
        ((9, 9), "x: axis 1 has the size 9: the program was exported for 4 to 8"),
        ((3, 3), "the size 3"),
        ((5, 6), "y: axis 1 has the size 6, and x's is 5: they must be the same"),
    ):
        with pytest.raises(headrace.InvalidArgumentError, match=message):
            made(**ones(2, *sizes))
    with pytest.raises(
        headrace.InvalidArgumentError, match="x: it has 2 axes of float64: must have 2 of float32"
    ):
        made(x=np.ones((2, 4)), y=np.ones((2, 4), np.float32))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([["x", "int64", [3]]], r"says int64\[3\] of 'x'; the program takes float32\[3\]"),
        ([["x", "float32", [4]]], "takes float32"),
        ([["x", "float32", []]], "takes float32"),
        ([["x", "float32", [3]], ["y", "float32", [3]]], "has 2 inputs"),
    ],
)
def test_what_the_manifest_says_must_fit(tmp_path: Path, said: list[Any], message: str) -> None:
    path = exported_program(tmp_path / "m.pt2", nn.Linear(3, 2), (torch.ones(4, 3),), ({0: D.DYNAMIC},))
    with pytest.raises(headrace.InvalidArgumentError, match=message):
        TorchProgram(path, said, ["y"], 1)


def test_tables_are_found_behind_views_and_by_index() -> None:
    class Looked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.big, self.bag = nn.Embedding(90, 4), nn.EmbeddingBag(70, 4)
            self.rows = nn.Parameter(torch.ones(30, 4))

        def forward(self, a: Any, b: Any, c: Any, d: Any) -> Any:
            return (
                self.big(a.reshape(-1, 2).to(torch.int64)).sum()
                + self.bag(b).sum()
                + self.rows[c].sum()
                + d.sum()
            )

    ids = torch.ones(4, 2, dtype=torch.int64)
    given_ids = (ids.int(), ids.clone(), ids.clone(), ids.clone())
    inputs = exported.inputs_of(torch.export.export(Looked(), given_ids))
    assert [(own.ids, own.from_end) for own in inputs] == [
        (90, False),
        (70, False),
        (30, True),
        (None, False),
    ]
    given = {name: np.full((4, 2), -1) for name in "abcd"}
    with pytest.raises(headrace.InvalidArgumentError, match="a: holds -1 to -1: must lie between 0 and 89"):
        exported.check(inputs, given | {"a": given["a"].astype(np.int32)})
    given |= {"a": np.zeros((4, 2), np.int32), "b": np.zeros((4, 2), np.int64)}
    exported.check(inputs, given)  # rows from the end, and what is no place
    with pytest.raises(headrace.InvalidArgumentError, match="c: holds 0 to 30: must lie between -30 and 29"):
        exported.check(inputs, given | {"c": np.array([[0, 30]] * 4)})


def test_compile_is_one_of_three_and_for_exported_programs(tmp_path: Path, cache: Path) -> None:
    folder = packaged(tmp_path / "words", 'compile = "later"\n')
    with pytest.raises(
        headrace.InvalidArgumentError, match="compile = 'later': must be one of 'background', 'before'"
    ):
        headrace.load(folder)
    shutil.copy(folder / "model.pt2", folder / "model.pt")
    toml = folder / "headrace.toml"
    (folder / "SHA256SUMS").unlink()
    toml.write_text(toml.read_text().replace('"later"', '"before"').replace("model.pt2", "model.pt"))
    with pytest.raises(headrace.InvalidArgumentError, match=r"is for torch.export programs \(.pt2\)"):
        headrace.load(folder)
