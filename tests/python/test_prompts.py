"""Prompts before texts, wherever one may be named: engine, server, clients, command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import jsonschema
import numpy as np
import openai
import pytest
from conftest import Server

import headrace
import headrace.toy

PROMPTS = {"query": "what is ", "passage": "the water: ", "nothing": ""}
TEXTS = ["the mill", "a wheel turns"]


def with_prompts(path: Path, **settings: object) -> Path:
    made = headrace.toy.model("embed", path)
    written = {"prompts": PROMPTS, "similarity_fn_name": "dot", **settings}
    (made / "config_sentence_transformers.json").write_text(json.dumps(written))
    return made


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_prompts(tmp_path_factory.mktemp("models") / "asker", default_prompt_name="passage")


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[headrace.Model]:
    with headrace.load(path) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def server(path: Path) -> Iterator[Server]:
    with Server("--queue-budget", "300", str(path), "demo:minilm") as running:
        yield running
        assert running.stop() == 0


def expected(model: headrace.Model, prompt: str) -> np.ndarray:
    return model.embed([prompt + text for text in TEXTS], prompt="")


class TestModel:
    def test_info_lists_them(self, model: headrace.Model) -> None:
        assert model.info.prompts == PROMPTS
        assert (model.info.default_prompt, model.info.similarity) == ("passage", "dot")
        assert hash(model.info) == hash(model.info)
        assert "passage" in model._repr_html_()

    def test_by_name_by_text_and_unasked(self, model: headrace.Model) -> None:
        query, passage = expected(model, "what is "), expected(model, "the water: ")
        assert np.array_equal(model.embed(TEXTS, prompt_name="query"), query)
        assert np.array_equal(model.embed(TEXTS, prompt="what is "), query)
        assert np.array_equal(model.embed(TEXTS), passage)
        assert np.array_equal(model.embed(TEXTS, prompt_name="nothing"), expected(model, ""))
        assert not np.allclose(query, passage)

    def test_long_lists_and_asyncio(self, model: headrace.Model) -> None:
        many = TEXTS * 200
        query = expected(model, "what is ")
        assert np.array_equal(model.embed(many, prompt_name="query"), np.tile(query, (200, 1)))

        async def main() -> None:
            assert np.array_equal(await model.aembed(TEXTS, prompt_name="query"), query)
            assert np.array_equal(await model.aembed(many, prompt="what is "), np.tile(query, (200, 1)))
            result = await model.aembed_result(TEXTS, prompt_name="query")
            assert result.tokens == sum(model.tokenizer.count("what is " + text) for text in TEXTS)

        asyncio.run(main())

    def test_none_stands_before_token_ids(self, model: headrace.Model) -> None:
        ids = [list(map(int, model.tokenizer.encode_ids(text))) for text in TEXTS]

        async def main() -> None:
            result = await model.aembed_result(ids)
            assert np.array_equal(result.vectors, expected(model, ""))
            with pytest.raises(headrace.InvalidArgumentError, match="before token ids"):
                await model.aembed_result(ids, prompt_name="query")

        asyncio.run(main())

    def test_what_is_refused(self, model: headrace.Model) -> None:
        with pytest.raises(headrace.InvalidArgumentError, match=r"'ask'.*'query', 'passage', 'nothing'"):
            model.embed(TEXTS, prompt_name="ask")
        with pytest.raises(headrace.InvalidArgumentError, match="give one of them"):
            model.embed(TEXTS, prompt_name="query", prompt="x")
        for prompt in ("\ud800", b"query: ", 1):
            with pytest.raises(headrace.InvalidArgumentError, match="must be a str of valid Unicode"):
                model.embed(TEXTS, prompt=prompt)  # type: ignore[arg-type]
        with pytest.raises(headrace.InvalidArgumentError, match=r"input\[0\] is an empty string"):
            model.embed([""], prompt_name="query")
        with pytest.raises(headrace.InvalidArgumentError, match=r"input\[1\] has .* tokens"):
            model.embed(["a", "mill " * 509], prompt_name="query")
        assert model.embed("mill " * 509, prompt_name="query", truncate=True).shape == (1, 32)
        with (
            headrace.load("demo:minilm") as plain,
            pytest.raises(headrace.InvalidArgumentError, match="has no prompts; leave it out"),
        ):
            plain.embed("a", prompt_name="query")

    def test_a_prompt_that_is_not_pooled_must_leave_room(self, tmp_path: Path) -> None:
        path = with_prompts(tmp_path / "pooler", prompts={"long": "mill " * 511})
        pooling = path / "1_Pooling"
        pooling.mkdir()
        (pooling / "config.json").write_text('{"pooling_mode": "mean", "include_prompt": false}')
        kind = "sentence_transformers.models."
        listed = [{"path": "", "type": kind + "Transformer"}, {"path": "1_Pooling", "type": kind + "Pooling"}]
        (path / "modules.json").write_text(json.dumps(listed))
        with headrace.load(path) as model:
            with pytest.raises(headrace.InvalidArgumentError, match="the prompt has 512 tokens"):
                model.embed("a", prompt_name="long", truncate=True)
            assert not np.allclose(model.embed("a wheel", prompt="the "), model.embed("the a wheel"))

    def test_similarity_is_the_model_s(self, model: headrace.Model) -> None:
        vectors = model.embed(TEXTS)
        assert np.allclose(model.similarity(vectors), vectors @ vectors.T, rtol=1e-5)
        assert model.similarity(vectors, vectors[0]).shape == (2, 1)


class TestServer:
    def post(self, server: Server, **fields: object) -> httpx2.Response:
        return httpx2.post(f"{server.url}/v1/embeddings", json={"model": "asker", "input": TEXTS, **fields})

    def test_prompt_name(self, server: Server, model: headrace.Model) -> None:
        def vectors(**fields: object) -> np.ndarray:
            rows = self.post(server, **fields).json()["data"]
            return np.float32([row["embedding"] for row in rows])

        assert np.array_equal(vectors(prompt_name="query"), expected(model, "what is "))
        for fields in ({}, {"prompt_name": None}, {"prompt_name": "passage"}):
            assert np.array_equal(vectors(**fields), expected(model, "the water: "))

    def test_an_unknown_one_is_a_400_that_names_the_field(self, server: Server) -> None:
        for model, said in (("asker", "'passage'"), ("minilm", "no prompts")):
            answer = self.post(server, model=model, prompt_name="ask")
            assert answer.status_code == 400
            error = answer.json()["error"]
            assert error["param"] == "prompt_name"
            assert said in error["message"]
        assert self.post(server, prompt_name="").status_code == 400
        assert self.post(server, prompt_name=1).json()["error"]["param"] == "prompt_name"
        assert self.post(server, input=[1, 2], prompt_name="query").json()["error"]["param"] == "prompt_name"

    def test_openai_s_client(self, server: Server, model: headrace.Model) -> None:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
        answer = client.embeddings.create(model="asker", input=TEXTS, extra_body={"prompt_name": "query"})
        assert np.array_equal(np.float32([row.embedding for row in answer.data]), expected(model, "what is "))

    def test_models_list_them(self, server: Server) -> None:
        listed = httpx2.get(f"{server.url}/v1/models").json()
        asker, minilm = listed["data"]
        assert (asker["prompts"], asker["default_prompt_name"]) == (PROMPTS, "passage")
        assert asker["similarity"] == "dot"
        assert (minilm["prompts"], minilm["default_prompt_name"]) == ({}, None)
        document = httpx2.get(f"{server.url}/openapi.json").json()
        described = document["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]
        jsonschema.validate(listed, described["application/json"]["schema"])

    def test_clients(self, server: Server, model: headrace.Model) -> None:
        query = expected(model, "what is ")
        with headrace.Client(server.url) as client:
            assert np.array_equal(client.embed(TEXTS, model="asker", prompt_name="query"), query)
            with pytest.raises(headrace.InvalidArgumentError, match="'ask'"):
                client.embed(TEXTS, model="asker", prompt_name="ask")

        async def main() -> None:
            async with headrace.AsyncClient(server.url) as client:
                assert np.array_equal(await client.embed(TEXTS, model="asker", prompt_name="query"), query)

        asyncio.run(main())


@pytest.mark.parametrize("option", [("--prompt-name", "query"), ("--prompt", "what is ")])
def test_command_line(path: Path, model: headrace.Model, option: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "headrace.cli", "embed", str(path), *TEXTS, *option]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)["data"]
    assert np.array_equal(np.float32([row["embedding"] for row in rows]), expected(model, "what is "))
