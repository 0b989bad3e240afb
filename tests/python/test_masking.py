"""Masking: what is found in labelled sentences, the four modes, texts in pieces, the command."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from personal_data_sentences import KINDS as LABELLED
from personal_data_sentences import MAKERS, NUMBERS, Sentence, negative, sentences, wide
from test_cli import fails, headrace

from headrace.errors import InvalidArgumentError
from headrace.security import masking
from headrace.security.masking import Finding, Masker

KEY = b"sixteen bytes or more"
TEXT = "Write to maria@example.com, call +44 20 7946 0958 or 138 0013 8000; maria@example.com again."


@pytest.fixture(scope="module")
def labelled() -> list[Sentence]:
    return list(sentences(5000, seed=2026))


def found_in(masker: Masker, text: str) -> list[tuple[str, int, int]]:
    return [(finding.kind, finding.begin, finding.end) for finding in masker.mask(text).findings]


class TestLabelledSentences:
    def test_recall_and_precision(self, labelled: list[Sentence], capsys: pytest.CaptureFixture[str]) -> None:
        masker = Masker()
        wanted, right, extra = Counter[str](), Counter[str](), Counter[str]()
        by_form: dict[str, list[bool]] = {}
        for sentence in labelled:
            found = found_in(masker, sentence.text)
            for span in sentence.spans:
                wanted[span[0]] += 1
                right[span[0]] += span in found
                by_form.setdefault(sentence.form, []).append(span in found)
            extra.update(kind for kind, begin, end in found if (kind, begin, end) not in sentence.spans)
        lines = [f"{'kind':<16} {'there':>6} {'recall':>7} {'precision':>9}"]
        for kind in LABELLED:
            precision = right[kind] / (right[kind] + extra[kind])
            lines.append(f"{kind:<16} {wanted[kind]:>6} {right[kind] / wanted[kind]:>7.4f} {precision:>9.4f}")
            assert right[kind] / wanted[kind] >= 0.97, lines
            assert precision >= 0.95, lines
        for form, hits in by_form.items():
            lines.append(f"{form:<16} {len(hits):>6} {sum(hits) / len(hits):>7.4f}")
            assert sum(hits) / len(hits) >= 0.99, lines
        with capsys.disabled():
            print("", *lines, sep="\n")
        numbers = sum(right[kind] for kind in NUMBERS) / sum(wanted[kind] for kind in NUMBERS)
        assert numbers >= 0.99
        assert right.total() / (right.total() + extra.total()) >= 0.97

    def test_the_set_is_what_it_says(self, labelled: list[Sentence]) -> None:
        assert len(labelled) == 5000
        assert set(LABELLED) == set(masking.KINDS)
        forms = Counter(sentence.form for sentence in labelled)
        assert min(forms[form] for form in ("plain", "wide", "spaced", "negative")) > 500
        spans = Counter(kind for sentence in labelled for kind, _, _ in sentence.spans)
        assert min(spans[kind] for kind in LABELLED) > 150
        assert labelled == list(sentences(5000, seed=2026))

    @pytest.mark.parametrize("kind", LABELLED)
    def test_values_are_found_between_any_words(self, kind: str) -> None:
        random = Random(kind)
        for _ in range(200):
            value = MAKERS[kind](random)[0]
            for text in (value, f"({value})", f"是{value}，", f"\n{value}\n", f"to: {wide(value)}!"):
                found = Masker([kind]).mask(text).findings
                assert [finding.kind for finding in found] == [kind], (text, found)

    @pytest.mark.parametrize("kind", [kind for kind in NUMBERS if kind not in ("cn_plate", "phone")])
    def test_values_within_longer_words_are_not(self, kind: str) -> None:
        random = Random(kind)
        for _ in range(200):
            value = MAKERS[kind](random)[0].removeprefix("+")
            assert not Masker([kind]).mask(f"a1{value}").findings, value
            assert not Masker([kind]).mask(f"x_{value}").findings, value
            if value[-1] != ")":
                assert not Masker([kind]).mask(f"{value}77aa").findings, value


class TestModes:
    def test_labels(self) -> None:
        masked = Masker().mask(TEXT)
        assert masked.text == "Write to [EMAIL], call [PHONE] or [CN_MOBILE]; [EMAIL] again."
        assert masked.mapping == {}
        assert masked.findings[0] == Finding("email", 9, 26)
        assert [TEXT[f.begin : f.end] for f in masked.findings][2] == "138 0013 8000"

    def test_drop(self) -> None:
        assert Masker(mode="drop").mask(TEXT).text == "Write to , call  or ;  again."

    def test_hash_is_the_value_s_whatever_its_writing(self) -> None:
        masker = Masker(mode="hash", key=KEY)
        writings = ["13800138000", "138 0013 8000", "+86 138-0013-8000", wide("13800138000")]
        codes = {masker.mask(writing).text for writing in writings}
        assert len(codes) == 1
        assert codes.pop().startswith("[CN_MOBILE:")
        assert masker.mask("13800138000").text != masker.mask("13800138001").text
        other = Masker(mode="hash", key=KEY + b"!")
        assert masker.mask("13800138000").text != other.mask("13800138000").text
        assert Masker(mode="hash", key=KEY.decode()).mask(TEXT) == masker.mask(TEXT)
        assert "maria" not in masker.mask(TEXT).text

    def test_reversible_numbers_values_and_puts_them_back(self) -> None:
        masker = Masker(mode="reversible")
        masked = masker.mask(TEXT)
        assert masked.text == "Write to <EMAIL_1>, call <PHONE_1> or <CN_MOBILE_1>; <EMAIL_1> again."
        assert masked.mapping["<PHONE_1>"] == "+44 20 7946 0958"
        assert masker.unmask(masked) == TEXT
        assert (
            masker.unmask("To <CN_MOBILE_1>, not <EMAIL_2>", masked.mapping)
            == "To 138 0013 8000, not <EMAIL_2>"
        )
        assert "maria" not in repr(masked)  # logs show reprs

    def test_a_text_s_own_placeholders_come_back(self) -> None:
        masker = Masker(mode="reversible")
        text = "<EMAIL_1> is maria@example.com, <EMAIL_2>, <A_1> <<EMAIL_1>>"
        masked = masker.mask(text)
        assert masker.unmask(masked) == text
        assert [finding.kind for finding in masked.findings] == ["email"]

    def test_only_the_kinds_asked_for(self) -> None:
        assert Masker(["email"]).mask(TEXT).text.count("[EMAIL]") == 2
        assert "138" in Masker(["email"]).mask(TEXT).text
        assert Masker(["phone"]).mask("13800138000").text == "[PHONE]"

    def test_many(self) -> None:
        masked = Masker(mode="reversible").mask_many(["a@b.com", "c@d.com"])
        assert [one.text for one in masked] == ["<EMAIL_1>", "<EMAIL_1>"]
        assert [one.text for one in Masker().mask_many(iter(["", "a@b.com"]))] == ["", "[EMAIL]"]
        assert Masker().mask_many([]) == []
        with pytest.raises(InvalidArgumentError, match="list"):
            Masker().mask_many("a@b.com")

    def test_lone_surrogates_are_no_way_out(self) -> None:
        masked = Masker().mask("\ud800 a@b.com \udfff")
        assert masked.text == "\ud800 [EMAIL] \udfff"
        assert masked.findings == [Finding("email", 2, 9)]
        stream = Masker().stream()
        assert stream.feed("\ud800 a@b.") + stream.feed("com \udfff") + stream.finish() == masked.text

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"kinds": ["emale"]}, "emale"),
            ({"kinds": "email"}, "list"),
            ({"mode": "shred"}, "reversible"),
            ({"mode": "hash"}, "key"),
            ({"mode": "hash", "key": b"short"}, "16"),
            ({"key": KEY}, "mode"),
        ],
    )
    def test_refusals_say_what_is_allowed(self, arguments: dict[str, object], told: str) -> None:
        with pytest.raises(InvalidArgumentError, match=told):
            Masker(**arguments)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError):
            Masker().mask(b"bytes")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError):
            Masker().unmask("<EMAIL_1>")


def in_pieces(
    masker: Masker, text: str, random: Random, longest: int
) -> tuple[str, list[Finding], dict[str, str]]:
    stream = masker.stream()
    out, at, shown = [], 0, 0
    while at < len(text):
        size = random.randint(1, longest)
        out.append(stream.feed(text[at : at + size]))
        at += size
        shown += len(out[-1])
    out.append(stream.finish())
    return "".join(out), stream.findings, stream.mapping


class TestStream:
    @pytest.mark.parametrize("mode", ["mask", "hash", "reversible", "drop"])
    def test_pieces_give_what_the_whole_gives(self, mode: masking.Mode, labelled: list[Sentence]) -> None:
        masker = Masker(mode=mode, key=KEY if mode == "hash" else None)
        random = Random(mode)
        for start in range(0, 1500, 5):
            text = random.choice(["", " ", "\n"]).join(
                sentence.text for sentence in labelled[start : start + 5]
            )
            masked = masker.mask(text)
            expected = (masked.text, masked.findings, masked.mapping)
            assert in_pieces(masker, text, random, random.choice([1, 3, 20, 200])) == expected

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [
                    *("138", "0013", "8000", " ", "-", ".", "@", "a", "b.com", "<EMAIL_1>", "<", "1", "2001:db8::1"),
                    *(":", "(", ")", "+86", "浙江省", "文三路", "478", "号", "京", "A12345", "１３８", "，", "\n"),
                    *("words ", "GB82", "WEST", "_", "\ud800", "E12345678"),
                ]
            ),
            max_size=40,
        ),
        st.integers(1, 30),
        st.randoms(use_true_random=False),
    )  # fmt: skip
    def test_rows_of_parts(self, parts: list[str], longest: int, random: Random) -> None:
        masker = Masker(mode="reversible")
        text = "".join(parts)
        masked = masker.mask(text)
        assert in_pieces(masker, text, random, longest) == (masked.text, masked.findings, masked.mapping)
        assert masker.unmask(masked) == text

    def test_little_is_held_back(self) -> None:
        stream = Masker().stream()
        assert stream.feed("The miller lives by the river, and his") == "The miller lives by the river,"
        stream = Masker().stream()
        released = 0
        for fed in range(1, 20_000):
            released += len(stream.feed("7"))
            assert fed - released <= 1300

    def test_a_second_text_begins_anew(self) -> None:
        stream = Masker().stream()
        assert stream.feed("1380013") + stream.finish() == "1380013"
        assert stream.feed("8000") + stream.finish() == "8000"


@pytest.mark.parametrize("unit", ["1", "@", "1 ", "a@", "1.", "+1 ", "(1", "4111 ", "路1号", "１"])
def test_a_megabyte_of_anything_is_quick(unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode()))
    start = time.perf_counter()
    Masker().mask(text)
    assert time.perf_counter() - start < 5  # a tenth of a second on an idle machine


def test_negatives_are_left_alone() -> None:
    random = Random(7)
    texts = [negative(random) for _ in range(2000)]
    touched = [text for text in texts if Masker().mask(text).findings]
    assert len(touched) <= 0.01 * len(texts), touched


class TestCommand:
    def test_texts_and_files(self, tmp_path: Path) -> None:
        assert headrace("mask", "Write to maria@example.com").stdout == "Write to [EMAIL]\n"
        file = tmp_path / "notes.txt"
        file.write_bytes("电话：138 0013 8000\r\nnothing\n\na@b.com".encode())
        done = headrace("mask", "--file", str(file))
        assert (
            done.stdout.encode().replace(b"\r\n", b"\n") == "电话：[CN_MOBILE]\nnothing\n\n[EMAIL]".encode()
        )
        piped = headrace(
            "mask", "--file", "-", "--kinds", "email, phone", "--mode", "drop", stdin="a@b.com 1.2.3.4\n"
        )
        assert piped.stdout == " 1.2.3.4\n"

    def test_json_says_what_was_found(self) -> None:
        done = headrace("mask", "--json", "--mode", "reversible", "call 13800138000", "nothing")
        first, second = map(json.loads, done.stdout.splitlines())
        assert first == {
            "text": "call <CN_MOBILE_1>",
            "findings": [{"kind": "cn_mobile", "begin": 5, "end": 16}],
            "mapping": {"<CN_MOBILE_1>": "13800138000"},
        }
        assert second == {"text": "nothing", "findings": []}

    def test_kinds_may_stand_together_or_apart(self) -> None:
        text = "a@b.com 1.2.3.4 DE89370400440532013000"
        wanted = "[EMAIL] 1.2.3.4 [IBAN]\n"
        for kinds in (["--kinds", "email,iban"], ["--kinds", "email", "--kinds", " iban,"]):
            assert headrace("mask", *kinds, text).stdout == wanted

    def test_the_key_comes_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HEADRACE_MASK_KEY", raising=False)
        assert "HEADRACE_MASK_KEY" in fails("mask", "--mode", "hash", "a@b.com")
        monkeypatch.setenv("HEADRACE_MASK_KEY", KEY.decode())
        expected = Masker(mode="hash", key=KEY).mask("a@b.com").text
        assert headrace("mask", "--mode", "hash", "a@b.com").stdout == expected + "\n"

    def test_refusals_are_one_line(self, tmp_path: Path) -> None:
        assert "no text" in fails("mask")
        assert "emale" in fails("mask", "--kinds", "emale", "x")
        assert "emale" in fails("mask", "--kinds", "email", "--kinds", "emale", "x")
        assert "--kinds" in fails("mask", "--kinds", ",", "x")
        assert "missing.txt" in fails("mask", "--file", str(tmp_path / "missing.txt"))
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        assert "not UTF-8" in fails("mask", "--file", str(tmp_path / "binary"))

    def test_help_names_every_kind(self) -> None:
        shown = headrace("mask", "--help").stdout
        assert all(kind in shown for kind in masking.KINDS)
