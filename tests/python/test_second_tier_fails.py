"""The second tier of masking fails in the middle of an answer, has too many waiting, or cannot read a text: the client
is told so, and what it has until then is masked."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from guarded import Guarded

import headrace
from headrace.security.masking import Masker

FUNCTIONS = Path(__file__).parent / "served_functions.py"
SECRET = "Maria Smith (maria.lopez@example.com) runs the mill in Paris."
STORY = "Write about Maria Smith, who runs the mill in Paris."
OPTIONS = {"temperature": 0, "max_tokens": 400}


@pytest.fixture(scope="module")
def guarded(names: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(
        tmp_path_factory.mktemp("state"),
        *("demo:smollm2", str(names), f"gossip={FUNCTIONS}:gossip", f"secretive={FUNCTIONS}:secretive"),
        *("--mask", "--mask-model", "names", "--grpc-port", "0", "--queue-budget", "0.05"),
    ) as running:
        yield running
        assert running.server.stop() == 0
        assert "Maria" not in running.server.errors()


@pytest.fixture
def http(guarded: Guarded) -> Iterator[httpx2.Client]:
    with guarded.client("all") as client:
        client.post("/v2/repository/models/names/load", json={})
        while client.post("/v1/predict", json={"model": "gossip", "input": ""}).status_code == 503:
            time.sleep(0.05)
        yield client


def take_away(http: httpx2.Client) -> None:
    assert http.post("/v2/repository/models/names/unload", json={}).status_code == 200


def streamed(http: httpx2.Client, route: str, body: dict[str, Any]) -> list[str]:
    """The events of an answer, in the middle of which the model for names is taken away."""
    events: list[str] = []
    with http.stream("POST", route, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if not line.startswith("data: "):
                continue
            events.append(line[6:])
            if len(events) == 3:
                take_away(http)
    return events


def check_told(event: str) -> None:
    error = json.loads(event)["error"]
    assert error["code"] == "masking_unavailable"
    assert "second tier" in error["message"]
    assert "Maria" not in event


def nothing_runs(guarded: Guarded) -> None:
    """No text is written on for those who were told."""
    end = time.monotonic() + 5
    while guarded.server.metric("headrace_generation_running", guarded.keys["all"]):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_chat_ends_with_an_error(guarded: Guarded, http: httpx2.Client, masker: Masker) -> None:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": STORY}], **OPTIONS}
    *chunks, last = streamed(http, "/v1/chat/completions", body)
    check_told(last)
    nothing_runs(guarded)
    got = "".join(json.loads(each)["choices"][0]["delta"].get("content", "") for each in chunks)
    with headrace.load("demo:smollm2") as writer:
        stream = masker.stream()
        messages = [{"role": "user", "content": masker.mask(STORY).text}]
        whole = "".join(stream.feed(piece.text) for piece in writer.stream(messages, **OPTIONS))
    assert whole.startswith(got)
    assert len(got) < len(whole)


def test_a_function_that_yields_ends_with_an_error(http: httpx2.Client, masker: Masker) -> None:
    *chunks, last = streamed(http, "/v1/predict", {"model": "gossip", "input": SECRET})
    check_told(last)
    assert len(chunks) >= 3
    given = masker.mask(SECRET).text
    for i, chunk in enumerate(chunks):
        assert json.loads(chunk)["output"] == masker.mask(f"{i}: {given}").text


def test_a_stream_over_grpc_ends_with_an_error(guarded: Guarded, http: httpx2.Client, masker: Masker) -> None:
    answers: list[Any] = []
    told = threading.Event()

    def note(result: Any, error: Any) -> None:
        answers.append(error or result)
        if error is not None:
            told.set()
        elif len(answers) == 3:
            threading.Thread(target=take_away, args=(http,)).start()

    text = triton.InferInput("text_input", [1], "BYTES")
    text.set_data_from_numpy(np.array([STORY.encode()], dtype=np.object_))
    with triton.InferenceServerClient(f"127.0.0.1:{guarded.server.started['grpc_port']}") as client:
        headers = {"authorization": f"Bearer {guarded.keys['all']}"}
        client.start_stream(note, headers=headers)
        client.async_stream_infer("smollm2", [text], parameters=OPTIONS)
        assert told.wait(30)
        client.stop_stream()
    assert "second tier" in str(answers[-1])
    got = b"".join(answer.as_numpy("text_output")[0] for answer in answers[:-1]).decode()
    with headrace.load("demo:smollm2") as writer:
        stream = masker.stream()
        prompt = masker.mask(STORY).text
        whole = "".join(stream.feed(piece.text) for piece in writer.stream(prompt, **OPTIONS))
    assert whole.startswith(got)
    assert len(got) < len(whole)
    nothing_runs(guarded)


def test_what_is_too_much_for_it_is_refused(http: httpx2.Client, masker: Masker) -> None:
    def ask(_: int) -> httpx2.Response:
        return http.post("/v1/predict", json={"model": "secretive", "input": text})

    text = SECRET * 100
    masked = masker.mask(f"call +49 30 1234567 or {masker.mask(text).text}").text

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(96)))
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) <= {200, 429}
    assert counts[429]
    for answer in answers:
        if answer.status_code == 200:
            assert answer.json()["output"] == masked
        else:
            assert "Maria" not in answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["code"] == "overloaded"
