"""Models that come, go and are replaced while others ask: in an engine, and in a server over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import Server
from tritonclient.utils import InferenceServerException

import headrace
import headrace.toy
from headrace.catalogue import Catalogue
from headrace.security.keys import Pepper, make_key
from headrace.security.seal_keys import new_key
from headrace.security.sealing import seal

TEXT = "the water turns the wheel"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two versions that answer otherwise."""
    folder = tmp_path_factory.mktemp("models") / "toy"
    for version, seed in (("1", 1), ("2", 2)):
        headrace.toy.model("embed", folder / version, seed=seed)
    return folder


def answers(versions: Path) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for version in ("1", "2"):
        with headrace.load(versions / version) as model:
            found[version] = model.embed(TEXT)
    return found


def test_replaced_a_hundred_times_under_load_nothing_fails(versions: Path) -> None:
    expected = answers(versions)
    failures: list[BaseException] = []
    counts = {"1": 0, "2": 0}
    stop = threading.Event()
    with headrace.Engine(queue_budget=60) as engine:
        engine.add("toy", versions / "1")

        def ask() -> None:
            while not stop.is_set():
                try:
                    vector = engine.model("toy").embed(TEXT)
                    version = next(v for v, wanted in expected.items() if np.array_equal(vector, wanted))
                    counts[version] += 1
                except BaseException as error:
                    failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for round_ in range(100):
            engine.replace("toy", versions / ("2" if round_ % 2 == 0 else "1"))
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert min(counts.values()) > 20
        assert engine.model("toy").info.version == "1"
        gc.collect()
        end = time.monotonic() + 10
        while len(engine._core.names()) > 1:  # the old ones are gone
            assert time.monotonic() < end, engine._core.names()
            time.sleep(0.02)


async def test_who_holds_the_old_model_goes_on_with_it(versions: Path) -> None:
    expected = answers(versions)
    with headrace.Engine() as engine:
        old = engine.add("toy", versions / "1")
        new = engine.replace("toy", versions / "2")
        np.testing.assert_array_equal(await old.aembed(TEXT), expected["1"])
        np.testing.assert_array_equal(await new.aembed(TEXT), expected["2"])
        old.close()  # of something that is not served any more: nothing happens
        np.testing.assert_array_equal(engine.model("toy").embed(TEXT), expected["2"])


def test_a_replacement_that_fails_changes_nothing(versions: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(versions / "2", broken)
    (broken / "model.safetensors").write_bytes(b"nonsense")
    with headrace.Engine() as engine:
        engine.add("toy", versions / "1")
        with pytest.raises(headrace.CorruptFileError):
            engine.replace("toy", broken)
        with pytest.raises(headrace.ModelNotFoundError):
            engine.replace("nothing", versions / "1")
        assert engine.model("toy").embed(TEXT).shape[0] == 1
        assert len(engine._core.names()) == 1


async def test_a_retired_model_finishes_what_it_has_begun(versions: Path) -> None:
    with headrace.Engine(queue_budget=60) as engine:
        engine.add("toy", versions / "1")
        tasks = [asyncio.create_task(engine.model("toy").aembed([TEXT] * 50)) for _ in range(20)]
        await asyncio.sleep(0)
        engine.retire("toy")
        with pytest.raises(headrace.ModelNotFoundError):
            engine.model("toy")
        assert [len(vectors) for vectors in await asyncio.gather(*tasks)] == [50] * 20


class Managed:
    def __init__(self, folder: Path, state: Path) -> None:
        pepper = Pepper.find(state, create=True)
        self.keys = {}
        with Catalogue(f"sqlite:///{state}/catalogue.sqlite") as catalogue:
            for name, scopes in {
                "user": ["infer"],
                "owner": ["infer", "manage"],
                "toy": ["manage:toy"],
            }.items():
                self.keys[name], key = make_key(pepper, name, scopes)
                catalogue.add(key)
        self.server = Server(
            str(folder), "--require-keys", "--state", str(state), "--grpc-port", "0", "--queue-budget", "60"
        )

    def client(self, key: str) -> httpx2.Client:
        headers = {"authorization": f"Bearer {self.keys[key]}"}
        return httpx2.Client(base_url=self.server.url, headers=headers, timeout=60)


@pytest.fixture
def managed(versions: Path, tmp_path: Path) -> Iterator[Managed]:
    folder = tmp_path / "models"
    shutil.copytree(versions, folder / "toy")
    found = Managed(folder, tmp_path / "state")
    with found.server:
        yield found
        assert found.server.stop() == 0


def version(http: httpx2.Client) -> str:
    [found] = http.get("/v2/models/toy").json()["versions"]
    return str(found)


def test_versions_are_loaded_and_rolled_back_under_load(managed: Managed) -> None:
    stop = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        with managed.client("user") as http:
            while not stop.is_set():
                statuses.append(http.post("/v1/embeddings", json={"model": "toy", "input": TEXT}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    with managed.client("owner") as http:
        assert version(http) == "2"  # the highest
        for round_ in range(100):
            wanted = "1" if round_ % 2 == 0 else "2"
            answer = http.post("/v2/repository/models/toy/load", json={"parameters": {"version": wanted}})
            assert answer.status_code == 200, answer.text
            assert version(http) == wanted
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert len(statuses) > 200


def test_models_come_and_go(managed: Managed, tmp_path: Path) -> None:
    with managed.client("owner") as http:
        assert http.post("/v2/repository/models/toy/unload").status_code == 200
        assert http.post("/v1/embeddings", json={"model": "toy", "input": TEXT}).status_code == 404
        assert http.post("/v2/repository/models/toy/unload").status_code == 404
        assert http.post("/v2/repository/models/toy/load").status_code == 200
        assert http.post("/v1/embeddings", json={"model": "toy", "input": TEXT}).status_code == 200
        # One that was put into the folder since.
        assert http.post("/v2/repository/models/late/load").status_code == 404
        headrace.toy.model("embed", tmp_path / "models" / "late")
        assert http.post("/v2/repository/models/late/load").status_code == 200
        assert http.post("/v1/embeddings", json={"model": "late", "input": TEXT}).status_code == 200
        # A new version that is damaged: the old one goes on, and no path is told.
        broken = tmp_path / "models" / "toy" / "3"
        shutil.copytree(tmp_path / "models" / "toy" / "2", broken)
        (broken / "model.safetensors").write_bytes(b"nonsense")
        answer = http.post("/v2/repository/models/toy/load")
        assert answer.status_code == 422
        assert str(tmp_path) not in answer.text
        assert version(http) == "2"
        # A sealed one whose key the server does not have.
        key = new_key(tmp_path / "seal.key")
        seal(tmp_path / "models" / "toy" / "2", tmp_path / "models" / "toy" / "4", key)
        answer = http.post("/v2/repository/models/toy/load")
        assert answer.status_code == 422
        assert "no key is given" in answer.text
        assert str(tmp_path) not in answer.text
        assert version(http) == "2"
        (tmp_path / "models" / "late" / "config.json").write_text('{"model_type": "unheard-of"}')
        answer = http.post("/v2/repository/models/late/load")
        assert answer.status_code == 422
        assert "unheard-of" in answer.text
        assert str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    ("key", "path", "body", "status"),
    [
        ("user", "toy/load", {}, 403),
        ("user", "toy/unload", {}, 403),
        ("toy", "late/load", {}, 403),
        ("toy", "toy/load", {}, 200),
        ("owner", "..%2ftoy/load", {}, 400),
        ("owner", "toy/load", {"parameters": {"version": "../1"}}, 400),
        ("owner", "toy/load", {"parameters": {"version": [1]}}, 400),
        ("owner", "toy/load", {"parameters": {"version": "9"}}, 404),
        ("owner", "toy/load", {"parameters": {"path": "/etc"}}, 400),
        ("owner", "toy/load", {"parameters": 3}, 400),
        ("owner", "toy/unload", {"parameters": {"unload_dependents": True}}, 200),
    ],
)
def test_who_may_manage_what(managed: Managed, key: str, path: str, body: Any, status: int) -> None:
    with managed.client(key) as http:
        answer = http.post(f"/v2/repository/models/{path}", json=body)
        assert answer.status_code in (status, 404 if "%2f" in path else status), answer.text


def test_over_grpc(managed: Managed) -> None:
    headers = {"authorization": f"Bearer {managed.keys['owner']}"}
    with triton.InferenceServerClient(f"127.0.0.1:{managed.server.started['grpc_port']}") as client:
        client.unload_model("toy", headers=headers)
        with pytest.raises(InferenceServerException, match="no model is named"):
            client.get_model_metadata("toy", headers=headers)
        client.load_model("toy", headers=headers)
        assert client.is_model_ready("toy", headers=headers)
        with pytest.raises(InferenceServerException, match="PERMISSION_DENIED"):
            client.unload_model("toy", headers={"authorization": f"Bearer {managed.keys['user']}"})


def test_without_keys_nobody_manages(server: Server) -> None:
    answer = httpx2.post(f"{server.url}/v2/repository/models/minilm/unload")
    assert answer.status_code == 403
    assert "--require-keys" in answer.text
