"""A server that masks: what models are given and write, over every protocol, and that nothing of it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.http as triton_http
from conftest import Server

import headrace
import headrace.toy
from headrace.security.masking import Masker

SECRET = "Write to maria.lopez@example.com or 4111 1111 1111 1111."
MASKED = Masker().mask(SECRET).text


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[Server]:
    tag = headrace.toy.model("tag", state / "models" / "tag")
    with Server(
        *("demo:minilm", "demo:smollm2", f"tag={tag}", "--mask", "--audit", "--state", str(state)),
        *("--grpc-port", "0", "--queue-budget", "60", "--log-level", "info", "--access-log"),
    ) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def expected() -> Any:
    with headrace.load("demo:minilm") as model:
        assert not np.array_equal(model.embed(SECRET), model.embed(MASKED))
        return model.embed(MASKED)[0]


def tensor(kind: Any, name: str, text: str) -> Any:
    found = kind.InferInput(name, [1], "BYTES")
    found.set_data_from_numpy(np.array([text.encode()], dtype=np.object_))
    return found


def test_every_protocol_gives_the_model_the_masked_text(
    http: httpx2.Client, server: Server, expected: Any
) -> None:
    body = {"model": "minilm", "input": SECRET}
    escaped = json.dumps(body).replace("@", "\\u0040")
    data = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [SECRET]}]}
    answers = {
        "short way": http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"],
        "ordinary way": http.post("/v1/embeddings", json=body, headers={b"x-odd": b"\xe4"}).json()["data"][0][
            "embedding"
        ],
        "escaped": http.post(
            "/v1/embeddings", content=escaped, headers={"content-type": "application/json"}
        ).json()["data"][0]["embedding"],
        "several": http.post("/v1/embeddings", json={**body, "input": ["a", SECRET]}).json()["data"][1][
            "embedding"
        ],
        "embed": http.post("/embed", json={"model": "minilm", "inputs": SECRET}).json()[0],
        "infer": http.post("/v2/models/minilm/infer", json=data).json()["outputs"][0]["data"],
    }
    with triton_http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        answers["binary"] = client.infer("minilm", [tensor(triton_http, "text", SECRET)]).as_numpy(
            "embedding"
        )[0]
    with triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:
        answers["grpc"] = client.infer("minilm", [tensor(triton, "text", SECRET)]).as_numpy("embedding")[0]
    for name, vector in answers.items():
        np.testing.assert_allclose(vector, expected, atol=1e-6, err_msg=name)


def test_token_ids_that_spell_it_are_refused(http: httpx2.Client) -> None:
    with headrace.load("demo:minilm") as model:
        ids = {text: list(model.tokenizer.encode(text).ids)[1:-1] for text in (SECRET, "a mill wheel")}
    answers = {
        text: http.post("/v1/embeddings", json={"model": "minilm", "input": [found]})
        for text, found in ids.items()
    }
    assert answers["a mill wheel"].status_code == 200
    assert answers[SECRET].status_code == 400
    assert answers[SECRET].json()["error"]["code"] == "personal_data"


def test_other_fields_are_left_alone(http: httpx2.Client) -> None:
    """A name or an id is no text for a model."""
    answer = http.post("/v1/embeddings", json={"model": "maria.lopez@example.com", "input": "a"})
    assert answer.status_code == 404
    assert "maria.lopez@example.com" in answer.json()["error"]["message"]
    assert (
        http.post(
            "/v1/embeddings", json={"model": "minilm", "input": "a", "user": "m@example.com"}
        ).status_code
        == 200
    )
    assert (
        http.post(
            "/v1/embeddings", content=b"{nonsense", headers={"content-type": "application/json"}
        ).status_code
        == 400
    )


REPEAT = {"model": "smollm2", "temperature": 0, "max_tokens": 60}


def test_what_a_model_writes_is_masked_whole_and_streamed(http: httpx2.Client, server: Server) -> None:
    """A small model goes on with a pattern: it writes addresses that were in no request."""
    # Not an address yet, so that the prompt stays as it is; the model completes it.
    prompt = (
        "List of e-mail addresses:\n1. john.smith AT example.com\nSame list with the at sign:\n1. john.smith@"
    )
    with headrace.load("demo:smollm2") as model:
        plain = model.generate(prompt, temperature=0, max_tokens=60).text
    assert Masker().mask(prompt + plain).text != prompt + plain or Masker().mask(plain).findings
    wanted = Masker().mask(plain).text
    whole = http.post("/v1/completions", json={**REPEAT, "prompt": prompt}).json()["choices"][0]["text"]
    assert whole == wanted
    pieces = []
    with http.stream("POST", "/v1/completions", json={**REPEAT, "prompt": prompt, "stream": True}) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                pieces += [choice["text"] for choice in json.loads(line[6:])["choices"]]
    assert "".join(pieces) == wanted
    settings = {"max_tokens": 60, "temperature": 0}
    with triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client:
        found = client.infer("smollm2", [tensor(triton, "text_input", prompt)], parameters=settings)
        assert found.as_numpy("text_output")[0].decode() == wanted


def test_a_chat_sees_the_masked_message(http: httpx2.Client) -> None:
    def ask(content: Any) -> str:
        messages = [{"role": "user", "content": content}]
        answer = http.post("/v1/chat/completions", json={**REPEAT, "messages": messages, "max_tokens": 10})
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        return f"{usage['prompt_tokens']} {answer.json()['choices'][0]['message']['content']}"

    assert ask(SECRET) == ask(MASKED)


def test_logprobs_would_spell_it(http: httpx2.Client) -> None:
    answer = http.post("/v1/completions", json={**REPEAT, "prompt": "a", "logprobs": 1})
    assert answer.status_code == 400
    assert "logprobs" in answer.json()["error"]["message"]


def test_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MASK_KEY", "k" * 32)
    options = ["--mask", "--mask-mode", "hash", "--mask-kinds", "email", "--state", str(tmp_path)]
    with Server(*options) as server, headrace.load("demo:minilm") as model:
        answer = httpx2.post(f"{server.url}/v1/embeddings", json={"model": "minilm", "input": SECRET}).json()
        wanted = Masker(["email"], "hash", "k" * 32).mask(SECRET).text
        assert "4111" in wanted
        np.testing.assert_allclose(answer["data"][0]["embedding"], model.embed(wanted)[0], atol=1e-6)
        assert server.stop() == 0
