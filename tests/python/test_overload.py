"""More work than the queue's budget allows is refused at once, with the time to come back at."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from conftest import Server

import headrace

LONG = "the water turns the wheel " * 20


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """A server that lets hardly anything wait."""
    with Server("--queue-budget", "0.05") as running:
        running.warm_up()
        yield running
        assert running.stop() == 0


def flood(url: str, count: int) -> list[httpx2.Response]:
    body = {"model": "minilm", "input": [LONG] * 64}
    with httpx2.Client(timeout=60) as http, ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: http.post(f"{url}/v1/embeddings", json=body), range(count)))


def test_refusals_name_the_time_to_wait(strict: Server) -> None:
    answers = flood(strict.url, 16)
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    for answer in answers:
        if answer.status_code != 429:
            continue
        error = answer.json()["error"]
        assert error["code"] == "overloaded"
        assert error["type"] == "overloaded_error"
        assert int(answer.headers["retry-after"]) >= 1
        milliseconds = int(answer.headers["retry-after-ms"])
        assert 1 <= milliseconds <= int(answer.headers["retry-after"]) * 1000
    assert strict.metric("headrace_refused_total", model="minilm") >= 1


def test_the_client_comes_back_until_it_is_served(strict: Server) -> None:
    def embed(_: int) -> tuple[int, ...]:
        with headrace.Client(strict.url, max_retries=50) as client:
            return client.embed([LONG] * 32).shape

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(embed, range(8))) == [(32, 384)] * 8


def test_without_retries_the_refusal_is_an_exception(strict: Server) -> None:
    def embed(_: int) -> headrace.Error | None:
        try:
            with headrace.Client(strict.url, max_retries=0) as client:
                client.embed([LONG] * 64)
        except headrace.Error as error:
            return error
        return None

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(embed, range(12)))
    refused = [error for error in outcomes if error is not None]
    assert refused
    assert all(isinstance(error, headrace.OverloadedError) and error.retry_after > 0 for error in refused)
