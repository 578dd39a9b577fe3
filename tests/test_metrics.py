"""SPC and MAE against SciPy, and the values a constant readout must have."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import ConstantInputWarning, spearmanr

from data.targets import PATTERNS, position_map
from probe.metrics import METRICS, centred_ranks, mean_absolute_error, spearman, spearman_torch


def scipy_spc(maps: np.ndarray, target: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return np.array([spearmanr(m.ravel(), target.ravel()).statistic for m in maps])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_full_size_maps_full_of_ties(pattern):
    generator = np.random.default_rng(0)
    target = position_map(pattern, signed_stripes=True)
    noise = generator.standard_normal((5, 224, 224)).astype(np.float32)
    maps = np.stack(
        [
            noise[0],
            np.round(noise[1] * 3),  # a few dozen values
            np.maximum(noise[2] - 1, 0),  # mostly one value
            np.where(noise[3] > 0, np.float32(0.0), np.float32(-0.0)) + np.sign(noise[4]),
            np.full((224, 224), 0.5, np.float32),  # constant: undefined
        ]
    ).astype(np.float32)
    expected = scipy_spc(maps, target)
    ranks = centred_ranks(target)
    np.testing.assert_allclose(spearman(maps, ranks), expected, atol=1e-12)
    on_torch = spearman_torch(torch.from_numpy(maps), torch.from_numpy(ranks)).numpy()
    np.testing.assert_allclose(on_torch, expected, atol=1e-12)
    assert np.isnan(expected[-1])


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (3, 6, 6), elements=st.sampled_from([-2.0, -0.0, 0.0, 1e-30, 3.5])),
    arrays.arrays(np.float32, (6, 6), elements=st.floats(-1, 1, width=32)),
)
def test_any_small_map(maps, target):
    expected = scipy_spc(maps, target)
    ranks = centred_ranks(target)
    np.testing.assert_allclose(spearman(maps, ranks), expected, atol=1e-12)
    on_torch = spearman_torch(torch.from_numpy(maps), torch.from_numpy(ranks)).numpy()
    np.testing.assert_allclose(on_torch, expected, atol=1e-12)


def test_a_map_with_nan_is_undefined():
    maps = np.zeros((1, 4, 4), np.float32)
    maps[0, 0] = [1, 2, np.nan, 3]
    ranks = centred_ranks(np.arange(16.0).reshape(4, 4))
    assert np.isnan(spearman(maps, ranks)[0])
    assert spearman_torch(torch.from_numpy(maps), torch.from_numpy(ranks)).isnan().all()


@pytest.mark.parametrize(
    ("pattern", "signed", "published"),
    [("H", False, 0.251), ("V", False, 0.251), ("G", False, 0.198), ("HS", False, 0.318),
     ("VS", False, 0.318), ("HS", True, 0.637), ("VS", True, 0.637)],
)  # fmt: skip
def test_mae_of_a_constant(pattern, signed, published):
    target = position_map(pattern, signed_stripes=signed)
    constant = np.full((1, 224, 224), target.mean())
    assert mean_absolute_error(constant, target)[0] == pytest.approx(published, abs=0.0015)


@pytest.mark.parametrize("name", list(METRICS))
def test_metrics_by_name_score_as_scipy_does(name: str):
    generator = np.random.default_rng(3)
    target, maps = generator.random((6, 6)), np.float32(generator.random((4, 6, 6)))
    expected = {
        "spc": [spearmanr(one.ravel(), target.ravel()).statistic for one in maps],
        "mae": [np.abs(one - target).mean() for one in maps],
    }
    found = METRICS[name].against(target, "cpu")(maps)
    np.testing.assert_allclose(found, expected[name], atol=1e-6)
    low, high = METRICS[name].bounds
    assert ((low <= found) & (found <= high)).all()
