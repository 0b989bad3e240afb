"""Figures of quality are those of scikit-learn, scipy and seqeval; intervals cover, tests tell real differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import seqeval.metrics
import sklearn.metrics

from headrace.lifecycle.metrics import classification, detection, entities, ranking, resampling

CHANCE = np.random.default_rng(7)
CLASSES = 4
TRUTH = CHANCE.integers(0, CLASSES, 500)
FOUND = np.where(CHANCE.random(500) < 0.7, TRUTH, CHANCE.integers(0, CLASSES, 500))


@pytest.mark.parametrize("classes", [CLASSES, CLASSES + 1])
def test_averages_and_classes_are_those_of_scikit_learn(classes: int) -> None:
    """Also where the model knows a class that no row has."""
    found = classification.summary(TRUTH, FOUND, classes)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(TRUTH, FOUND))
    for average in ("macro", "weighted"):
        expected = sklearn.metrics.precision_recall_fscore_support(TRUTH, FOUND, average=average)
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            assert found[f"{name}_{average}"] == pytest.approx(value)
    each = classification.per_class(classification.confusion(TRUTH, FOUND, CLASSES))
    expected = sklearn.metrics.precision_recall_fscore_support(TRUTH, FOUND)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert each[name] == pytest.approx(values)
    matrix = classification.confusion(TRUTH, FOUND, CLASSES)
    assert (matrix == sklearn.metrics.confusion_matrix(TRUTH, FOUND)).all()


@pytest.mark.parametrize("digits", [1, 6])
def test_areas_are_those_of_scikit_learn(digits: int) -> None:
    """With few digits many scores are equal."""
    is_true = TRUTH == 0
    scores = (is_true * 0.3 + CHANCE.random(500)).round(digits)
    assert classification.roc_auc(is_true, scores) == pytest.approx(
        sklearn.metrics.roc_auc_score(is_true, scores)
    )
    expected = sklearn.metrics.average_precision_score(is_true, scores)
    assert classification.average_precision(is_true, scores) == pytest.approx(expected)
    assert np.isnan(classification.roc_auc(np.ones(3, bool), scores[:3]))
    assert np.isnan(classification.average_precision(np.zeros(3, bool), scores[:3]))


def test_reliability_is_that_of_scikit_learn() -> None:
    confidence = CHANCE.random(1000) * 0.999 + 0.0005
    right = CHANCE.random(1000) < confidence**2
    curve, error = classification.reliability(right, confidence)
    accuracy, mean = sklearn.calibration.calibration_curve(right, confidence, n_bins=10)
    assert [point["accuracy"] for point in curve] == pytest.approx(accuracy)
    assert [point["confidence"] for point in curve] == pytest.approx(mean)
    weights = np.array([point["rows"] for point in curve]) / 1000
    assert error == pytest.approx((weights * np.abs(accuracy - mean)).sum())
    assert classification.reliability(np.ones(5), np.ones(5))[1] == 0


def test_rankings_and_numbers() -> None:
    relevance, scores = CHANCE.integers(0, 4, 30).astype(float), CHANCE.random(30)
    for k in (5, 10, 30):
        expected = sklearn.metrics.ndcg_score(relevance[None], scores[None], k=k)
        assert ranking.ndcg(relevance, scores, k) == pytest.approx(expected)
    first, second = CHANCE.integers(0, 9, 200).astype(float), CHANCE.integers(0, 9, 200).astype(float)
    assert ranking.spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
    figures = ranking.regression(first, second)
    assert figures["r2"] == pytest.approx(sklearn.metrics.r2_score(first, second))
    assert figures["rmse"] == pytest.approx(sklearn.metrics.root_mean_squared_error(first, second))
    assert figures["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(first, second))
    assert np.isnan(ranking.pearson(np.ones(3), first[:3]))
    found = ranking.retrieval(np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]]), [{2}, {0, 2}])
    assert found["mrr@10"].tolist() == [0.5, 1.0]
    assert found["recall@1"].tolist() == [0.0, 0.5]
    assert found["recall@5"].tolist() == [1.0, 1.0]


def random_tags(schema: str) -> list[list[str]]:
    marks = {"IOB": "BI", "IOBES": "BIES"}[schema]
    tags = ["O", *(f"{mark}-{kind}" for mark in marks for kind in ("PER", "LOC", "A-B"))]
    return [CHANCE.choice(tags, CHANCE.integers(1, 12)).tolist() for _ in range(300)]


@pytest.mark.parametrize("schema", ["IOB", "IOBES"])
def test_entities_are_those_of_seqeval(schema: str) -> None:
    """Random tags: whatever a model may say, also what no schema allows."""
    truth, found = random_tags(schema), random_tags(schema)
    found = [(one + ["O"] * len(other))[: len(other)] for one, other in zip(found, truth, strict=True)]
    found = [one if i % 2 else other for i, (one, other) in enumerate(zip(found, truth, strict=True))]
    for tags in truth:
        assert entities.spans_of(tags) == seqeval.metrics.sequence_labeling.get_entities(tags)
    scores = entities.score(*([entities.spans_of(tags) for tags in side] for side in (truth, found)))
    for average in ("micro", "macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            expected = getattr(seqeval.metrics, f"{name}_score")(truth, found, average=average)
            assert scores[average][name] == pytest.approx(expected)
    assert scores["micro"]["support"] == sum(len(entities.spans_of(tags)) for tags in truth)


def test_intervals_of_confusions_are_those_of_resampled_rows() -> None:
    matrix = classification.confusion(TRUTH, FOUND, CLASSES)
    quick = resampling.confusion_intervals(matrix, draws=4000)

    def recall(places: np.ndarray) -> float:
        return classification.summary(TRUTH[places], FOUND[places], CLASSES)["recall_macro"]

    slow = resampling.statistic_interval(recall, len(TRUTH), draws=1500)
    assert quick["recall_macro"] == pytest.approx(slow, abs=0.006)
    mean = resampling.mean_interval((TRUTH == FOUND).astype(float), draws=4000)
    assert quick["accuracy"] == pytest.approx(mean, abs=0.006)


def test_a_real_difference_is_told_from_none() -> None:
    better = np.where(CHANCE.random(500) < 0.5, TRUTH, FOUND)
    found = resampling.compare_classes(TRUTH, FOUND, better, CLASSES)
    assert found["accuracy"].is_real
    assert found["accuracy"].p < 0.01
    assert found["accuracy"].value == pytest.approx((better == TRUTH).mean() - (FOUND == TRUTH).mean())
    assert "a real difference" in str(found["accuracy"])
    other = FOUND.copy()
    wrong, right = np.flatnonzero(FOUND != TRUTH)[:20], np.flatnonzero(FOUND == TRUTH)[:18]
    other[wrong], other[right] = TRUTH[wrong], (TRUTH[right] + 1) % CLASSES
    none = resampling.compare_classes(TRUTH, FOUND, other, CLASSES)
    assert not none["accuracy"].is_real
    assert none["accuracy"].p > 0.1
    means = resampling.compare_means("hits", (FOUND == TRUTH), (better == TRUTH))
    assert means.value == pytest.approx(found["accuracy"].value)
    assert (means.low, means.high) == pytest.approx(
        (found["accuracy"].low, found["accuracy"].high), abs=0.006
    )


def test_mcnemar_is_the_binomial_test() -> None:
    first, second = CHANCE.random(200) < 0.8, CHANCE.random(200) < 0.7
    only = [int((first & ~second).sum()), int((second & ~first).sum())]
    expected = scipy.stats.binomtest(only[0], sum(only)).pvalue
    assert resampling.mcnemar(first, second) == pytest.approx(expected)
    assert resampling.mcnemar(first, first) == 1


def test_mean_average_precision_of_boxes() -> None:
    """By hand: of two cats one is found at a score of 0.9 and one at 0.6, with a miss between; the dog is not found."""
    truth = [
        [("cat", (0, 0, 10, 10)), ("dog", (50, 50, 60, 60))],
        [("cat", (0, 0, 10, 10))],
    ]
    found = [
        [("cat", 0.9, (0, 0, 10, 8)), ("cat", 0.7, (0, 0, 10, 10)), ("bird", 0.99, (0, 0, 10, 10))],
        [("cat", 0.6, (0, 0, 10, 11)), ("dog", 0.5, (50, 50, 60, 60))],
    ]
    # Cats: right, wrong (met before), right: precision 1, then 2/3 at full recall. Dogs: none right.
    assert detection.mean_average_precision(found, truth) == pytest.approx(((1 / 2 + 2 / 3 / 2) + 0) / 2)
    # At 0.85 the first overlaps too little (0.8), so the second is right.
    assert detection.mean_average_precision(found, truth, 0.85) == pytest.approx((2 / 3) / 2)
    assert detection.mean_average_precision([[], []], truth) == 0
    assert np.isnan(detection.mean_average_precision([[]], [[]]))
