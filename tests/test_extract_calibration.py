"""Statistics of untrained BatchNorms: estimated once, of batches none of which is one image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data.cache.reader import FeatureCache
from extract.backbones.backbone import wrap_module
from extract.calibration import calibration_batches
from extract.run import extract_features
from tests.extraction import (
    contents,
    small_config,
)


def test_untrained_batch_norm_is_calibrated_once_for_all_jobs(photos: Path, tmp_path: Path) -> None:
    def extract(cache_dir: Path, **changes: Any) -> Path:
        return extract_features(
            small_config(
                photos, cache_dir, backbone="resnet18", taps="layer2.0.bn1", limit=70, **changes
            )
        )

    alone = extract(tmp_path / "alone")
    for index in (1, 0):
        folder = extract(tmp_path, num_shards=2, shard_index=index)
    assert contents(folder) == contents(alone)
    cache = FeatureCache(folder)
    calibration = cache.identity.calibration
    assert (calibration.images, calibration.batch_size) == (64, 16)
    # BatchNorm's output on the images that gave it its statistics; alignment blurs a little.
    normalized = cache.read("f1", np.arange(64)).astype(np.float64)
    assert abs(normalized.mean()) < 0.2
    assert 0.5 < normalized.std() < 1.5

    for name in ("cache.h5", "shard-00001.h5", "calibration.h5"):
        (folder / name).unlink()
    extract(tmp_path)
    assert contents(folder) == contents(alone)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 18, 33, 49, 64])
def test_no_image_is_alone_in_a_batch_of_calibration(count: int) -> None:
    batches = calibration_batches(list(range(count)))
    assert [row for batch in batches for row in batch] == list(range(count))
    assert count == 1 or min(map(len, batches)) > 1
    assert max(map(len, batches)) <= 17


def test_calibration_of_seventeen_images_and_single_cells(photos: Path, tmp_path: Path) -> None:
    class Squeezed(nn.Module):
        """BatchNorm of one value per image and channel, as in squeeze-and-excitation."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.conv(images)
            return maps * self.norm(maps.mean((2, 3), keepdim=True))

    backbone = wrap_module(nn.Sequential(Squeezed()), name="squeezed", taps=("0",), image_size=32)
    folder = extract_features(small_config(photos, tmp_path, limit=17), backbone)
    calibration = FeatureCache(folder).identity.calibration
    assert calibration is not None
    assert calibration.images == 17
