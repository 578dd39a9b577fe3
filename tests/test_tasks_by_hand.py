"""The training of a backbone: losses, rates, splits and crops worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from extract.tasks.maps.crops import centroid, crop, shift_slopes
from extract.tasks.maps.predictor import map_loss, to_maps
from extract.tasks.maps.task import learning_rate, split


def test_losses_by_hand():
    logits, masks = torch.zeros(1, 1, 2, 2), torch.tensor([[[0, 1], [1, 1]]])
    assert float(map_loss(logits, masks)) == pytest.approx(np.log(2))
    assert to_maps(logits).tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
    nowhere = torch.full((1, 1, 3), 255)
    logits = torch.zeros(1, 4, 1, 3)
    assert float(map_loss(logits, nowhere)) == 0
    logits[0, 2, 0, 0] = 100.0  # certain and right; the last pixel is void
    masks = torch.tensor([[[2, 1, 255]]])
    assert float(map_loss(logits, masks)) == pytest.approx(np.log(4) / 2)
    assert to_maps(logits)[0, 0, 0] == 2


def test_the_rate_rises_and_falls():
    rates = [learning_rate(step, 100, 1.0) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(a >= b for a, b in zip(rates[4:], rates[5:], strict=False))
    assert 0 < rates[-1] < 0.001


def test_every_tenth_image_is_held_out():
    training, held_out = split(25)
    assert list(held_out) == [9, 19]
    assert sorted([*training, *held_out]) == list(range(25))


def test_crops_and_centroids_by_hand():
    image = np.arange(36 * 3, dtype=np.uint8).reshape(6, 6, 3)
    np.testing.assert_array_equal(crop(image, "x", 1, 4), image[1:5, 2:6])
    np.testing.assert_array_equal(crop(image, "y", -1, 4), image[0:4, 1:5])
    saliency = np.zeros((5, 8))
    saliency[1:3, 4:7] = 1
    assert (centroid(saliency, "x"), centroid(saliency, "y")) == (5.0, 1.5)


@pytest.mark.parametrize(("slope", "moves_by"), [(0.0, -1.0), (1.0, 0.0), (0.25, -0.75)])
def test_slopes_by_hand(slope, moves_by):
    # In the frame, what stays on the image moves against the crop; what stays in the frame, not.
    rows = [
        {"image": image, "axis": axis, "shift": shift, "centroid": 50 + image + moves_by * shift}
        for image in range(3)
        for axis in ("x", "y")
        for shift in (-20, 0, 20)
    ]
    found = shift_slopes(pd.DataFrame(rows))
    assert found == pytest.approx({"crop_slope_x": slope, "crop_slope_y": slope})
