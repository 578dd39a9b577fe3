"""Pooled caches: what is in them, and what becomes of a killed extraction."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data.cache.pooled import POOLED, PooledCache, block_path
from data.tools.errors import UserError
from extract.backbones.backbone import Backbone, wrap_module
from extract.placed import run
from extract.placed.config import PlacedConfig
from extract.placed.run import extract_placed

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(3, 2, 1), second, nn.ReLU(inplace=True))


def wrapped(padding: str = "zeros") -> Backbone:
    return wrap_module(network(), name="own", taps=("1", "4"), padding=padding, image_size=48)


def config(folder: Path, **options: Any) -> PlacedConfig:
    given = {"placed": "grid", "grid": (3,), "patch_size": 16, "patch_limit": 40}
    return PlacedConfig("own", cache_dir=folder, **given | options)


def test_vectors_are_those_of_a_plain_pass_with_adaptive_pooling(tmp_path: Path):
    (folder,) = extract_placed(config(tmp_path, patches="shapes"), wrapped())
    cache = PooledCache(folder)
    images = run.PlacedImages(
        run.load_patches("shapes", 40, 16, seed=0, root=None),
        config(tmp_path).layouts[0],
        "black",
        0,
    )
    batch = np.stack([images.load(9 * 7 + cell) for cell in range(9)])
    pixels = torch.from_numpy(batch).permute(0, 3, 1, 2) / 255
    layers = network()
    with torch.no_grad():
        expected = {"input": pixels, "f1": layers[:2](pixels), "f2": layers(pixels)}
    for level, maps in expected.items():
        for pooling, pool in (("mean", nn.AdaptiveAvgPool2d(1)), ("max", nn.AdaptiveMaxPool2d(1))):
            found = cache.read(level, pooling)
            assert found.shape == (40, 9, maps.shape[1])
            np.testing.assert_allclose(found[7], pool(maps).flatten(1), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(cache.labels("patch"), np.repeat(np.arange(40), 9))
    np.testing.assert_array_equal(cache.labels("cell"), np.tile(np.arange(9), 40))
    np.testing.assert_array_equal(cache.labels("class").reshape(40, 9)[:, 4], np.arange(40) % 10)


@pytest.mark.parametrize(("padding", "moves"), [("circular", False), ("zeros", True)])
def test_without_a_border_no_channel_knows_the_place(tmp_path: Path, padding: str, moves: bool):
    (folder,) = extract_placed(config(tmp_path), wrapped(padding))
    vectors = PooledCache(folder).read("f2", "mean")
    change = np.ptp(vectors, axis=1).max() / abs(vectors).mean()
    assert (change > 1e-3) if moves else (change < 1e-6)


def test_killed_and_resumed_it_has_the_same_bytes(tmp_path: Path, monkeypatch):
    (whole,) = extract_placed(config(tmp_path / "whole"), wrapped())
    monkeypatch.setattr(run, "BLOCK_IMAGES", 90)
    (blocks,) = extract_placed(config(tmp_path / "blocks"), wrapped())
    pooled = run._pooled

    def killed(config, backbone, images, block):
        if block.start >= 180:
            raise KeyboardInterrupt
        return pooled(config, backbone, images, block)

    monkeypatch.setattr(run, "_pooled", killed)
    with pytest.raises(KeyboardInterrupt):
        extract_placed(config(tmp_path / "killed"), wrapped())
    folder = tmp_path / "killed" / whole.name
    with pytest.raises(UserError, match="no complete pooled cache"):
        PooledCache(folder)
    with open(block_path(folder, 1), "r+b") as file:  # damaged since: made again
        file.seek(-200, 2)
        file.write(b"\xff" * 100)
    computed = []

    def counted(config, backbone, images, block):
        computed.append(block.start)
        return pooled(config, backbone, images, block)

    monkeypatch.setattr(run, "_pooled", counted)
    extract_placed(config(tmp_path / "killed"), wrapped())
    assert computed == [90, 180, 270]
    content = (folder / POOLED).read_bytes()
    assert content == (whole / POOLED).read_bytes() == (blocks / POOLED).read_bytes()
    assert not list(folder.glob("block-*"))
    extract_placed(config(tmp_path / "killed"), wrapped())
    assert computed == [90, 180, 270]  # complete: nothing to do


def test_something_else_is_refused_and_damage_is_found(tmp_path: Path):
    (folder,) = extract_placed(config(tmp_path), wrapped())
    other = wrapped()
    other.weights_sha256 = "0" * 64
    with pytest.raises(UserError, match=r"made from something else \[weights_sha256: "):
        extract_placed(config(tmp_path), other)
    assert PooledCache(folder).damage() == []
    content = bytearray((folder / POOLED).read_bytes())
    vectors = PooledCache(folder).read("f2", "mean").tobytes()
    content[content.index(vectors) + 5] ^= 1
    (folder / POOLED).write_bytes(content)
    assert PooledCache(folder).damage() == ["f2/mean"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": (1,)}, "grid.* 1 must be at least 2"),
        ({"border": (16,)}, "--border without --placed corners"),
        ({"placed": "corners"}, "--grid without --placed grid"),
        ({"placed": None, "grid": (), "canvas": ("white",)}, "--canvas without --placed"),
    ],
)
def test_options_that_say_nothing_are_refused(tmp_path: Path, options: Any, message: str):
    with pytest.raises(UserError, match=message):
        config(tmp_path, **options)
