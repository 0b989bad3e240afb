"""Low-rank adapters (LoRA, DoRA) against the library peft: tokens and probabilities, alone and together."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import httpx2
import language_models
import numpy as np
import peft
import pytest
import torch

import headrace
import headrace.toy

PROMPT = [int(token) for token in np.random.default_rng(1).integers(3, 500, 40)]
TOKENS = 12
TARGETS: dict[str, list[str]] = {
    "llama": ["q_proj", "v_proj"],
    "qwen2": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gemma2": ["o_proj", "up_proj", "down_proj"],
    "phi3": ["qkv_proj", "gate_up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
}


def make_adapter(base: Any, directory: Path, targets: list[str], seed: int, **options: Any) -> Any:
    """A random adapter of `base`, saved in `directory`; the model with it."""
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=8, lora_alpha=24, target_modules=targets, lora_dropout=0.0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what peft asks transformers
        model = peft.get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_magnitude" in name:
                parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
            elif "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory)
    return model.eval()


def greedy(model: Any) -> tuple[list[int], list[float]]:
    """Tokens and their log probabilities."""
    ids, scores = list(PROMPT), []
    with torch.no_grad():
        for _ in range(TOKENS):
            logits = model(torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits.argmax()))
            scores.append(float(torch.log_softmax(logits, -1)[ids[-1]]))
    return ids[len(PROMPT) :], scores


def ours(model: headrace.Model) -> tuple[list[int], list[float]]:
    found = model.generate(PROMPT, max_tokens=TOKENS, temperature=0, logprobs=0, ignore_eos=True)
    return [token.id for token in found.tokens], [token.logprob for token in found.tokens]


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("family", TARGETS)
def test_an_adapter_gives_what_peft_gives(family: str, use_dora: bool, tmp_path: Path) -> None:
    base = language_models.make(family, tmp_path / "base")
    _with_tokenizer(tmp_path / "base")
    plain = greedy(base)
    options = {"use_rslora": family == "qwen2", "fan_in_fan_out": family == "gpt2", "use_dora": use_dora}
    expected = greedy(make_adapter(base, tmp_path / "adapter", TARGETS[family], 2, **options))
    assert expected[0] != plain[0]
    with headrace.Engine() as engine:
        model = engine.add("base", tmp_path / "base", precision="f32")
        adapter = engine.add_adapter("tuned", tmp_path / "adapter", model="base")
        assert (adapter.info.base, adapter.info.task) == ("base", "generate")
        tokens, scores = ours(adapter)
        assert tokens == expected[0]
        np.testing.assert_allclose(scores, expected[1], atol=2e-4)
        # The base is what it was, though its prompt was computed with the adapter a moment ago.
        tokens, scores = ours(model)
        assert tokens == plain[0]
        np.testing.assert_allclose(scores, plain[1], atol=2e-4)


def _with_tokenizer(directory: Path) -> None:
    """Any will do: the texts are ids."""
    vocabulary = {f"t{i}": i for i in range(500)}
    tokenizer = {
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
        "pre_tokenizer": {"type": "Whitespace"},
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base and three adapters."""
    base = language_models.make("llama", tmp_path / "base")
    _with_tokenizer(tmp_path / "base")
    for number in range(3):
        model = make_adapter(
            base, tmp_path / f"adapter{number}", ["q_proj", "down_proj", "gate_proj"], number
        )
        base = model.unload()
    return tmp_path


def test_adapters_move_to_the_model_that_takes_their_place(folder: Path, tmp_path: Path) -> None:
    base = language_models.make("llama", tmp_path / "second")
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    base.save_pretrained(tmp_path / "second")
    _with_tokenizer(tmp_path / "second")
    with headrace.Engine() as engine:
        engine.add("base", tmp_path / "second", precision="f32")
        expected = ours(engine.add_adapter("a0", folder / "adapter0", model="base"))
    with headrace.Engine() as engine:
        engine.add("base", folder / "base", precision="f32")
        old = engine.add_adapter("a0", folder / "adapter0", model="base")
        before = ours(old)
        with pytest.raises(
            headrace.InvalidArgumentError, match="not replaced, since an adapter of it does not fit"
        ):
            engine.replace("base", headrace.toy.model("embed"))
        assert ours(engine.model("a0")) == before
        engine.replace("base", tmp_path / "second", precision="f32")
        assert ours(old) == before  # what was begun goes on with the old one
        assert ours(engine.model("a0")) == expected != before
        assert engine.model("a0")._base is engine.model("base")
        assert {info.name: info.base for info in engine.models()} == {"base": None, "a0": "base"}
        engine.try_candidate("base", folder / "base", share=0.5, precision="f32")
        engine.promote("base")
        assert ours(engine.model("a0")) == before
        del old
        engine.retire("base")
        assert engine.models() == []


@pytest.mark.parametrize("family", ["llama", "gpt2"])
async def test_many_adapters_run_in_the_same_steps_with_the_same_bits(family: str, tmp_path: Path) -> None:
    base = language_models.make(family, tmp_path / "base")
    _with_tokenizer(tmp_path / "base")
    for number in range(3):
        options = {"fan_in_fan_out": family == "gpt2", "use_dora": number == 1}
        base = make_adapter(base, tmp_path / f"adapter{number}", TARGETS[family], number, **options).unload()
    with headrace.Engine() as engine:
        models = [engine.add("base", tmp_path / "base", precision="f32")]
        models += [engine.add_adapter(f"a{n}", tmp_path / f"adapter{n}", model="base") for n in range(3)]
        alone = [ours(model) for model in models]
        assert len({tuple(tokens) for tokens, _ in alone}) == 4
        settings: Any = {"max_tokens": TOKENS, "temperature": 0, "logprobs": 0, "ignore_eos": True}
        order = [n % 4 for n in range(40)]
        together = await asyncio.gather(*(models[n].agenerate(PROMPT, **settings) for n in order))
        for n, found in zip(order, together, strict=True):
            assert ([t.id for t in found.tokens], [t.logprob for t in found.tokens]) == alone[n]


def test_adapters_come_and_go(folder: Path) -> None:
    with headrace.Engine() as engine:
        base = engine.add("base", folder / "base")
        first = engine.add_adapter("a", folder / "adapter0", model="base")
        expected = ours(first)
        engine.retire("a")
        with pytest.raises(headrace.ModelNotFoundError):
            engine.model("a")
        assert ours(first) == expected  # who holds it goes on with it
        second = engine.add_adapter("a", folder / "adapter1", model="base")
        assert ours(second)[0] != expected[0]  # and no prompt of the first one's is taken for its own
        assert list(engine.stats()["language_models"]) == ["base"]
        engine.remove("base")
        assert engine.models() == []
        del base


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"peft_type": "IA3"}, headrace.UnsupportedError, "IA3"),
        ({"use_dora": True}, headrace.CorruptFileError, "lora_magnitude_vector"),
        ({"lora_bias": True}, headrace.UnsupportedError, "lora_bias"),
        ({"bias": "all"}, headrace.UnsupportedError, "trained biases"),
        ({"modules_to_save": ["lm_head"]}, headrace.UnsupportedError, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 4}}, headrace.UnsupportedError, "rank_pattern"),
        ({"r": 4}, headrace.InvalidArgumentError, "another model"),
        ({"r": 0}, headrace.CorruptFileError, "r"),
        ({"r": "many"}, headrace.CorruptFileError, "r"),
        (None, headrace.ModelNotFoundError, "adapter_config.json"),
    ],
)
def test_adapters_that_cannot_be_used(
    folder: Path, change: Any, error: type[Exception], message: str
) -> None:
    file = folder / "adapter0" / "adapter_config.json"
    if change is None:
        file.unlink()
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with headrace.Engine() as engine:
        engine.add("base", folder / "base")
        with pytest.raises(error, match=message):
            engine.add_adapter("a", folder / "adapter0", model="base")
        assert [info.name for info in engine.models()] == ["base"]


def test_names_and_models_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    other = language_models.make("qwen3", tmp_path / "other")
    _with_tokenizer(tmp_path / "other")
    make_adapter(other, tmp_path / "of-other", ["q_proj"], 1)
    with headrace.Engine() as engine:
        engine.add("base", folder / "base")
        engine.add("minilm", "demo:minilm")
        engine.add_adapter("a", folder / "adapter0", model="base")
        for name, path, model, error in (
            ("a", "adapter1", "base", "must not be taken"),
            ("a b", "adapter1", "base", "letters"),
            ("b", "adapter1", "a", "adapter itself"),
            ("b", "adapter1", "minilm", "cannot generate"),
            ("b", "of-other", "base", "another model"),
        ):
            with pytest.raises(headrace.InvalidArgumentError, match=error):
                engine.add_adapter(name, folder / path, model=model)
        with pytest.raises(headrace.ModelNotFoundError):
            engine.add_adapter("b", folder / "adapter1", model="nothing")


def test_a_server_serves_adapters_as_models(folder: Path) -> None:
    options = ["--adapter", f"one={folder}/adapter0", "--adapter", f"two=base:{folder}/adapter1"]
    command = [
        sys.executable,
        "-m",
        "headrace.cli",
        "serve",
        f"{folder}/base",
        "--port",
        "0",
        "--json",
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            listed = {row["id"]: row.get("parent") for row in httpx2.get(f"{url}/v1/models").json()["data"]}
            assert listed == {"base": None, "one": "base", "two": "base"}
            texts = set()
            for name in listed:
                body = {
                    "model": name,
                    "prompt": PROMPT,
                    "max_tokens": TOKENS,
                    "temperature": 0,
                    "ignore_eos": True,
                }
                answer = httpx2.post(f"{url}/v1/completions", json=body, timeout=60)
                assert answer.status_code == 200, answer.text
                texts.add(answer.json()["choices"][0]["text"])
            assert len(texts) == 3
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
