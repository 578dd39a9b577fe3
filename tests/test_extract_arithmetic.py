"""What threads and batch size may move, and by how much: the promise of docs/cache.md."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from data.cache.reader import FeatureCache
from extract.run import extract_features
from tests.extraction import small_config

MOST = 1 / 256  # of a level's largest value: one step of bfloat16


@pytest.fixture
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.arithmetic
@pytest.mark.usefixtures("threads_as_before")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_and_batch_size_move_last_bits_at_most(
    photos: Path, tmp_path: Path, precision: str
) -> None:
    caches = []
    for threads, batch_size in ((1, 16), (2, 16), (1, 3), (2, 8)):
        torch.set_num_threads(threads)
        config = small_config(
            photos,
            tmp_path / f"{threads}-{batch_size}",
            backbone="resnet18",
            taps=None,
            image_size=64,
            limit=20,
            precision=precision,
            batch_size=batch_size,
        )
        caches.append(FeatureCache(extract_features(config)))
    first = caches[0]
    rows = np.arange(len(first.records))
    for other in caches[1:]:
        # The statistics are the same to the last bit, and so is what compares caches.
        statistics = [(cache.folder / "calibration.h5").read_bytes() for cache in (first, other)]
        assert statistics[0] == statistics[1]
        assert other.identity.digest == first.identity.digest
        for level in first.levels:
            expected = first.read(level, rows).astype(np.float64)
            found = other.read(level, rows).astype(np.float64)
            assert np.abs(found - expected).max() <= MOST * np.abs(expected).max(), level
