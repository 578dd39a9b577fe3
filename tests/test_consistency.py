"""Small shifts of whole images, and what they do to pooled vectors."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analysis.config import TablesConfig
from analysis.make import make_tables
from data.cache.pooled.reader import find_pooled
from data.images.placed.patches import load_patches
from data.images.placed.shifts import SHIFTS, needed, shifted
from data.tools.errors import UserError
from extract.placed.config import PlacedConfig
from extract.placed.run import extract_placed
from probe.channels.config import ChannelConfig
from probe.channels.run import score_channels
from probe.consistency.change import Change
from probe.consistency.config import ConsistencyConfig
from probe.consistency.run import measure_consistency
from probe.placed.config import PlacedProbeConfig
from probe.placed.train import train_placed
from tests.placed_caches import wrapped

SIZE, MOST = 16, 4
IDLE: tuple[dict[str, Any], ...] = ({"shift": ("roll",)}, {"most": 3})


def config(folder: Path, **options: Any) -> PlacedConfig:
    given = {"placed": "shifts", "patch_size": SIZE, "patch_limit": 10, "most": MOST}
    return PlacedConfig("own", cache_dir=folder, **given | options)


@given(st.sampled_from(SHIFTS), st.integers(0, 5))
def test_what_stays_in_sight_has_moved_down_and_to_the_right(kind: str, pixels: int):
    size = needed(kind, 8, 5)
    image = np.random.default_rng(0).integers(1, 256, (size, size, 3), np.uint8)
    still, moved = shifted(image, kind, 8, 0), shifted(image, kind, 8, pixels)
    assert still.shape == moved.shape == (8, 8, 3)
    np.testing.assert_array_equal(moved[pixels:, pixels:], still[: 8 - pixels, : 8 - pixels])
    border = np.concatenate([moved[:pixels].ravel(), moved[:, :pixels].ravel()])
    if kind == "zero":
        assert not border.any()
    if kind == "roll":
        np.testing.assert_array_equal(np.sort(moved, axis=None), np.sort(still, axis=None))
    if kind == "crop":  # nothing is made up: the border is of the larger image
        np.testing.assert_array_equal(
            moved, image[5 - pixels : 13 - pixels, 5 - pixels : 13 - pixels]
        )


def test_change_by_hand():
    # Two images, two shifts, two channels: (3, 4) -> (3, 4), (6, 8); (0, 10) -> (0, 5), (0, 10).
    vectors = np.array([[[3, 4], [3, 4], [6, 8]], [[0, 10], [0, 5], [0, 10]]], np.float32)
    change = Change.of(vectors)
    np.testing.assert_allclose(change.images, [[0, 1], [0.5, 0]])
    # Means over the four moved images: |3| / 4 over 3 / 2, and (4 + 5) / 4 over 14 / 2.
    np.testing.assert_allclose(change.channels, [0.75 / 1.5, 2.25 / 7])
    # (3, -6) is 6.708 long: over 5, and over 10.
    assert change.between == pytest.approx((np.sqrt(45) / 5 + np.sqrt(45) / 10) / 2)


def test_a_vector_of_zeros_has_no_relative_change():
    change = Change.of(np.zeros((3, 2, 2), np.float32))
    assert np.isnan(change.images).all()
    assert np.isnan(change.channels).all()
    assert np.isnan(change.between)


def test_vectors_are_those_of_plain_passes_and_circular_padding_hides_a_roll(tmp_path: Path):
    backbone = wrapped("circular")
    folders = extract_placed(config(tmp_path), backbone)
    caches = {cache.identity.kind: cache for cache in find_pooled(tmp_path, shifted=True)}
    assert len(folders) == len(caches) == len(SHIFTS)
    assert [cell for cell, _ in caches["roll"].identity.cells] == list(range(MOST + 1))
    found = caches["roll"].read("f1", "mean")
    inputs = caches["roll"].read("input", "mean")
    assert np.abs(inputs - inputs[:, :1]).max() <= 1e-6
    # f1 has no stride: of a circle nothing is lost by a roll.
    assert np.abs(found - found[:, :1]).max() <= 1e-6 * np.abs(found).max()
    deeper = caches["roll"].read("f2", "mean")
    # Two strides of two: a roll by four is one by a cell of the map, by one it is not.
    assert np.abs(deeper[:, 4] - deeper[:, 0]).max() <= 1e-6 * np.abs(deeper).max()
    assert np.abs(deeper[:, 1] - deeper[:, 0]).max() > 1e-3 * np.abs(deeper).max()


def test_zeros_by_a_plain_pass(tmp_path: Path):
    backbone = wrapped()
    extract_placed(config(tmp_path, shift=("zero",)), backbone)
    (cache,) = find_pooled(tmp_path, shifted=True)
    pixels = load_patches("samples", 10, SIZE, seed=0, root=None).pixels
    moved = torch.zeros(10, 3, SIZE, SIZE)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    moved[:, :, 3:, 3:] = images[:, :, :-3, :-3]
    with torch.no_grad():
        maps = backbone.module[:2](moved)
    np.testing.assert_allclose(
        cache.read("f1", "max")[:, 3], maps.amax((2, 3)).numpy(), rtol=1e-5, atol=1e-6
    )


def test_measured_tabled_and_told_from_other_placed_images(tmp_path: Path):
    features, results, tables = (tmp_path / name for name in ("f", "r", "t"))
    for padding in ("zeros", "circular"):
        extract_placed(config(features, shift=("roll", "crop")), wrapped(padding))
    rows = pd.read_csv(
        measure_consistency(ConsistencyConfig(cache_dir=features, results_dir=results))
    )
    assert len(rows) == 4 * 3 * 2 * (1 + MOST)  # caches, levels, poolings, all shifts and each
    mean = rows[rows["pixels"].isna()]
    every = rows[rows["pixels"].notna()]
    key = ["run", "level", "pooling"]
    np.testing.assert_allclose(
        mean.set_index(key)["change"].sort_index(),
        every.groupby(key)["change"].mean().sort_index(),
        atol=1e-5,
    )
    hidden = mean.query("backbone_padding == 'circular' and shift == 'roll' and level == 'f1'")
    assert (hidden["change"] < 1e-6).all()
    for stage, own in (
        (train_placed, PlacedProbeConfig(cache_dir=features, results_dir=results)),
        (score_channels, ChannelConfig(cache_dir=features, results_dir=results)),
    ):
        with pytest.raises(UserError, match="run extract-features --placed"):
            stage(own)  # type: ignore[operator]
    make_tables(TablesConfig(results_dir=results, out=tables))
    cells = pd.read_csv(tables / "table_S.csv")
    shown = cells.set_index(["network", "level", "pooling", "shift"])["change_percent"]
    zeros = mean.query("backbone_padding == 'zeros' and shift == 'crop' and level == 'f2'")
    for row in zeros.itertuples():
        name = f"own, {row.weights}"
        assert shown[name, "f2", row.pooling, "crop"] == pytest.approx(100 * row.change, abs=1e-3)
    assert "Relative change of pooled vectors" in (tables / "report.html").read_text()


def test_no_cache_of_shifted_images_and_idle_options_are_refused(tmp_path: Path):
    extract_placed(
        PlacedConfig("own", cache_dir=tmp_path, placed="grid", grid=(3,), patch_limit=10),
        wrapped(),
    )
    with pytest.raises(UserError, match="run extract-features --placed shifts first"):
        measure_consistency(ConsistencyConfig(cache_dir=tmp_path, results_dir=tmp_path / "r"))
    with pytest.raises(UserError, match="placed shifts has no use for canvas"):
        config(tmp_path, canvas=("white",))
    for kind, options in itertools.product(
        ("grid", "corners"), ({"shift": ("roll",)}, {"most": 3})
    ):
        with pytest.raises(UserError, match=f"placed {kind} has no use for {next(iter(options))}"):
            PlacedConfig("own", placed=kind, **options)
