"""The second tier of masking: names by a model that tags, by presidio where it is installed, whole and streamed."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import pytest

import headrace
import headrace.toy
from headrace.errors import InvalidArgumentError
from headrace.security.masking import Finding, Masker
from headrace.security.second_tier import presidio, tagged

NAMES = ("Maria Smith", "Smith", "王芳", "\U0001f30a")


def names(text: str) -> Iterable[Finding]:
    """A tier whose answers are known: it finds NAMES, and a part of an e-mail address besides."""
    for name in (*NAMES, "maria"):
        at = text.find(name)
        while at >= 0:
            yield Finding("person", at, at + len(name))
            at = text.find(name, at + 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[headrace.Model]:
    with headrace.load(headrace.toy.model("tag", tmp_path_factory.mktemp("toys") / "tag")) as found:
        yield found


TEXT = (
    "Maria Smith (maria@example.com) rang. Smith's card is 4111 1111 1111 1111! 王芳和Maria Smith\U0001f30a"
)


class TestWithTheRules:
    def test_the_rules_go_first_and_nothing_is_masked_twice(self) -> None:
        masked = Masker(second=names).mask(TEXT)
        assert masked.text == "[PERSON] ([EMAIL]) rang. [PERSON]'s card is [CARD]! [PERSON]和[PERSON][PERSON]"
        places = [(each.begin, each.end) for each in masked.findings]
        assert places == sorted(places)
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(places))

    @pytest.mark.parametrize(
        ("places", "masked"),
        [
            ([(0, 29)], "[PERSON] [EMAIL] rang Ann."),  # over the address and what stands before it
            ([(12, 34)], "Maria Smith [EMAIL] [PERSON] Ann."),
            ([(0, 38)], "[PERSON] [EMAIL] [PERSON]."),
            ([(12, 29)], "Maria Smith [EMAIL] rang Ann."),
            ([(0, 8), (6, 11)], "[PERSON][PERSON] [EMAIL] rang Ann."),
            ([(11, 12), (29, 30)], "Maria Smith[PERSON][EMAIL][PERSON]rang Ann."),  # its own word is taken
        ],
    )
    def test_what_is_partly_known_does_not_stay(self, places: list[tuple[int, int]], masked: str) -> None:
        text = "Maria Smith maria@example.com rang Ann."
        masker = Masker(second=lambda _: [Finding("person", *place) for place in places])
        assert masker.mask(text).text == masked

    def test_many_findings_take_their_number_s_time(self) -> None:
        def seconds(count: int) -> float:
            text = "Maria a@b.de, " * count
            found = [Finding("person", 14 * i, 14 * i + 5) for i in range(count)]
            masker = Masker(second=lambda _: found)
            start = time.process_time()
            assert masker.mask(text).text == "[PERSON] [EMAIL], " * count
            return time.process_time() - start

        assert min(seconds(8000) for _ in range(3)) < 6 * min(seconds(4000) for _ in range(3))

    def test_every_mode(self) -> None:
        masker = Masker(mode="reversible", second=names)
        masked = masker.mask(TEXT)
        assert masked.text.startswith("<PERSON_1> (<EMAIL_1>) rang. <PERSON_2>'s")
        assert masker.unmask(masked) == TEXT
        codes = Masker(None, "hash", "k" * 16, names).mask("Maria Smith, Maria Smith, Smith").text.split(", ")
        assert codes[0] == codes[1] != codes[2]
        assert codes[0].startswith("[PERSON:")
        assert Masker(mode="drop", second=names).mask("I am Maria Smith.").text == "I am ."

    @pytest.mark.parametrize("size", [1, 3, 7, 100])
    def test_streams_by_sentences(self, size: int) -> None:
        for mode in ("mask", "reversible"):
            masker = Masker(mode=mode, second=names)  # type: ignore[arg-type]
            stream = masker.stream()
            parts = [stream.feed(TEXT[at : at + size]) for at in range(0, len(TEXT), size)]
            whole = masker.mask(TEXT)
            assert "".join(parts) + stream.finish() == whole.text
            assert stream.findings == whole.findings
            assert stream.mapping == whole.mapping
            if size == 1:
                assert any(parts)  # it comes out before the end

    def test_a_text_without_a_sentence_s_end_comes_out_too(self) -> None:
        stream = Masker(second=names).stream()
        text = "and Maria Smith said " * 300
        parts = [stream.feed(text[at : at + 50]) for at in range(0, len(text), 50)]
        held = [sum(map(len, parts[: i + 1])) for i in range(len(parts))]
        assert held[-1] > 0
        assert "Smith" not in "".join(parts) + stream.finish()


class TestTagged:
    def test_it_masks_what_the_model_finds(self, model: headrace.Model) -> None:
        text = "\U0001f30a Maria Smith runs the mill in Paris."
        [entities] = model.tag(text, aggregation="max")
        found = Masker(second=tagged(model, min_score=0)).mask(text).findings
        kinds = {"PER": "person", "LOC": "location"}
        assert [(f.kind, f.begin, f.end) for f in found] == [
            (kinds[e.label], e.start, e.end) for e in entities
        ]
        assert found
        some = max(entity.score for entity in entities)
        assert Masker(second=tagged(model, min_score=some + 0.01)).mask(text).findings == []
        assert {
            f.kind for f in Masker(second=tagged(model, {"PER": "name"}, min_score=0)).mask(text).findings
        } <= {"name"}

    def test_odd_texts(self, model: headrace.Model) -> None:
        masker = Masker(second=tagged(model, min_score=0))
        assert masker.mask("").text == ""
        assert masker.mask(" \n").text == " \n"
        assert "\ud800" in masker.mask("a \ud800 mill").text or masker.mask("a \ud800 mill").findings

    def test_a_model_that_has_no_names_is_refused(self, model: headrace.Model) -> None:
        with pytest.raises(InvalidArgumentError, match=r"none of the labels.*its labels are LOC, O, PER"):
            tagged(model, {"MONEY": "money"})
        with (
            headrace.load(headrace.toy.model("classify")) as other,
            pytest.raises(InvalidArgumentError, match="tag"),
        ):
            tagged(other)

    def test_the_command(self, model: headrace.Model) -> None:
        done = run("--model", model.info.path, "Maria Smith, maria@example.com")
        assert done.returncode == 0, done.stderr
        assert "[EMAIL]" in done.stdout


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace.cli", "mask", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_without_the_extra() -> None:
    program = (
        "import sys; sys.modules['presidio_analyzer'] = None; from headrace.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "mask", "--presidio", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "pip install 'headrace[presidio]'" in done.stderr


class TestPresidio:
    def test_numbers_of_other_countries_and_the_model_s_names(self, model: headrace.Model) -> None:
        text = "My SSN is 536-90-4399, my IBAN GB82 WEST 1234 5698 7654 32, says Maria Smith in Paris."
        found = Masker(second=presidio(min_score=0.4)).mask(text)
        assert "536-90-4399" not in found.text
        assert {"us_ssn", "iban"} <= {each.kind for each in found.findings}
        assert "Maria" in found.text
        by_model = Masker(second=presidio(model, min_score=0.0)).mask(text).findings
        expected = {each.kind for each in tagged(model, min_score=0)(text)}
        assert expected
        assert expected <= {each.kind for each in by_model} | {"iban", "us_ssn"}

    def test_a_text_longer_than_spacy_s_limit(self) -> None:
        text = "the mill " * 120_000 + "has 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"
        assert Masker(second=presidio(entities=["CRYPTO"])).mask(text).text.endswith("has [CRYPTO]")

    def test_what_it_does_not_have(self) -> None:
        with pytest.raises(InvalidArgumentError, match="NO_SUCH"):
            presidio(entities=["NO_SUCH"])
        chosen = presidio(entities=["US_SSN"], min_score=0.4)
        assert {each.kind for each in chosen("My SSN is 536-90-4399")} == {"us_ssn"}
