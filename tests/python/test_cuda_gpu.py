"""On a GPU (`pytest -m cuda`): models give the processor's answers, and compute-sanitizer finds nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

import headrace
from headrace import devices

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        devices.cuda().startswith("unavailable"), reason=f"no GPU can be used: {devices.cuda()}"
    ),
]

TEXTS = ["a", "The quick brown fox jumps over the lazy dog.", "headrace " * 60] * 5
PROMPT = "The capital of France is"


def vectors(device: str, precision: str) -> np.ndarray:
    with headrace.load("demo:minilm", device=device, precision=precision) as model:
        return model.embed(TEXTS)


@pytest.mark.parametrize(("precision", "least"), [("f32", 0.999999), ("bf16", 0.9995), ("int8", 0.99)])
def test_embeddings_are_those_of_the_processor(precision: str, least: float) -> None:
    ours, theirs = vectors("cuda", precision), vectors("cpu", "f32")
    if precision == "f32":
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert (ours * theirs).sum(1).min() >= least


def test_a_text_alone_has_the_vector_that_it_has_in_company() -> None:
    with headrace.load("demo:minilm", device="cuda") as model:
        np.testing.assert_array_equal(model.embed(TEXTS)[1], model.embed(TEXTS[1])[0])


@pytest.mark.parametrize("precision", ["f32", "bf16", "q8"])
def test_greedy_texts_are_those_of_the_processor(precision: str) -> None:
    written = []
    for device in ("cpu", "cuda"):
        with headrace.load("demo:smollm2", device=device, precision=precision) as model:
            written.append(model.generate(PROMPT, max_tokens=24, temperature=0).text)
    # In fewer bits a tie may fall otherwise, late in a text.
    assert written[1] == written[0] if precision == "f32" else written[1][:20] == written[0][:20]


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not on PATH")
    code = (
        "import headrace; headrace.load('demo:minilm', device='cuda', precision='bf16').embed(['a', 'b c d'])"
    )
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]
