"""Load tools and clients in other languages, unchanged: perf_analyzer, h2load, OpenAI's for Node.js."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from conftest import Server

from headrace.serve.grpc_messages import message

TEXT = "the water turns the wheel"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"
OPENAI = "7.57.0"


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    with Server("demo:minilm", "--grpc-port", "0", "--queue-budget", "60") as running:
        yield running
        assert running.stop() == 0


def unpacked(folder: str, *wheels: str) -> Path:
    """Wheels' files without installing them: beside the newer tritonclient of the other tests they would not go."""
    made = CACHE / folder
    if not made.is_dir():
        partial = made.with_name(f"{folder}.{os.getpid()}")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--dest", partial, *wheels], check=True)
        for wheel in partial.glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(partial)
            wheel.unlink()
        partial.rename(made)
    return made


@pytest.fixture(scope="module")
def perf_analyzer() -> tuple[Path, dict[str, str]]:
    folder = unpacked("perf_analyzer-2.50.0", "tritonclient==2.50.0", "nvidia-cuda-runtime-cu12==12.9.79")
    [program] = folder.glob("tritonclient-*.data/data/bin/perf_analyzer")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program, {**os.environ, "LD_LIBRARY_PATH": str(folder / "nvidia" / "cuda_runtime" / "lib")}


@pytest.mark.parametrize(
    "options",
    [["-i", "http"], ["-i", "grpc"], ["-i", "grpc", "--streaming", "--async"]],
    ids=["http", "grpc", "grpc stream"],
)
def test_perf_analyzer(
    served: Server, perf_analyzer: tuple[Path, dict[str, str]], options: list[str], tmp_path: Path
) -> None:
    """It reads the model's configuration and its statistics, and ends itself where these do not fit together."""
    program, environment = perf_analyzer
    port = served.port if "http" in options else served.started["grpc_port"]
    report = tmp_path / "report.csv"
    command = [str(program), "-m", "minilm", "-u", f"127.0.0.1:{port}", "--service-kind", "triton", *options]
    command += ["--string-data", TEXT, "--shape", "text:1", "--concurrency-range", "4", "-f", str(report)]
    command += ["--measurement-mode", "count_windows", "--measurement-request-count", "60"]
    ran = subprocess.run(
        [*command, "-s", "900", "-r", "3"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    names, values = (line.split(",") for line in report.read_text().splitlines()[:2])
    row = dict(zip(names, values, strict=True))
    assert float(row["Inferences/Second"]) > 1
    assert float(row["Server Compute Infer"]) > 0


def test_h2load(served: Server, tmp_path: Path) -> None:
    program = shutil.which("h2load")
    assert program, "h2load is missing: apt-get install nghttp2-client"
    request = message("ModelInferRequest")(model_name="minilm")
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(TEXT.encode())
    body = request.SerializeToString()
    (tmp_path / "body").write_bytes(b"\0" + struct.pack(">I", len(body)) + body)
    before = served.metric("headrace_requests_total", model="minilm")
    url = f"http://127.0.0.1:{served.started['grpc_port']}/inference.GRPCInferenceService/ModelInfer"
    head = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    ran = subprocess.run(
        [program, "-n", "400", "-c", "4", "-m", "4", "-d", str(tmp_path / "body"), *head, url],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "400 succeeded, 0 failed, 0 errored" in ran.stdout, ran.stdout + ran.stderr
    assert served.metric("headrace_requests_total", model="minilm") == before + 400


PROGRAM = """
import OpenAI from 'openai';
const client = new OpenAI({ baseURL: process.argv[2] + '/v1', apiKey: 'none', maxRetries: 0 });
const packed = await client.embeddings.create({ model: 'minilm', input: ['a mill wheel', 'x'] });
const plain = await client.embeddings.create({ model: 'minilm', input: 'a mill wheel', encoding_format: 'float' });
const models = [];
for await (const model of client.models.list()) models.push(model.id);
let error;
try { await client.embeddings.create({ model: 'none', input: 'x' }); } catch (e) { error = [e.status, e.code]; }
console.log(JSON.stringify({
  packed: packed.data.map(row => row.embedding), plain: plain.data[0].embedding, usage: packed.usage, models, error
}));
"""


def test_openai_for_node(served: Server, tmp_path: Path) -> None:
    folder = CACHE / f"openai-node-{OPENAI}"
    if not folder.is_dir():
        (tmp_path / "made").mkdir()
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"openai@{OPENAI}"]
        subprocess.run(command, cwd=tmp_path / "made", check=True, timeout=300)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "made", folder)
    (folder / "program.mjs").write_text(PROGRAM)
    ran = subprocess.run(
        ["node", "program.mjs", served.url], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert [len(row) for row in answer["packed"]] == [384, 384]
    assert answer["packed"][0] == pytest.approx(answer["plain"], abs=1e-6)
    assert answer["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    assert answer["models"] == ["minilm"]
    assert answer["error"] == [404, "model_not_found"]


def test_the_model_s_name_may_stand_in_the_body_too(served: Server) -> None:
    """As KServe's client writes it; another than the path's is refused."""
    body = {
        "model_name": "minilm",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}],
    }
    url = f"{served.url}/v2/models/minilm/infer"
    assert httpx2.post(url, json=body).status_code == 200
    refused = httpx2.post(url, json={**body, "model_name": "other"})
    assert refused.status_code == 400
    assert "'other'" in refused.json()["error"]
