"""The position maps against their formulas, and resampling against PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.resample import bilinear_maps, bilinear_matrix
from data.targets import PATTERNS, position_map


def test_maps_follow_their_formulas():
    y, x = np.mgrid[0:224, 0:224] / 223
    gaussian = np.exp(-((2 * x - 1) ** 2 + (2 * y - 1) ** 2) / 2)
    gaussian = (gaussian - gaussian.min()) / np.ptp(gaussian)
    expected = {
        "H": x,
        "V": y,
        "G": gaussian,
        "HS": 0.5 + 0.5 * np.cos(5 * np.pi * y),
        "VS": 0.5 + 0.5 * np.cos(5 * np.pi * x),
    }
    for pattern in PATTERNS:
        np.testing.assert_allclose(position_map(pattern), expected[pattern], atol=1e-12)
        assert position_map(pattern).min() == pytest.approx(0)
        assert position_map(pattern).max() == pytest.approx(1)


def test_signed_stripes_change_stripes_alone():
    for pattern in PATTERNS:
        signed = position_map(pattern, signed_stripes=True)
        assert signed.min() == pytest.approx(-1 if pattern in ("HS", "VS") else 0)


def test_unknown_pattern_lists_the_good_ones():
    with pytest.raises(ValueError, match=r"'D'.*H, V, G, HS, VS"):
        position_map("D")


@given(source=st.integers(1, 40), target=st.integers(1, 40), corners=st.booleans())
def test_resampling_is_pytorchs(source, target, corners):
    image = torch.rand(1, 1, source, source, dtype=torch.float64)
    matrix = bilinear_matrix(source, target, align_corners=corners)
    expected = torch.nn.functional.interpolate(
        image, (target, target), mode="bilinear", align_corners=corners
    )
    np.testing.assert_allclose(matrix @ image[0, 0].numpy() @ matrix.T, expected[0, 0], atol=1e-12)


@given(source=st.integers(1, 30), target=st.integers(1, 60))
def test_upsampling_maps_is_pytorchs(source, target):
    maps = torch.rand(2, 3, source, source)
    expected = torch.nn.functional.interpolate(maps, (target, target), mode="bilinear")
    np.testing.assert_allclose(bilinear_maps(maps.numpy(), target), expected, atol=1e-5)


@given(value=st.floats(-1e3, 1e3, width=32), source=st.integers(1, 30))
def test_a_constant_map_stays_constant(value, source):
    maps = bilinear_maps(np.full((1, source, source), value, np.float32), 224)
    assert (maps == np.float32(value)).all()
