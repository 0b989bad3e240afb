"""A thousand planted personal data are in nothing that a server keeps or sends on: logs, metrics, traces, the record,
temporary files and any other file of its own; whether it masks or not."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from collector import Collector
from conftest import Server
from tritonclient.utils import InferenceServerException

import headrace.toy

FUNCTIONS = Path(__file__).with_name("served_functions.py")
COUNT = 1000


def canaries() -> list[str]:
    rng = random.Random(5)
    numbers = rng.sample(range(10**7, 10**8), COUNT)
    mails = [f"canary{number}@example.com" for number in numbers[::2]]
    return mails + [f"+44 20 {number // 10_000} {number % 10_000:04d}" for number in numbers[1::2]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


def ways(http: httpx2.Client, client: triton.InferenceServerClient) -> list[Callable[[str], object]]:
    """One way for a canary to come in each; some requests are refused, and some fail."""

    def post(route: str, **body: Any) -> object:
        return http.post(route, json=body)

    def infer(model: str, name: str, text: str, **parameters: Any) -> None:
        tensor = triton.InferInput(name, [1], "BYTES")
        tensor.set_data_from_numpy(np.array([text.encode()], dtype=np.object_))
        client.infer(model, [tensor], parameters=parameters)

    few = {"model": "smollm2", "max_tokens": 1}
    says = "Please call {} now".format
    return [
        lambda it: post("/v1/embeddings", model="minilm", input=says(it)),
        lambda it: post("/v1/embeddings", model="minilm", input=[it, ""], nonsense=it),
        lambda it: post("/v1/embeddings", model="minilm", input=says(it) * 500),
        lambda it: post("/v1/embeddings", model=it, input="a"),
        lambda it: http.post("/v1/embeddings", content=f'{{"model": "minilm", "input": "{it}'.encode()),
        lambda it: post("/v1/tag", model="tag", input=says(it)),
        lambda it: post("/v1/mask", input=says(it)),
        lambda it: post("/v1/completions", **few, prompt=says(it)),
        lambda it: post(
            "/v1/chat/completions", **few, messages=[{"role": "user", "content": it}], stream=True
        ),
        lambda it: post("/v1/predict", model="double", input=it),
        lambda it: post("/v1/predict", model="failing", input=it),
        lambda it: post("/embed", model="minilm", inputs=it),
        lambda it: infer("minilm", "text", says(it)),
        lambda it: infer("minilm", it, "a"),
        lambda it: infer("smollm2", "text_input", it, max_tokens=1),
    ]


def held(folders: list[Path]) -> str:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode("latin-1") for path in files)


@pytest.mark.parametrize("masks", [False, True], ids=["open", "masked"])
def test_a_thousand_canaries_are_kept_nowhere(
    masks: bool, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = canaries()
    assert len(set(wanted)) == COUNT
    state, temporary = tmp_path / "state", tmp_path / "temporary"
    temporary.mkdir()
    for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(temporary))
    tag = headrace.toy.model("tag", tmp_path / "tag")
    models = ["demo:minilm", "demo:smollm2", f"tag={tag}", f"{FUNCTIONS}:double", f"{FUNCTIONS}:failing"]
    options = ["--audit", "--state", str(state), "--otlp", collector.url, "--grpc-port", "0"]
    options += ["--log-level", "debug", "--log-format", "json", "--access-log", "--queue-budget", "60"]
    with Server(*models, *options, *(["--mask"] if masks else [])) as server:
        seen = {200: 0}
        with (
            httpx2.Client(base_url=server.url, timeout=60) as http,
            triton.InferenceServerClient(f"127.0.0.1:{server.started['grpc_port']}") as client,
        ):
            asked = ways(http, client)
            for number, canary in enumerate(wanted):
                try:
                    answer = asked[number % len(asked)](canary)
                except InferenceServerException:
                    continue
                status = getattr(answer, "status_code", 200)
                seen[status] = seen.get(status, 0) + 1
            kept = http.get("/metrics").text
        fds = Path(f"/proc/{server.process.pid}/fd")
        opened = [os.readlink(path) for path in fds.iterdir() if path.exists()]
        assert not [path for path in opened if path.startswith("/tmp") and not path.startswith(str(tmp_path))
                    and "(deleted)" not in path]  # fmt: skip
        assert server.process.poll() is None
        server.terminate()
        server.process.wait(60)  # which sends what is left of the traces
        kept += server.errors()
    kept += held([state, temporary]) + collector.raw.decode("latin-1")
    assert seen[200] > COUNT // 2
    assert seen[400] > COUNT // 10
    assert seen[500] > COUNT // 20
    assert len(collector.spans) > COUNT // 2
    assert kept.count("/v1/chat/completions") > COUNT // 20  # so the requests themselves are told
    digits = "".join(kept.split())
    found = [canary for canary in wanted if canary in kept or canary.replace(" ", "") in digits]
    at = kept.find(found[0]) if found else 0
    assert not found, (len(found), kept[max(0, at - 1000) : at + 200])
