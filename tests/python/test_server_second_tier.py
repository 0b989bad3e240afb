"""A server whose masking has a second tier: a model for tag, presidio, over every protocol; and what is no text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server
from guarded import Guarded

import headrace
from headrace.security.masking import Masker
from headrace.security.second_tier import presidio

FUNCTIONS = Path(__file__).parent / "served_functions.py"
WALLET = "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"
SECRET = f"Maria Smith (maria.lopez@example.com) runs the mill in Paris. Her wallet is {WALLET}."
CARD = "4111111111111111"  # a card's number, and the base64 of twelve bytes
STORY = "Write about Maria Smith, who runs the mill in Paris."


@pytest.fixture(scope="module")
def server(names: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        *("demo:minilm", "demo:smollm2", str(names), f"secretive={FUNCTIONS}:secretive"),
        *(f"spell={FUNCTIONS}:spell", f"measure={FUNCTIONS}:measure"),
        f"double={FUNCTIONS}:double",
        *("--mask", "--mask-model", "names", "--grpc-port", "0", "--queue-budget", "60"),
        *("--state", str(tmp_path_factory.mktemp("state"))),
    ) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def rpc(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:
        yield client


def text_tensor(name: str, text: str) -> Any:
    found = triton.InferInput(name, [1], "BYTES")
    found.set_data_from_numpy(np.array([text.encode()], dtype=np.object_))
    return found


def test_models_see_what_is_left(http: httpx2.Client, rpc: Any, masker: Masker) -> None:
    masked = masker.mask(SECRET)
    assert {"email", "person", "location"} <= {each.kind for each in masked.findings}
    wanted = masked.text
    with headrace.load("demo:minilm") as model:
        expected = model.embed(wanted)[0]
        assert not np.allclose(expected, model.embed(Masker().mask(SECRET).text)[0], atol=1e-3)
    data = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [SECRET]}]}
    several = {"model": "minilm", "input": ["a", SECRET]}
    answers = {
        "one": http.post("/v1/embeddings", json={"model": "minilm", "input": SECRET}).json()["data"][0],
        "several": http.post("/v1/embeddings", json=several).json()["data"][1],
        "embed": {"embedding": http.post("/embed", json={"model": "minilm", "inputs": SECRET}).json()[0]},
        "infer": {"embedding": http.post("/v2/models/minilm/infer", json=data).json()["outputs"][0]["data"]},
        "grpc": {"embedding": rpc.infer("minilm", [text_tensor("text", SECRET)]).as_numpy("embedding")[0]},
    }
    for name, answer in answers.items():
        np.testing.assert_allclose(answer["embedding"], expected, atol=1e-6, err_msg=name)


def test_functions_get_and_give_it_masked(http: httpx2.Client, rpc: Any, masker: Masker) -> None:
    answered = masker.mask(f"call +49 30 1234567 or {masker.mask(SECRET).text}").text
    body = {"model": "secretive", "input": SECRET}
    assert http.post("/v1/predict", json=body).json()["output"] == answered
    asked = text_tensor("input", json.dumps(SECRET).replace("a", "\\u0061"))
    [found] = rpc.infer("secretive", [asked]).as_numpy("output")
    assert json.loads(found) == answered


def chat(http: httpx2.Client, **more: Any) -> Any:
    messages = [{"role": "user", "content": STORY}]
    body = {"model": "smollm2", "temperature": 0, "max_tokens": 60, "messages": messages, **more}
    answer = http.post("/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def test_texts_are_masked_whole_and_streamed(http: httpx2.Client, rpc: Any, masker: Masker) -> None:
    prompt = masker.mask(STORY).text
    with headrace.load("demo:smollm2") as model:
        messages = [{"role": "user", "content": prompt}]
        plain = model.generate(messages, temperature=0, max_tokens=60).text
        stream = masker.stream()
        pieces = [stream.feed(piece.text) for piece in model.stream(messages, temperature=0, max_tokens=60)]
        streamed = "".join(pieces) + stream.finish()
        completed = model.generate(prompt, temperature=0, max_tokens=60).text
    assert masker.mask(plain).findings
    assert chat(http).json()["choices"][0]["message"]["content"] == masker.mask(plain).text
    chunks = [
        json.loads(line[6:])["choices"][0]["delta"].get("content", "")
        for line in chat(http, stream=True).text.splitlines()
        if line.startswith("data: {")
    ]
    assert "".join(chunks) == streamed
    settings = {"max_tokens": 60, "temperature": 0}
    found = rpc.infer("smollm2", [text_tensor("text_input", STORY)], parameters=settings)
    assert found.as_numpy("text_output")[0].decode() == masker.mask(completed).text


def test_a_stream_over_grpc_comes_by_sentences(rpc: Any, masker: Masker) -> None:
    answers: list[Any] = []
    rpc.start_stream(lambda result, error: answers.append(error or result))
    settings = {"max_tokens": 60, "temperature": 0}
    rpc.async_stream_infer("smollm2", [text_tensor("text_input", STORY)], parameters=settings)
    rpc.stop_stream()
    texts = [answer.as_numpy("text_output")[0].decode() for answer in answers]
    whole = "".join(texts)
    assert whole
    with headrace.load("demo:smollm2") as model:
        plain = model.generate(masker.mask(STORY).text, temperature=0, max_tokens=60)
    assert whole != plain.text
    assert sum(map(bool, texts)) < len(texts) / 2  # held back until a sentence ends


def test_token_ids_that_spell_a_name_are_refused(http: httpx2.Client, masker: Masker) -> None:
    with headrace.load("demo:minilm") as model:
        ids = list(model.tokenizer.encode("runs to paris").ids)[1:-1]
        assert masker.mask(model.tokenizer.decode(ids)).findings
        assert not Masker().mask(model.tokenizer.decode(ids)).findings
    answer = http.post("/v1/embeddings", json={"model": "minilm", "input": ids})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "personal_data")


def test_base64_is_no_text(http: httpx2.Client, rpc: Any) -> None:
    """Digits in it must not be taken for a card's."""
    assert Masker().mask(CARD).findings
    answer = http.post("/v1/predict", json={"model": "measure", "input": {"data": CARD}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"] == {"length": 12, "data": CARD}
    data = {"inputs": [{"name": "data", "shape": [1], "datatype": "BYTES", "data": [CARD]}]}
    outputs = http.post("/v2/models/measure/infer", json=data).json()["outputs"]
    assert {each["name"]: each["data"] for each in outputs}["length"] == [12]
    picture = f"data:image/png;base64,{CARD}"
    for text, kept in ((picture, True), (f"{picture} {CARD}", False), (f"data:text/plain,{CARD}", False)):
        found = http.post("/v1/predict", json={"model": "double", "input": [text]}).json()["output"]
        assert ([text, text] == found) == kept, found
        assert (CARD in found[0]) == kept


def test_presidio_alone(tmp_path: Path) -> None:
    wanted = Masker(second=presidio()).mask(SECRET)
    assert {each.kind for each in wanted.findings} == {"email", "crypto"}
    with Server("--mask", "--mask-presidio", "--state", str(tmp_path)) as server:
        answer = httpx2.post(
            f"{server.url}/v1/embeddings", json={"model": "minilm", "input": SECRET}, timeout=60
        )
        assert server.stop() == 0
    with headrace.load("demo:minilm") as model:
        found = answer.json()["data"][0]["embedding"]
        np.testing.assert_allclose(found, model.embed(wanted.text)[0], atol=1e-6)


@pytest.fixture(scope="module")
def failing_server(names: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Its model for names can be taken away, as an operator may."""
    with Guarded(
        tmp_path_factory.mktemp("state"),
        *("demo:smollm2", str(names), f"secretive={FUNCTIONS}:secretive"),
        *("--mask", "--mask-model", "names", "--grpc-port", "0"),
    ) as running:
        yield running
        assert running.server.stop() == 0


def test_without_it_nothing_is_answered(failing_server: Guarded) -> None:
    headers = {"authorization": f"Bearer {failing_server.keys['all']}"}
    port = failing_server.server.started["grpc_port"]
    with failing_server.client("all") as http:
        assert http.post("/v1/predict", json={"model": "secretive", "input": "a"}).status_code == 200
        assert http.post("/v2/repository/models/names/unload", json={}).status_code == 200
        for route, body in (
            ("/v1/predict", {"model": "secretive", "input": SECRET}),
            ("/v1/completions", {"model": "smollm2", "prompt": "a", "max_tokens": 2}),
            ("/v1/chat/completions", {"model": "smollm2", "messages": [{"role": "user", "content": "a"}]}),
        ):
            answer = http.post(route, json=body)
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["code"] == "masking_unavailable"
            assert "Maria" not in answer.text
        with (
            triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
            pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"),
        ):
            client.infer("secretive", [text_tensor("input", '"a"')], headers=headers)
    assert "Maria" not in failing_server.server.errors()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--mask-model", "names"], "add --mask"),
        (["--mask-presidio"], "add --mask"),
        (["--mask", "--mask-model", "no-such"], "no such model is served; name one for tag among minilm"),
        (["--mask", "--mask-model", "minilm"], "task"),
    ],
)
def test_options_that_cannot_be(options: list[str], told: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headrace.cli", "serve", "--port", "0", "demo:minilm"]
    command += ["--state", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert told in done.stderr


def test_the_settings_name_it_too(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text('mask = true\nmask_model = "names"\n')
    command = [sys.executable, "-m", "headrace.cli", "config", "show", "--json", "--origin"]
    environment = {**os.environ, "HEADRACE_CONFIG": str(file), "HEADRACE_MASK_PRESIDIO": "true"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["mask_model"]["value"] == "names"
    assert shown["mask_presidio"]["value"] is True
