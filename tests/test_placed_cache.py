"""Pooled caches: what is in them, and what becomes of a killed extraction."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.cache.files.locks import LOCK
from data.cache.pooled.members import IDENTITY, POOLED, block_path
from data.cache.pooled.reader import PooledCache
from data.images.samples import sample_image
from data.tools.errors import UserError
from extract.backbones.backbone import Backbone, wrap_module
from extract.cli import main
from extract.placed import run
from extract.placed.run import extract_placed
from tests.extraction import contents
from tests.placed_caches import config, network, wrapped

pytestmark = pytest.mark.usefixtures("one_thread")


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


def watched(monkeypatch, stop: int | None = None) -> list[int]:
    """Where the blocks begin that are computed from now on; Ctrl-C at the image `stop`."""
    computed: list[int] = []
    pooled = run.PlacedJob._pooled

    def watching(job: run.PlacedJob, block: range) -> dict[str, np.ndarray]:
        if stop is not None and block.start >= stop:
            raise KeyboardInterrupt
        computed.append(block.start)
        return pooled(job, block)

    monkeypatch.setattr(run.PlacedJob, "_pooled", watching)
    return computed


def killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four blocks in `folder`."""
    with monkeypatch.context() as patch:
        watched(patch, stop=180)
        with pytest.raises(KeyboardInterrupt):
            extract_placed(config(folder), wrapped())


def test_killed_and_resumed_it_has_the_same_bytes(tmp_path: Path, monkeypatch):
    (whole,) = extract_placed(config(tmp_path / "whole"), wrapped())
    monkeypatch.setattr(run, "BLOCK_IMAGES", 90)
    (blocks,) = extract_placed(config(tmp_path / "blocks"), wrapped())
    killed(tmp_path / "killed", monkeypatch)
    folder = tmp_path / "killed" / whole.name
    with pytest.raises(UserError, match="no complete pooled cache"):
        PooledCache(folder).read("f1", "mean")
    with open(block_path(folder, 1), "r+b") as file:  # damaged since: made again
        file.seek(-200, 2)
        file.write(b"\xff" * 100)
    computed = watched(monkeypatch)
    extract_placed(config(tmp_path / "killed"), wrapped())
    assert computed == [90, 180, 270]
    content = (folder / POOLED).read_bytes()
    assert content == (whole / POOLED).read_bytes() == (blocks / POOLED).read_bytes()
    names = {path.name for path in folder.iterdir()}
    assert names == {POOLED, IDENTITY, LOCK}
    extract_placed(config(tmp_path / "killed"), wrapped())
    assert computed == [90, 180, 270]  # complete: nothing to do


def test_something_else_is_refused_by_name_and_nothing_is_lost(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(run, "BLOCK_IMAGES", 90)
    (folder,) = extract_placed(config(tmp_path), wrapped())
    killed(tmp_path / "begun", monkeypatch)
    for where in (tmp_path, tmp_path / "begun"):
        before = contents(where / folder.name)
        other = wrapped()
        other.weights_sha256 = "0" * 64
        with pytest.raises(UserError, match=r"from something else \[weights_sha256: .*overwrite"):
            extract_placed(config(where), other)
        with pytest.raises(UserError, match=r"\[patches_sha256: .*; n_patches: 40 .* 30 now"):
            extract_placed(config(where, patch_limit=30), wrapped())
        assert contents(where / folder.name) == before
    extract_placed(config(tmp_path, patch_limit=30, overwrite=True), wrapped())
    assert PooledCache(folder).identity.n_patches == 30


def test_damage_is_named_refused_and_never_mended_unasked(tmp_path: Path, capsys):
    (folder,) = extract_placed(config(tmp_path), wrapped())
    cache = PooledCache(folder)
    assert cache.damage() == []
    content = bytearray((folder / POOLED).read_bytes())
    content[content.index(cache.read("f2", "mean").tobytes()) + 5] ^= 1
    (folder / POOLED).write_bytes(content)
    named = "pooled.h5 is damaged: f2/mean is not as it was written.*--overwrite"
    with pytest.raises(UserError, match=named):
        cache.read("f2", "mean")
    with pytest.raises(UserError, match=named):
        extract_placed(config(tmp_path), wrapped())
    with pytest.raises(SystemExit) as stopped:
        main(["--verify", str(folder)])
    assert stopped.value.code == 1
    assert "f2/mean is not as it was written" in capsys.readouterr().err
    assert (folder / POOLED).read_bytes() == content


@pytest.mark.parametrize("how", ["link", "external"])
def test_values_in_another_file_are_not_read(tmp_path: Path, how: str):
    (folder,) = extract_placed(config(tmp_path), wrapped())
    with h5py.File(folder / POOLED, "r+") as file, h5py.File(tmp_path / "other.h5", "w") as other:
        values = file["f1/max"][()]
        other["f1/max"] = values
        checksum = file["f1/max"].attrs["crc32"]
        del file["f1/max"]
        if how == "link":
            other["f1/max"].attrs["crc32"] = checksum
            file["f1/max"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "f1/max")
        else:
            values.tofile(tmp_path / "raw")
            place = [(str(tmp_path / "raw"), 0, values.nbytes)]
            file.create_dataset("f1/max", values.shape, "<f4", external=place)
            file["f1/max"].attrs["crc32"] = checksum
    with pytest.raises(UserError, match=r"pooled.h5 is damaged: f1/max: .*another (file|place)"):
        PooledCache(folder).read("f1", "max")


def test_a_disk_without_room_is_seen_before_anything_is_done(tmp_path: Path, monkeypatch):
    (folder,) = extract_placed(config(tmp_path), wrapped())
    before = contents(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
    computed = watched(monkeypatch)
    for options in ({"overwrite": True, "patch_limit": 80}, {"canvas": ("white",)}):
        with pytest.raises(UserError, match=r"needs .* GB more and its disk has .*--patch-limit"):
            extract_placed(config(tmp_path, **options), wrapped())
    assert computed == []
    assert contents(folder) == before


def test_two_writers_make_one_cache(tmp_path: Path, monkeypatch):
    computed = watched(monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(extract_placed, config(tmp_path), wrapped()) for _ in range(2)]
        folders = [run.result() for run in runs]
    assert folders[0] == folders[1]
    assert computed == [0, 252]


def test_what_it_was_made_from_is_shown_with_its_audit(tmp_path: Path, capsys):
    (folder,) = extract_placed(config(tmp_path, canvas=("white",), patch_size=32), wrapped())
    with pytest.raises(SystemExit):
        main(["--info", str(folder)])
    info = json.loads(capsys.readouterr().out)
    assert info["canvas"] == "white"
    assert set(info["place_changes"]) == {"f1", "f2"}
    assert min(info["place_changes"].values()) > 0.1
    # 96 pixels, a pool of 3 and a convolution of 3 in steps of 2, padded by 1: (96 + 2 - 3) % 2.
    assert info["uneven_strides"] == {"2": [1, 1], "3": [1, 1]}


def test_statistics_are_those_of_a_feature_cache_whatever_the_layout(tmp_path: Path):
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    backbone = wrap_module(layers, name="own", taps=("2",), image_size=48)
    (tmp_path / "train").mkdir()
    for number in range(8):
        Image.fromarray(sample_image(number, 0, 24)).save(tmp_path / "train" / f"{number}.png")
    folders = extract_placed(
        config(tmp_path / "caches", grid=(2, 3), train=tmp_path / "train"), backbone
    )
    found = {PooledCache(folder).identity.calibration for folder in folders}
    assert len(found) == 1
    assert next(iter(found)).images == 8
    with pytest.raises(UserError, match=r"\[calibration_images: "):
        extract_placed(config(tmp_path / "caches"), backbone)


def normalised() -> Backbone:
    """One untrained BatchNorm, of the image itself."""
    return wrap_module(nn.Sequential(nn.BatchNorm2d(3)), name="own", taps=("0",), image_size=40)


def means_of_training_images(cache: PooledCache) -> float:
    """The farthest of the first 64 placed training images' mean from 0: 0 where it was set so."""
    first = np.flatnonzero(cache.labels("split") == 0)[:64]  # training patches, at every cell
    return float(abs(cache.read("f1", "mean").reshape(-1, 3)[first].mean(0)).max())


@pytest.mark.parametrize(
    ("options", "of_placed"),
    [
        ({}, False),
        ({"calibration": "placed"}, True),
        ({"placed": "corners", "grid": ()}, True),
        ({"placed": "corners", "grid": (), "calibration": "whole"}, False),
    ],
)
def test_statistics_of_placed_images_in_corners_and_where_asked_for(
    tmp_path: Path, options: dict[str, Any], of_placed: bool
):
    # 64 patches, so that there are 64 placed training images, four whole batches, in corners too.
    (folder,) = extract_placed(config(tmp_path, patch_limit=64, **options), normalised())
    assert ("calibrated-placed" in folder.name) == of_placed
    assert (means_of_training_images(PooledCache(folder)) < 1e-6) == of_placed
    assert (means_of_training_images(PooledCache(folder)) > 1e-2) != of_placed


def test_mirrored_images_go_through_the_same_network(tmp_path: Path):
    pair = [
        extract_placed(config(tmp_path, calibration="placed", mirrored=m), normalised())[0]
        for m in (False, True)
    ]
    plain, mirrored = (PooledCache(folder).identity for folder in pair)
    assert plain.calibration == mirrored.calibration
    assert plain.calibration_images == mirrored.calibration_images


def test_networks_without_untrained_batch_norms_have_no_statistics(tmp_path: Path):
    (folder,) = extract_placed(config(tmp_path, placed="corners", grid=()), wrapped())
    assert "calibrated" not in folder.name
    assert PooledCache(folder).identity.calibration is None
    with pytest.raises(UserError, match="own with weights own has no untrained BatchNorms"):
        extract_placed(config(tmp_path, calibration="placed"), wrapped())


def test_networks_of_several_seeds_are_calibrated_on_the_same_samples(tmp_path: Path):
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    backbone = wrap_module(layers, name="own", taps=("2",), image_size=48)
    caches = [
        PooledCache(folder)
        for seed in (0, 1)
        for folder in extract_placed(config(tmp_path, seed=seed), backbone)
    ]
    assert len({cache.folder for cache in caches}) == 2
    # The same network here, so that only the images could make a difference.
    assert len({cache.identity.calibration for cache in caches}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": (1,)}, "grid.* 1 must be at least 2"),
        ({"border": (16,)}, "placed grid has no use for border"),
        ({"placed": "corners"}, "placed corners has no use for grid"),
        ({"gap": 8}, "placed grid has no use for gap"),
        ({"calibration": "placed", "aligned": True}, "placed grid has no use for calibration"),
        ({"limit": 3}, "placed grid has no use for limit"),
        ({"jobs": 2}, "placed grid has no use for jobs"),
        ({"crop_border": 1}, "placed grid has no use for crop_border"),
        ({"image_size": 100}, "image_size 100: the layout gives the images 48 pixels"),
        ({"placed": None}, "grid without placed"),
        ({"placed": None, "grid": (), "patch_size": None}, "patch_limit without placed"),
    ],
)
def test_options_that_say_nothing_are_refused(tmp_path: Path, options: Any, message: str):
    with pytest.raises(UserError, match=message):
        config(tmp_path, **options)
