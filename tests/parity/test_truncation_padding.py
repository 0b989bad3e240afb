"""Truncation, overflowing parts and padding against the `tokenizers` library, field by field."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tokenizers
import vocabularies
from generated_text import generated

import headrace

SPECIALS = [("[CLS]", 1), ("[SEP]", 2)]
TEMPLATE = tokenizers.processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=SPECIALS
)
PROCESSORS: dict[str, Any] = {
    "template": TEMPLATE,
    "template, other types": tokenizers.processors.TemplateProcessing(
        single="$A:2 [SEP]:3", pair="$B:1 [SEP] $A:4 [CLS]:1 [SEP]", special_tokens=SPECIALS
    ),
    "bert": tokenizers.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
    "roberta": tokenizers.processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1)),
    "byte level": tokenizers.processors.ByteLevel(),
    "sequence": tokenizers.processors.Sequence([tokenizers.processors.ByteLevel(), TEMPLATE]),
    "none": None,
}
STRATEGIES = ("longest_first", "only_first", "only_second")


def pair_of(processor: str) -> tuple[headrace.Tokenizer, tokenizers.Tokenizer]:
    data = json.loads(vocabularies.trained("WordPiece"))
    data["post_processor"] = None
    made = tokenizers.Tokenizer.from_str(json.dumps(data))
    if PROCESSORS[processor] is not None:
        made.post_processor = PROCESSORS[processor]
    return headrace.Tokenizer.from_str(made.to_str()), made


def fields(encoding: Any) -> tuple[Any, ...]:
    """Ours and theirs have the same names."""
    names = ("ids", "tokens", "offsets", "type_ids", "special_tokens_mask")
    return tuple(getattr(encoding, name) for name in names)


def text_pairs(seed: int, count: int) -> Iterator[tuple[str, str]]:
    yield from [("", ""), ("a", ""), ("", "a b c"), ("[SEP] a [SEP]", "b [CLS]")]
    texts = generated(seed, 2 * count, ["[CLS]", "[SEP]"])
    yield from zip(itertools.islice(texts, count), texts, strict=True)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("with_specials", [True, False])
def test_every_way_to_cut(processor: str, with_specials: bool) -> None:
    ours, reference = pair_of(processor)
    chance = random.Random(3)
    refused = cut = 0
    for first, second in text_pairs(4, 700):
        pair = second if chance.randrange(3) else None
        added = reference.num_special_tokens_to_add(pair is not None) if with_specials else 0
        length = added + chance.choice((3, 4, 5, 8, 13, 40))
        settings = {
            "strategy": chance.choice(STRATEGIES),
            "direction": chance.choice(("left", "right")),
            "stride": 0,
        }
        if chance.randrange(2):  # theirs must fit one text, too
            settings["stride"] = chance.randrange(
                length - max(added, reference.num_special_tokens_to_add(False))
            )
        reference.enable_truncation(length, **settings)
        try:
            expected = reference.encode(first, pair, add_special_tokens=with_specials)
        except BaseException:  # a panic, where a text keeps no more than the stride
            expected = None
        try:
            found = ours.encode(
                first,
                pair,
                add_special_tokens=with_specials,
                allow_special=True,
                max_tokens=length,
                truncation=settings["strategy"],
                truncation_side=settings["direction"],
                stride=settings["stride"],
            )
        except headrace.InvalidArgumentError:
            assert expected is None, (first, pair, length, settings)
            refused += 1
            continue
        assert expected is not None, (first, pair, length, settings)
        assert fields(found) == fields(expected), (first, pair, length, settings)
        # Their parts no longer know which text they are from.
        assert found.sequence_ids == expected.sequence_ids, (first, pair, length, settings)
        parts = [fields(part) for part in found.overflowing]
        assert parts == [fields(part) for part in expected.overflowing], (first, pair, length, settings)
        cut += bool(parts)
    assert cut > 100
    assert refused > 20


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", [None, 5, 64])
@pytest.mark.parametrize("multiple", [None, 8])
@pytest.mark.parametrize("pairs", [True, False])
def test_padding(side: str, length: int | None, multiple: int | None, pairs: bool) -> None:
    ours, reference = pair_of("template")
    reference.enable_padding(
        direction=side, length=length, pad_to_multiple_of=multiple, pad_id=7, pad_type_id=3, pad_token="x"
    )
    reference.enable_truncation(40, stride=5)
    texts = list(text_pairs(5, 200))
    firsts, seconds = [first for first, _ in texts], [second for _, second in texts]
    batch = ours.encode_padded(
        firsts,
        seconds if pairs else None,
        allow_special=True,
        max_tokens=40,
        stride=5,
        length=length,
        multiple_of=multiple,
        padding_side=side,
        pad_id=7,
        pad_type_id=3,
    )
    encodings = reference.encode_batch(texts if pairs else firsts)
    rows = [(i, row) for i, found in enumerate(encodings) for row in [found, *found.overflowing]]
    assert batch.rows.tolist() == [i for i, _ in rows]
    if length == 5:  # theirs are ragged then
        width = max(len(row.ids) for _, row in rows)
        for _, row in rows:
            row.pad(width, direction=side, pad_id=7, pad_type_id=3)
    for name in ("ids", "type_ids", "attention_mask", "special_tokens_mask", "offsets"):
        array = getattr(batch, name)
        assert array.dtype == np.int32
        assert array.tolist() == [np.array(getattr(row, name)).tolist() for _, row in rows], name
    expected = [[-1 if number is None else number for number in row.sequence_ids] for _, row in rows]
    if side == "right":  # padding on the left moves theirs, which are ranges, and ours
        assert batch.sequence_ids.tolist() == expected
    assert len(batch) == len(rows)


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_are_cut_on_either_side(side: str) -> None:
    ours, reference = pair_of("template")
    reference.enable_truncation(7, direction=side)
    texts = list(generated(6, 1000))
    ragged = ours.encode_batch(texts, allow_special=True, max_tokens=7, truncation_side=side)
    assert [ids.tolist() for ids in ragged] == [found.ids for found in reference.encode_batch(texts)]


def test_nothing_to_pad_and_threads() -> None:
    ours, _ = pair_of("template")
    assert ours.encode_padded([]).ids.shape == (0, 0)
    assert ours.encode_padded([], length=4).ids.shape == (0, 4)
    texts = list(generated(8, 2000))
    one, two = (ours.encode_padded(texts, threads=threads, max_tokens=20) for threads in (1, 2))
    assert np.array_equal(one.ids, two.ids)
    assert repr(one) == f"Padded(2000 rows of {one.ids.shape[1]} tokens)"
