"""Every task against transformers and sentence-transformers in f32, on tiny random checkpoints that they write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import task_models
import torch
import transformers
from sentence_transformers import CrossEncoder

import headrace

TOLERANCE = 2e-5  # docs/numerics.md
TEXTS = [
    "A headrace leads the water to the wheel.",
    "Maria Smith, of Paris (France), runs Mill No. 5!",
    "é",
    "unbelievably long-winded tokenization " * 2,
]
PAIRS = [("A mill.", "It stands in Paris."), (TEXTS[1], TEXTS[3]), ("x", "y")]


@pytest.fixture(scope="module", params=task_models.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tasks")


def reference(path: Path, kind: str) -> tuple[Any, Any]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    return tokenizer, getattr(transformers, kind).from_pretrained(path).eval()


def logits_of(tokenizer: Any, model: Any, *texts: str) -> Any:
    with torch.no_grad():
        return model(**tokenizer(*texts, return_tensors="pt", truncation=True))


class TestClassify:
    @pytest.mark.parametrize("problem", [None, "multi_label_classification", "regression"])
    def test_scores(self, family: str, directory: Path, problem: str | None) -> None:
        kind = "SequenceClassification"
        path = task_models.make(directory, family, kind, num_labels=4, problem_type=problem)
        tokenizer, model = reference(path, f"AutoModelFor{kind}")
        activate = {None: lambda x: x.softmax(-1), "regression": lambda x: x}.get(problem, torch.sigmoid)
        with headrace.load(path, precision="f32") as ours:
            assert ours.info.task == "classify"
            assert ours.info.labels == tuple(model.config.id2label[i] for i in range(4))
            for inputs, arguments in ((TEXTS, [(text,) for text in TEXTS]), (PAIRS, PAIRS)):
                for told, given in zip(ours.classify(inputs), arguments, strict=True):
                    expected = activate(logits_of(tokenizer, model, *given).logits[0])
                    scores = {label.label: label.score for label in told}
                    got = [scores[model.config.id2label[i]] for i in range(4)]
                    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)
                    assert [label.score for label in told] == sorted(scores.values(), reverse=True)
            assert [len(labels) for labels in ours.classify(TEXTS, top_k=2)] == [2] * len(TEXTS)

    def test_alone_and_in_company_bit_for_bit(self, family: str, directory: Path) -> None:
        path = task_models.make(directory, family, "SequenceClassification", num_labels=4, problem_type=None)
        with headrace.load(path, threads=2, precision="f32") as ours:
            together = ours.classify(TEXTS * 20)
            assert together == [ours.classify(text)[0] for text in TEXTS] * 20


class TestRerank:
    @pytest.mark.parametrize("activation", ["Sigmoid", "Identity"])
    def test_scores(self, family: str, directory: Path, activation: str) -> None:
        kind = "SequenceClassification"
        plain = task_models.make(directory, family, kind, num_labels=1)
        path = directory / f"{family}-cross-{activation}"
        encoder = CrossEncoder(
            str(plain), activation_fn=getattr(torch.nn, activation)(), max_length=96, device="cpu"
        )
        encoder.save_pretrained(str(path))
        query = "where is the mill?"
        documents = [*TEXTS, "the mill " * 100]
        expected = encoder.predict([(query, document) for document in documents])
        with headrace.load(path, precision="f32") as ours:
            assert ours.info.task == "rerank"
            ranked = ours.rerank(query, documents, truncate=True)
            scores = {entry.index: entry.score for entry in ranked}
            np.testing.assert_allclose(
                [scores[i] for i in range(len(documents))], expected, rtol=0, atol=TOLERANCE
            )
            assert [entry.score for entry in ranked] == sorted(scores.values(), reverse=True)
            assert all(documents[entry.index] == entry.document for entry in ranked)
            assert ours.rerank(query, documents, truncate=True, top_n=2) == ranked[:2]


class TestFillMask:
    def test_candidates(self, family: str, directory: Path) -> None:
        path = task_models.make(directory, family, "MaskedLM")
        tokenizer, model = reference(path, "AutoModelForMaskedLM")
        mask = tokenizer.mask_token
        for text in (f"The {mask} turns the wheel.", f"{mask}of {mask}, {mask}"):
            encoded = tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                probabilities = model(**encoded).logits[0].softmax(-1)
            places = (encoded["input_ids"][0] == tokenizer.mask_token_id).nonzero().flatten()
            with headrace.load(path, precision="f32") as ours:
                assert ours.info.task == "fill_mask"
                told = ours.fill_mask(text, top_k=7)
            assert len(told) == len(places)
            for candidates, place in zip(told, places, strict=True):
                best = probabilities[place].topk(7)
                np.testing.assert_allclose([c.score for c in candidates], best.values, rtol=0, atol=TOLERANCE)
                assert [c.id for c in candidates] == best.indices.tolist()
                assert [c.text for c in candidates] == [tokenizer.decode([c.id]) for c in candidates]


def test_masks_in_a_batch_are_those_alone(directory: Path) -> None:
    """Several requests at a time: the picked places of each go to its own answer."""
    import asyncio

    path = task_models.make(directory, "bert", "MaskedLM")
    texts = [f"{'the mill ' * i}[MASK] turns{' [MASK]' * (i % 3)}" for i in range(12)]
    with headrace.load(path, precision="f32") as ours:
        alone = [ours.fill_mask(text) for text in texts]

        async def together() -> list[Any]:
            return await asyncio.gather(*(ours.afill_mask(text) for text in texts))

        assert asyncio.run(together()) == alone


LONG = " ".join(
    [TEXTS[1], "The mill stands still, water turns the wheel of Maria Smith's mill in Paris-Nord."] * 6
)


class TestTag:
    LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC")

    # Of byte-level vocabularies, whose words transformers finds by a heuristic.
    @pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
    @pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
    def test_entities(self, family: str, directory: Path, strategy: str) -> None:
        kind = "TokenClassification"
        id2label = dict(enumerate(self.LABELS))
        path = task_models.make(
            directory, family, kind, id2label=id2label, label2id={v: k for k, v in id2label.items()}
        )
        tokenizer, model = reference(path, f"AutoModelFor{kind}")
        expected_of = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer)
        texts = [*TEXTS, "水车 turns 水车."]
        with headrace.load(path, precision="f32") as ours:
            assert ours.info.task == "tag"
            for text, told in zip(texts, ours.tag(texts, aggregation=strategy), strict=True):
                same_entities(told, expected_of(text, aggregation_strategy=strategy), text)
            if strategy != "none":  # windows, which the pipeline has for the others only
                expected = expected_of(LONG, aggregation_strategy=strategy, stride=20)
                same_entities(ours.tag(LONG, aggregation=strategy, stride=20)[0], expected, LONG)
            everything = ours.tag(texts[0], aggregation="none", ignore_labels=[])[0]
            same_entities(everything, expected_of(texts[0], ignore_labels=[]), texts[0])


def same_entities(told: list[headrace.Entity], expected: list[dict[str, Any]], text: str) -> None:
    def place(entity: dict[str, Any]) -> tuple[str, int, int]:
        return entity.get("entity_group") or entity["entity"], entity["start"], entity["end"]

    assert [(e.label, e.start, e.end) for e in told] == [place(entity) for entity in expected]
    scores = [entity["score"] for entity in expected]
    np.testing.assert_allclose([e.score for e in told], scores, rtol=0, atol=TOLERANCE)
    assert all(e.text == text[e.start : e.end] for e in told)


class TestAnswer:
    @pytest.mark.parametrize("question", ["Who runs the mill?", "Where, in Paris?"])
    @pytest.mark.parametrize("context", [TEXTS[0], TEXTS[1], LONG])
    def test_spans(self, family: str, directory: Path, question: str, context: str) -> None:
        path = task_models.make(directory, family, "QuestionAnswering")
        tokenizer, model = reference(path, "AutoModelForQuestionAnswering")
        with headrace.load(path, precision="f32") as ours:
            assert ours.info.task == "answer"
            for top_k, longest in ((1, 15), (5, 4)):
                expected, no_answer = question_answering(
                    tokenizer, model, question, context, top_k=top_k, longest=longest, window=48, stride=16
                )
                told = ours.answer(
                    question,
                    context,
                    top_k=top_k,
                    max_answer_tokens=longest,
                    window=48,
                    stride=16,
                    whole_words=False,
                )
                assert [(s.start, s.end) for s in told.spans] == [place for place, _ in expected]
                scores = [score for _, score in expected]
                np.testing.assert_allclose([s.score for s in told.spans], scores, rtol=0, atol=TOLERANCE)
                np.testing.assert_allclose(told.no_answer_score, no_answer, rtol=0, atol=TOLERANCE)
                assert told.best == told.spans[0]
                assert all(span.text == context[span.start : span.end] for span in told.spans)

    def test_answers_grow_to_words(self, directory: Path) -> None:
        path = task_models.make(directory, "bert", "QuestionAnswering")
        with headrace.load(path, precision="f32") as ours:
            for context in (TEXTS[3], "1987水车long-winded"):
                tokens = ours.answer("x", context, top_k=20, whole_words=False).spans
                words = ours.answer("x", context, top_k=20).spans
                tokenizer, _ = reference(path, "AutoModelForQuestionAnswering")
                encoded = tokenizer.backend_tokenizer.encode(context)
                words_of = {word for word in encoded.word_ids if word is not None}
                borders = {place for word in words_of for place in encoded.word_to_chars(word)}
                assert all(s.start in borders and s.end in borders for s in words)
                assert any(s.start not in borders or s.end not in borders for s in tokens)


def question_answering(
    tokenizer: Any,
    model: Any,
    question: str,
    context: str,
    *,
    top_k: int,
    longest: int,
    window: int,
    stride: int,
) -> tuple[list[tuple[tuple[int, int], float]], float]:
    """The question-answering pipeline's logic as transformers 4 had it (version 5 has none), in plain loops.

    One place that several windows hold counts once, with its best score; the pipeline listed it several times.
    """
    encoded = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=window,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    best: dict[tuple[int, int], float] = {}
    no_answer = 1e6
    for i, ids in enumerate(encoded["input_ids"]):
        names = [name for name in ("token_type_ids", "attention_mask") if name in encoded]
        with torch.no_grad():
            output = model(
                input_ids=torch.tensor([ids]), **{name: torch.tensor([encoded[name][i]]) for name in names}
            )
        allowed = np.array([sequence == 1 for sequence in encoded.sequence_ids(i)])
        allowed[0] = True  # [CLS]: there is no answer
        shares = []
        for logits in (output.start_logits, output.end_logits):
            masked = np.where(allowed, logits[0].numpy(), -10000.0)
            powers = np.exp(masked - masked.max())
            shares.append(powers / powers.sum())
        start, end = shares
        no_answer = min(no_answer, float(start[0] * end[0]))
        offsets = encoded["offset_mapping"][i]
        for a in range(1, len(ids)):
            for b in range(a, min(a + longest, len(ids))):
                if allowed[a] and allowed[b]:
                    place = (offsets[a][0], offsets[b][1])
                    best[place] = max(best.get(place, 0.0), float(start[a] * end[b]))
    ranked = sorted(best.items(), key=lambda entry: -entry[1])[:top_k]
    return ranked, no_answer
