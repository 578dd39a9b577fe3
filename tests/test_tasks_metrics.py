"""Scores of maps against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import fbeta_score, jaccard_score, mean_absolute_error

from extract.tasks.maps.metrics import (
    SaliencyScores,
    SegmentationScores,
    adaptive_f_measure,
    adaptive_threshold,
    f_measure,
    f_measure_curve,
)
from extract.tasks.maps.pairs.masks import VOID

BETA = np.sqrt(0.3)
MAPS = arrays(np.float32, (5, 7), elements=st.floats(0, 1, width=32))
MASKS = arrays(np.bool_, (5, 7))


@given(MASKS, MASKS)
def test_f_measure_is_that_of_scikit_learn(found, truth):
    expected = fbeta_score(truth.ravel(), found.ravel(), beta=BETA, zero_division=0)
    assert f_measure(found, truth) == pytest.approx(expected)


def test_f_measure_by_hand():
    # 4 found, 3 of them right, 6 to find: P = .75, R = .5, F = 1.3 P R / (.3 P + R) = .67241...
    truth = np.array([[1, 1, 1, 1, 1, 1, 0, 0]], bool)
    found = np.array([[1, 1, 1, 0, 0, 0, 1, 0]], bool)
    assert f_measure(found, truth) == pytest.approx(1.3 * 0.75 * 0.5 / (0.3 * 0.75 + 0.5))


def test_adaptive_threshold_is_twice_the_mean_but_no_more_than_the_maximum():
    assert adaptive_threshold(np.array([[0.0, 0.0, 0.2, 1.0]])) == pytest.approx(0.6)
    assert adaptive_threshold(np.full((2, 2), 0.75)) == 0.75


def test_adaptive_f_measure_by_hand():
    saliency = np.array([[0.0, 0.1, 0.5, 1.0]])  # mean .4, threshold .8: only the last is found
    truth = np.array([[0, 0, 1, 1]], bool)
    assert adaptive_f_measure(saliency, truth) == pytest.approx(1.3 * 1 * 0.5 / (0.3 * 1 + 0.5))
    flat = np.full((1, 4), 0.5)  # all is found: P = .5, R = 1
    assert adaptive_f_measure(flat, truth) == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))


@settings(max_examples=25)
@given(MAPS, MASKS, st.integers(1, 255))
def test_the_curve_is_the_f_measure_at_each_threshold(saliency, truth, step):
    found = np.floor(saliency.astype(np.float64) * 255) >= step
    assert f_measure_curve(saliency, truth)[step - 1] == pytest.approx(f_measure(found, truth))


@given(MAPS, MASKS)
def test_mae_is_that_of_scikit_learn(saliency, truth):
    scores = SaliencyScores()
    scores.add(saliency, truth.astype(np.uint8))
    expected = mean_absolute_error(truth.ravel().astype(float), saliency.ravel())
    assert scores.scores()["mae"] == pytest.approx(expected, abs=1e-7)


def test_one_threshold_serves_the_whole_set():
    # Perfect at .5 and at .9: no threshold is perfect for both, whatever the best of each.
    truth = np.array([[0, 1]], np.uint8)
    scores = SaliencyScores()
    scores.add(np.array([[0.2, 0.5]]), truth)
    scores.add(np.array([[0.7, 0.9]]), truth)
    half_found = 1.3 * 0.5 / (0.3 * 0.5 + 1)
    assert scores.scores()["f_measure_maximum"] == pytest.approx((1 + half_found) / 2)


@settings(max_examples=50)
@given(
    arrays(np.int64, (4, 6), elements=st.integers(0, 2)),
    arrays(np.uint8, (4, 6), elements=st.sampled_from([0, 1, 2, VOID])),
)
def test_iou_is_that_of_scikit_learn(predicted, truth):
    counted = truth != VOID
    if not counted.any():
        return
    scores = SegmentationScores(("a", "b", "c"))
    for rows in (slice(0, 2), slice(2, 4)):  # two images make one score
        scores.add(predicted[rows], truth[rows])
    found = scores.scores()
    pair = truth[counted].astype(int), predicted[counted]
    present = np.unique(np.concatenate(pair))
    expected = jaccard_score(*pair, labels=present, average=None, zero_division=0)
    assert found["miou_percent"] == pytest.approx(100 * expected.mean())
    for label, value in zip(present, expected, strict=True):
        assert found["iou_percent:" + "abc"[label]] == pytest.approx(100 * value)


def test_a_class_nowhere_seen_is_left_out_of_the_mean():
    scores = SegmentationScores(("sky", "ground", "cow"))
    scores.add(np.array([[0, 1, 1, 0]]), np.array([[0, 1, 0, VOID]], np.uint8))
    found = scores.scores()
    assert found["iou_percent:sky"] == pytest.approx(50)
    assert found["iou_percent:ground"] == pytest.approx(50)
    assert np.isnan(found["iou_percent:cow"])
    assert found["miou_percent"] == pytest.approx(50)
