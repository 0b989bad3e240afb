"""What a request for several texts counts for its key; and a server's kinds of personal data, in both forms."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from conftest import Server
from guarded import Guarded

from headrace.security.audit import read
from headrace.security.scopes import Limits

PROMPT = "The mill stands by the river, and its wheel turns day and night."


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    state = tmp_path_factory.mktemp("state")
    with Guarded(state, "demo:smollm2", "--audit", "--cache-tokens", "4096") as found:
        found.keys["writer"] = found.key("infer", limits=Limits(tokens_per_day=100_000))
        time.sleep(2.5)
        yield found
        assert found.server.stop() == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_counts_once_however_many_texts_follow_it(guarded: Guarded, streamed: bool) -> None:
    body = {
        "model": "smollm2",
        "prompt": [PROMPT, "Water"],
        "n": 3,
        "max_tokens": 4,
        "stream": streamed,
        **({"stream_options": {"include_usage": True}} if streamed else {}),
    }
    name = f"cost-{streamed}"
    with guarded.client("writer") as http:
        answer = http.post("/v1/completions", json=body, headers={"x-request-id": name})
        assert answer.status_code == 200, answer.text
    if streamed:
        events = [line for line in answer.text.splitlines() if line.startswith("data: {")]
        usage = json.loads(events[-1].removeprefix("data: "))["usage"]
    else:
        usage = answer.json()["usage"]
    assert 10 < usage["prompt_tokens"] < 40
    time.sleep(1)
    [row] = [row for row in read(guarded.folder / "audit") if row.get("request") == name]
    assert row["prompt_tokens"] == usage["prompt_tokens"]
    assert row["generated_tokens"] == usage["completion_tokens"] == 24
    if not streamed:
        left = int(answer.headers["x-ratelimit-remaining-tokens"])
        assert 0 <= left - (100_000 - usage["total_tokens"]) <= 20  # of what flowed back meanwhile


def test_kinds_of_a_server_may_stand_together_or_apart(tmp_path: Path) -> None:
    text = "a@b.com 1.2.3.4 DE89370400440532013000"
    told = []
    for kinds in (["--mask-kinds", "email,iban"], ["--mask-kinds", "email", "--mask-kinds", "iban"]):
        with Server("--mask", *kinds) as server:
            tokens = httpx2.post(f"{server.url}/tokenize", json={"inputs": text}).json()[0]
            told.append([token["text"] for token in tokens])
            assert server.stop() == 0
    assert told[0] == told[1]
    assert "IBAN" in "".join(told[0]).upper()
    assert "2" in told[0]
