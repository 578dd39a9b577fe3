"""Training on mirrored images: image and mask turn together, and nothing else does."""

import numpy as np
import torch
from test_tasks_pairs import config

from extract.tasks.maps.pairs.loader import Batches
from extract.tasks.maps.pairs.mirrored import mirrored
from extract.tasks.maps.pairs.sets import training_pairs


def test_a_mirror_turns_image_and_mask_left_right_and_nothing_else():
    pairs = training_pairs(config("segmentation", limit=40))
    seen = mirrored(pairs, seed=3, epoch=2)
    assert (seen.name, seen.classes, seen.sha256) == (pairs.name, pairs.classes, pairs.sha256)
    turned = 0
    for index in range(len(seen)):
        (image, mask), (own, own_mask) = seen.load(index, 24), pairs.load(index, 24)
        if not np.array_equal(image, own):
            own, own_mask = np.flip(own, axis=1), np.flip(own_mask, axis=1)
            turned += 1
        np.testing.assert_array_equal(image, own)
        np.testing.assert_array_equal(mask, own_mask)
    assert turned == seen.chosen.sum()
    assert 10 <= turned <= 30
    assert np.array_equal(seen.chosen, mirrored(pairs, seed=3, epoch=2).chosen)
    assert not np.array_equal(seen.chosen, mirrored(pairs, seed=3, epoch=3).chosen)
    assert not np.array_equal(seen.chosen, mirrored(pairs, seed=4, epoch=2).chosen)
    loaded = Batches(
        seen, range(40), size=24, batch_size=40, num_workers=0, device=torch.device("cpu")
    )
    ((images, masks),) = loaded
    np.testing.assert_array_equal(masks.numpy(), [seen.load(i, 24)[1] for i in range(40)])
    expected = np.stack([seen.load(i, 24)[0] for i in range(40)]).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(images.numpy(), expected.astype(np.float32) / 255)
