"""1,000 damaged tokenizer.json a family: each is refused with an error that says why, or works."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
import vocabularies

import headrace

TEXT = "Hello wörld, <unk> 中文 😀  12,345 don't\n\n[CLS]" + "a" * 200
WRONG: list[Any] = [
    None,
    True,
    -1,
    3,
    2**31,
    2**63,
    10**400,
    -1e308,
    1e400,
    0.5,
    "",
    "x",
    "\x00",
    "\ud7ff",
    "a b",
    "(",
    "(?<=a)b",
    "a{100000}",
    "\\p{Nonsense}",
    [],
    [[]],
    {},
    {"type": "BPE"},
    {"type": "Sequence"},
    {"String": ""},
    {"Regex": "(((("},
    [1, 2, 3],
    ["a", "b"],
]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def places(value: Any, chance: random.Random) -> tuple[Any, Any]:
    """A container anywhere in a JSON value and one of its keys; big tables are entered as seldom as others."""
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = chance.choice(keys)
        inner = value[key]
        if not isinstance(inner, (dict, list)) or not inner or chance.random() < 0.25:
            return value, key
        value = inner


def damage(data: Any, chance: random.Random) -> None:
    container, key = places(data, chance)
    kind = chance.randrange(6)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[chance.choice(["", "type", "x", "\U0001f600"])] = container.pop(key)
    elif kind == 2:
        other, other_key = places(data, chance)
        container[key] = copy.deepcopy(other[other_key])
    elif kind == 3:
        container[key] = nested(chance.choice([2, 60, 90]))
    else:
        container[key] = chance.choice(WRONG)


def small(text: str) -> Any:
    """The same tokenizer with a vocabulary cut down, so that 1,000 copies are soon read."""
    data = json.loads(text)
    vocab = data["model"]["vocab"]
    if isinstance(vocab, list):
        data["model"]["vocab"] = vocab[:400]
        return data
    kept = dict(sorted(vocab.items(), key=lambda item: item[1])[:400])
    data["model"]["vocab"] = kept
    if "merges" in data["model"]:
        data["model"]["merges"] = [
            pair for pair in data["model"]["merges"] if {*pair, "".join(pair)} <= set(kept)
        ]
    return data


def text_of(data: Any) -> str:
    # The encoder of the standard library has no room for deep values.
    deep = json.dumps("DEEP")

    def shallow(value: Any, depth: int = 0) -> Any:
        if depth > 80:
            return "DEEP"
        if isinstance(value, dict):
            return {name: shallow(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list):
            return [shallow(item, depth + 1) for item in value]
        return value

    return json.dumps(shallow(data)).replace(deep, "[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize("name", vocabularies.TRAINED)
def test_damage_is_refused_or_harmless(name: str) -> None:
    whole = small(vocabularies.trained(name))
    headrace.Tokenizer.from_str(json.dumps(whole)).encode(TEXT)
    chance = random.Random(name)
    refused = 0
    messages: list[tuple[int, str]] = []
    for number in range(1000):
        data = copy.deepcopy(whole)
        damage(data, chance)
        try:
            tokenizer = headrace.Tokenizer.from_str(text_of(data))
        except (headrace.CorruptFileError, headrace.UnsupportedError) as error:
            refused += 1
            messages.append((number, str(error)))
            continue
        try:
            encoding = tokenizer.encode(TEXT, allow_special=True)
        except headrace.InvalidArgumentError:  # the text needs an unknown token, and there is none
            continue
        assert len(encoding.offsets) == len(encoding.ids)
        tokenizer.decode(encoding.ids)
    assert refused > 100
    assert [message for message in messages if not 10 < len(message[1]) < 1000] == []


@pytest.mark.parametrize("name", vocabularies.TRAINED)
def test_cut_off_files_are_refused(name: str) -> None:
    text = json.dumps(small(vocabularies.trained(name)))
    for size in range(0, len(text), len(text) // 50):
        with pytest.raises(headrace.CorruptFileError):
            headrace.Tokenizer.from_str(text[:size])
