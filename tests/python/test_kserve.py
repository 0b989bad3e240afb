"""KServe's own client against `headrace serve`, over REST and gRPC.

It pins packages below the versions that other tests need, so its wheels are unpacked beside ours and go first in a
process of its own; what they share comes from where the tests run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import Server
from test_judges import TEXT, unpacked

import headrace

KSERVE = "0.21.0"
# What its package imports on the way to the client and other tests do not have, or have another version of.
BESIDE = (
    f"kserve=={KSERVE}",
    "cloudevents==1.12.0",
    "deprecation==2.1.0",
    "tabulate==0.9.0",
    "timing-asgi==0.3.1",
    "grpc-interceptor==0.15.4",
    "kubernetes==33.1.0",
    # and of kubernetes
    *("six==1.17.0", "google-auth==2.63.0", "websocket-client==1.9.2", "requests-oauthlib==2.0.0"),
    *("oauthlib==4.0.1", "durationpy==0.11", "watchfiles==1.3.0"),
)
PROGRAM = """
import asyncio, json, sys
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main(url, grpc_port, text):
    def request(model="minilm"):
        return InferRequest(model_name=model, infer_inputs=[InferInput("text", [2], "BYTES", data=[text, "x"])])

    rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    told = {"rest_ready": [await rest.is_server_ready(url), await rest.is_server_live(url),
                           await rest.is_model_ready(url, "minilm")]}
    answer = await rest.infer(url, request(), model_name="minilm")
    told["rest"] = answer.outputs[0].as_numpy().tolist()
    try:
        await rest.infer(url, request("none"), model_name="none")
    except Exception as error:
        told["rest_error"] = getattr(getattr(error, "response", None), "status_code", repr(error))
    await rest.close()
    grpc = InferenceGRPCClient(url=f"127.0.0.1:{grpc_port}", timeout=30)
    told["grpc_ready"] = [await grpc.is_server_ready(), await grpc.is_server_live(),
                          await grpc.is_model_ready("minilm")]
    answer = await grpc.infer(request())
    told["grpc"] = answer.outputs[0].as_numpy().tolist()
    try:
        await grpc.infer(request("none"))
    except Exception as error:
        told["grpc_error"] = error.code().name
    await grpc.close()
    print(json.dumps(told))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    with Server("demo:minilm", "--grpc-port", "0", "--queue-budget", "60") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def told(served: Server) -> dict[str, Any]:
    folder = unpacked(f"kserve-{KSERVE}", *BESIDE)
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", PROGRAM, served.url, str(served.started["grpc_port"]), TEXT]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_its_client(told: dict[str, Any], protocol: str) -> None:
    assert told[f"{protocol}_ready"] == [True, True, True]
    with headrace.load("demo:minilm") as model:
        np.testing.assert_allclose(told[protocol], model.embed([TEXT, "x"]), atol=1e-5)
    assert told[f"{protocol}_error"] == (404 if protocol == "rest" else "NOT_FOUND")
