"""POST /v1/mask: what is found, each mode, and what is refused; nothing of a text is kept or told in an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
from conftest import Server
from guarded import Guarded

import headrace
import headrace.toy
from headrace.security.masking import KINDS, Masker
from headrace.security.second_tier import tagged

TEXT = "Write to maria@example.com，或致电 138 0013 8000 \U0001f30a, maria@example.com."


def mask(http: httpx2.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/mask", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_the_answer_is_the_masker_s(http: httpx2.Client) -> None:
    described = http.get("/openapi.json").json()["paths"]["/v1/mask"]["post"]
    answered = described["responses"]["200"]["content"]["application/json"]["schema"]
    content = described["requestBody"]["content"]["application/json"]
    bodies = [example["value"] for example in content["examples"].values()]
    bodies += [{"input": TEXT, "mode": mode} for mode in ("mask", "reversible", "drop")]
    bodies += [{"input": ["nothing here", TEXT], "kinds": ["email"]}]
    for body in bodies:
        jsonschema.validate(body, content["schema"])
        found = mask(http, **body)
        jsonschema.validate(found, answered)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        masker = Masker(body.get("kinds"), body.get("mode", "mask"))
        for text, row, expected in zip(texts, found["data"], masker.mask_many(texts), strict=True):
            assert (row["text"], row["mapping"]) == (expected.text, expected.mapping)
            places = [(each.kind, each.begin, each.end) for each in expected.findings]
            assert [(each["kind"], each["start"], each["end"]) for each in row["findings"]] == places
            assert all(text[begin:end].strip() for _, begin, end in places)


def test_codes_are_under_the_client_s_key(http: httpx2.Client) -> None:
    key = "sixteen characters"
    same = [mask(http, input=TEXT, mode="hash", key=key)["data"][0]["text"] for _ in range(2)]
    assert same[0] == same[1] == Masker(None, "hash", key).mask(TEXT).text
    random = [mask(http, input=TEXT, mode="hash")["data"][0]["text"] for _ in range(2)]
    assert random[0] != random[1]
    codes = [word for word in random[0].split() if word.startswith("[EMAIL:") or "[EMAIL:" in word]
    assert len(codes) == 2
    assert codes[0].split("]")[0] == codes[1].split("]")[0]  # within a request one value has one code


def test_a_long_text_goes_to_a_thread(http: httpx2.Client) -> None:
    text = f"{TEXT} " * 3000
    assert mask(http, input=text)["data"][0]["text"] == Masker().mask(text).text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x"] * 257}, "input"),
        ({"input": [1]}, "input"),
        ({"input": TEXT, "mode": "hide"}, "mode"),
        ({"input": TEXT, "kinds": ["name"]}, "kinds"),
        ({"input": TEXT, "kinds": []}, "kinds"),
        ({"input": TEXT, "kinds": [KINDS[0]] * 99}, "kinds"),
        ({"input": TEXT, "key": "k" * 16}, "key"),
        ({"input": TEXT, "mode": "hash", "key": "short"}, "key"),
        ({"input": TEXT, "model": "minilm"}, "model"),
        ({"input": TEXT, "models": "minilm"}, "models"),
    ],
)
def test_what_is_refused(http: httpx2.Client, body: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/mask", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert "maria" not in answer.text


def test_names_by_a_served_model(tmp_path: Path) -> None:
    texts = ["Maria Smith (maria@example.com) runs the mill in Paris.", "\U0001f30a Maria \U0001f30a Smith"]
    folder = headrace.toy.model("tag", tmp_path / "tag")
    with headrace.load(folder) as model:
        expected = Masker(second=tagged(model)).mask_many(texts)
    with Server(str(folder), "--queue-budget", "60") as server:
        with httpx2.Client(base_url=server.url, timeout=60) as http:
            rows = mask(http, input=texts, model="tag")["data"]
            assert [row["text"] for row in rows] == [each.text for each in expected]
            assert http.post("/v1/mask", json={"input": "a", "model": "none"}).status_code == 404
            described = http.get("/openapi.json").json()["paths"]["/v1/mask"]["post"]["responses"]["200"]
            jsonschema.validate(
                mask(http, input=texts, model="tag"), described["content"]["application/json"]["schema"]
            )
        assert server.stop() == 0


def test_a_server_that_masks_shows_the_text_as_it_was(tmp_path: Path) -> None:
    """Its own masking is for models: here it would find nothing."""
    with Server("--mask", "--audit", "--state", str(tmp_path)) as server:
        with httpx2.Client(base_url=server.url, timeout=60) as http:
            assert len(mask(http, input=TEXT)["data"][0]["findings"]) == 3
        assert server.stop() == 0
        kept = server.errors() + "".join(
            path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()
        )
    assert "maria" not in kept
    assert "/v1/mask" in kept  # that it was asked is in the audit log


def test_the_scope(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        for key, status in (("all", 200), ("minilm", 403), ("metrics", 403)):
            with guarded.client(key) as http:
                assert http.post("/v1/mask", json={"input": TEXT}).status_code == status, key
        assert httpx2.post(f"{guarded.server.url}/v1/mask", json={"input": TEXT}).status_code == 401
        assert guarded.server.stop() == 0
