"""Intervals cover the truth as often as they say, and leave undefined scores out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.intervals import LEAST_IMAGES, bootstrap_interval, bootstrap_intervals

# Shapes that scores have: bounded, skewed towards 1 (a good readout's SPC), towards 0 (its MAE).
SHAPES = {
    "symmetric": (lambda g, size: g.normal(0.5, 0.1, size), 0.5),
    "good SPC": (lambda g, size: g.beta(9.0, 1.0, size), 0.9),
    "small MAE": (lambda g, size: g.beta(2.0, 8.0, size), 0.2),
}


@pytest.mark.parametrize("images", [8, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_95_percent_intervals_cover_the_truth_93_to_97_percent_of_the_time(shape, images):
    draw, truth = SHAPES[shape]
    studies = 1500
    values = draw(np.random.default_rng([images, len(shape)]), (images, studies))
    low, high = bootstrap_intervals(values).T
    covered = np.mean((low <= truth) & (truth <= high))
    assert 0.93 <= covered <= 0.97


def test_paired_differences_cover_and_are_tighter_than_unpaired_ones():
    generator = np.random.default_rng(5)
    difficulty = generator.normal(0.0, 0.2, (64, 1500))  # shared by both readouts of an image
    one = 0.6 + difficulty + generator.normal(0.0, 0.05, difficulty.shape)
    other = 0.5 + difficulty + generator.normal(0.0, 0.05, difficulty.shape)
    low, high = bootstrap_intervals(one - other).T
    assert 0.93 <= np.mean((low <= 0.1) & (high >= 0.1)) <= 0.97
    apart = bootstrap_intervals(one)
    assert np.mean(high - low) < 0.5 * np.mean(apart[:, 1] - apart[:, 0])


def test_undefined_images_are_left_out():
    generator = np.random.default_rng(0)
    values = generator.normal(0.5, 0.1, 40)
    with_gaps = np.concatenate([values, np.full(24, np.nan)])
    generator.shuffle(with_gaps)
    kept = with_gaps[np.isfinite(with_gaps)]
    assert bootstrap_interval(with_gaps) == bootstrap_interval(kept)


def test_too_few_images_have_no_interval():
    assert np.isnan(bootstrap_interval(np.linspace(0, 1, LEAST_IMAGES - 1))).all()
    assert np.isnan(bootstrap_interval(np.full(10, np.nan))).all()
    assert np.isfinite(bootstrap_interval(np.linspace(0, 1, LEAST_IMAGES))).all()


def test_equal_scores_have_an_interval_without_width():
    assert bootstrap_interval(np.full(20, 0.3)) == pytest.approx((0.3, 0.3))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(LEAST_IMAGES, 30),
    st.integers(0, 2**32 - 1),
    st.floats(-2, 2),
    st.floats(0.1, 10),
)
def test_intervals_move_and_stretch_with_the_scores(images, seed, shift, scale):
    values = np.random.default_rng(seed).normal(0.0, 1.0, images)
    low, high = bootstrap_interval(values)
    assert low <= values.mean() <= high
    moved = bootstrap_interval(shift + scale * values)
    np.testing.assert_allclose(moved, (shift + scale * low, shift + scale * high), atol=1e-6)


def test_close_to_student_for_normal_scores():
    from scipy import stats

    values = np.random.default_rng(1).normal(0.5, 0.1, (100, 50))
    ours = bootstrap_intervals(values)
    error = values.std(axis=0, ddof=1) / 10
    theirs = np.stack(stats.t.interval(0.95, 99, values.mean(axis=0), error), axis=1)
    np.testing.assert_allclose(ours, theirs, atol=0.35 * error.max())
