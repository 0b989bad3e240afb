"""The official clients of OpenAI's API, unchanged but for the address."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import openai
import pytest
from conftest import Server
from langchain_openai import OpenAIEmbeddings


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="minilm", input=["a mill wheel", "a water turbine"])  # base64
    decimal = client.embeddings.create(model="minilm", input=["a mill wheel"], encoding_format="float")
    assert [len(row.embedding) for row in answer.data] == [384, 384]
    assert np.array_equal(np.float32(answer.data[0].embedding), np.float32(decimal.data[0].embedding))
    assert answer.usage.total_tokens > 4
    short = client.embeddings.create(model="minilm", input="x", dimensions=8, user="u")
    assert len(short.data[0].embedding) == 8
    ids = client.embeddings.create(model="minilm", input=[[101, 1037, 4971, 5217, 102]])
    assert np.array_equal(np.float32(ids.data[0].embedding), np.float32(answer.data[0].embedding))


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["minilm"]
    assert client.models.retrieve("minilm").owned_by == "headrace"


def test_errors_become_openai_s_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="text-embedding-3-small", input="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.embeddings.create(model="minilm", input="word " * 5000)
    assert bad.value.code == "context_length_exceeded"
    assert bad.value.param == "input"
    with pytest.raises(openai.BadRequestError) as empty:
        client.embeddings.create(model="minilm", input=[])
    assert empty.value.request_id


async def test_async_client(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        answer = await client.embeddings.create(model="minilm", input="a mill wheel")
        assert len(answer.data[0].embedding) == 384
        assert [model.id async for model in client.models.list()] == ["minilm"]


async def test_langchain(server: Server) -> None:
    # Without check_embedding_ctx_length=False langchain loads OpenAI's own vocabulary from the internet.
    embeddings = OpenAIEmbeddings(
        model="minilm", base_url=f"{server.url}/v1", api_key="none", check_embedding_ctx_length=False
    )
    documents = embeddings.embed_documents(["How old are you?", "The market fell."])
    query = embeddings.embed_query("What is your age?")
    likeness = np.array(documents) @ np.array(query)
    assert likeness[0] > 0.7 > 0.3 > likeness[1]
    try:
        assert np.allclose(await embeddings.aembed_query("What is your age?"), query)
    finally:
        await embeddings.async_client._client.close()  # which langchain leaves to the garbage collector
