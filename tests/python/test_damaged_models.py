"""Model directories with something wrong: what is said, and that nobody else is harmed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import headrace

TINY = Path(__file__).parents[1] / "golden" / "tiny_bert"


@pytest.fixture
def copy_of_tiny(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))


class TestDamagedModels:
    """Each damage gets an error of the right kind that names the file; a model already loaded keeps working."""

    def check(self, path: Path, error: type[Exception], message: str) -> None:
        with headrace.Engine() as engine:
            good = engine.add("good", TINY)
            with pytest.raises(error, match=message):
                engine.add("bad", path)
            assert good.embed("water").shape == (1, 24)

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
    def test_a_missing_file(self, copy_of_tiny: Path, name: str) -> None:
        (copy_of_tiny / name).unlink()
        self.check(copy_of_tiny, headrace.ModelNotFoundError, name)

    def test_a_missing_directory(self, tmp_path: Path) -> None:
        self.check(tmp_path / "nowhere", headrace.ModelNotFoundError, "nowhere")

    def test_a_file_for_a_directory(self) -> None:
        self.check(TINY / "config.json", headrace.ModelNotFoundError, "a directory, or a .gguf or .onnx file")

    def test_an_unknown_demo(self) -> None:
        with pytest.raises(headrace.ModelNotFoundError, match="demo:minilm"):
            headrace.load("demo:nothing")

    @pytest.mark.parametrize("keep", [0, 7, 8, 100, 5000, -1])
    def test_truncated_weights(self, copy_of_tiny: Path, keep: int) -> None:
        path = copy_of_tiny / "model.safetensors"
        path.write_bytes(path.read_bytes()[:keep])
        self.check(copy_of_tiny, headrace.CorruptFileError, "model.safetensors")

    def test_a_lying_header_length(self, copy_of_tiny: Path) -> None:
        path = copy_of_tiny / "model.safetensors"
        path.write_bytes((2**63).to_bytes(8, "little") + path.read_bytes()[8:])
        self.check(copy_of_tiny, headrace.CorruptFileError, "model.safetensors")

    def test_a_lying_shape(self, copy_of_tiny: Path) -> None:
        path = copy_of_tiny / "model.safetensors"
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = data[8 : 8 + size].replace(b'"shape":[24,40]', b'"shape":[40,24]')
        assert header != data[8 : 8 + size]
        path.write_bytes(data[:8] + header + data[8 + size :])
        self.check(copy_of_tiny, headrace.CorruptFileError, "shape")

    @pytest.mark.parametrize(
        ("key", "value", "error"),
        [
            ("hidden_size", 2**60, headrace.CorruptFileError),
            ("hidden_size", 48, headrace.CorruptFileError),
            ("num_hidden_layers", 0, headrace.CorruptFileError),
            ("num_hidden_layers", 1000, headrace.CorruptFileError),
            ("vocab_size", 16_000_000, headrace.CorruptFileError),
            ("num_attention_heads", 5, headrace.CorruptFileError),
            ("max_position_embeddings", -1, headrace.CorruptFileError),
            ("model_type", "mamba", headrace.UnsupportedError),
            ("hidden_act", "swiglu", headrace.UnsupportedError),
        ],
    )
    def test_absurd_settings(
        self, copy_of_tiny: Path, key: str, value: object, error: type[Exception]
    ) -> None:
        path = copy_of_tiny / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        self.check(copy_of_tiny, error, str(value) if error is headrace.UnsupportedError else "config.json")

    def test_a_vocabulary_larger_than_the_model_s(self, copy_of_tiny: Path) -> None:
        path = copy_of_tiny / "tokenizer.json"
        tokenizer = json.loads(path.read_text())
        tokenizer["model"]["vocab"]["extra"] = 500
        path.write_text(json.dumps(tokenizer))
        self.check(copy_of_tiny, headrace.CorruptFileError, "tokenizer.json")
