"""Batches hold the right features, every image once an epoch, in a reproducible order."""

import numpy as np
import pytest
import torch
from caches import CHANNELS, make_cache
from hypothesis import given
from hypothesis import strategies as st

from probe import batches as batches_module
from probe.batches import FeatureBatches, epoch_windows, plain_windows, resolve_preload

LEVELS = ("f1", "f3")


@given(
    count=st.integers(1, 300),
    batch_size=st.integers(1, 40),
    image_bytes=st.integers(2**18, 2**27),
    epoch=st.integers(0, 3),
)
def test_an_epoch_is_a_permutation_in_whole_batches(count, batch_size, image_bytes, epoch):
    rows = np.arange(5, 5 + count)
    windows = epoch_windows(rows, image_bytes, batch_size, 0, epoch)
    assert sorted(np.concatenate(windows).tolist()) == rows.tolist()
    assert all(len(window) % batch_size == 0 for window in windows[:-1])
    again = epoch_windows(rows, image_bytes, batch_size, 0, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(windows, again, strict=True))


def test_epochs_differ_and_one_window_is_a_full_shuffle():
    rows = np.arange(200)
    first, second = (epoch_windows(rows, 2**20, 8, 0, epoch) for epoch in (0, 1))
    assert len(first) == len(second) == 1
    assert not np.array_equal(first[0], second[0])
    # No trace of the order on disk: neighbours there are far apart here.
    assert np.abs(np.diff(first[0])).mean() == pytest.approx(200 / 3, rel=0.2)


@pytest.mark.parametrize("preload", ["none", "ram"])
def test_features_are_the_caches(tmp_path, monkeypatch, preload):
    monkeypatch.setattr(batches_module, "WINDOW_BYTES", 7 * 26 * 784 * 2)
    cache = make_cache(tmp_path)
    source = FeatureBatches(cache, LEVELS, torch.float32, torch.device("cpu"), preload)
    source.keep(np.arange(20))
    rows = np.array([30, 2, 17, 4, 4, 25, 0, 33, 9])
    windows = [rows[:5], rows[5:]]
    seen = []
    for part, features in source.batches(windows, 3):
        expected = np.concatenate([cache.read(level, part) for level in LEVELS], axis=1)
        channels = sum(CHANNELS[level] for level in LEVELS)
        ours = features.view(channels, len(part), 28, 28).transpose(0, 1).numpy()
        np.testing.assert_array_equal(ours, expected)
        seen += part.tolist()
    assert seen == rows.tolist()


def test_plain_windows_keep_the_order():
    windows = plain_windows(np.arange(10), batches_module.WINDOW_BYTES // 4)
    assert [window.tolist() for window in windows] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_auto_preload_keeps_what_fits_and_streams_the_rest():
    cpu = torch.device("cpu")
    assert resolve_preload("auto", 2**20, cpu) == "ram"
    assert resolve_preload("auto", 2**50, cpu) == "none"
    assert resolve_preload("none", 1, cpu) == "none"
