"""Patches, where they lie, and how they are split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.images.placed.patches import Patches, load_patches
from data.images.placed.placement import HELD_OUT, TEST, TRAIN, Layout, PlacedImages
from data.images.placed.shapes import SHAPES
from data.tools.errors import UserError
from extract.placed.config import PlacedConfig


@pytest.fixture(scope="module")
def shapes() -> Patches:
    return load_patches("shapes", 40, 32, seed=0, root=None)


def placed(patches: Patches, canvas: str = "black", **layout: int) -> PlacedImages:
    return PlacedImages(
        patches, Layout("grid", **{"grid": 3, "patch_size": 32} | layout), canvas, 0
    )


@pytest.mark.parametrize("canvas", ["black", "white", "mean", "noise", "8040ff"])
def test_a_patch_lies_at_its_cell_and_the_canvas_is_the_same_at_all(shapes, canvas):
    images = placed(shapes, canvas)
    assert len(images) == 40 * 9
    for cell in range(9):
        image, row, column = images.load(2 * 9 + cell), 32 * (cell // 3), 32 * (cell % 3)
        assert image.shape == (96, 96, 3)
        place = np.s_[row : row + 32, column : column + 32]
        np.testing.assert_array_equal(image[place], shapes.pixels[2])
        other = images.load(2 * 9 + (cell + 1) % 9)
        uncovered = np.s_[64:, :32] if cell not in (5, 6) else np.s_[:32, :32]
        if cell not in (0, 8):
            np.testing.assert_array_equal(image[uncovered], other[uncovered])


def test_the_colours_of_canvases(shapes):
    assert tuple(placed(shapes, "8040ff").load(0)[-1, -1]) == (0x80, 0x40, 0xFF)
    images = placed(shapes, "mean")
    train = shapes.pixels[images.split == TRAIN].reshape(-1, 3).astype(float)
    np.testing.assert_array_equal(images.load(0)[-1, -1], train.mean(0).round())
    with pytest.raises(UserError, match="--canvas 'grey': use black, white, mean, noise or"):
        placed(shapes, "grey")


def test_corners_lie_inside_a_black_border(shapes):
    layout = Layout("corners", 2, 32, border=16)
    images = PlacedImages(shapes, layout, "white", 0)
    first, second = images.load(0), images.load(1)
    assert first.shape == (96, 96, 3)
    np.testing.assert_array_equal(first[16:48, 16:48], shapes.pixels[0])
    np.testing.assert_array_equal(second[48:80, 48:80], shapes.pixels[0])
    assert not first[:16].any()
    assert (first[48:80, 48:80] == 255).all()


def test_patches_are_split_whole(shapes):
    split = placed(shapes).split
    assert [int((split == part).sum()) for part in (TRAIN, HELD_OUT, TEST)] == [28, 4, 8]
    np.testing.assert_array_equal(split, placed(replace(shapes, name="other")).split)


def test_shapes_have_ten_classes_and_digits_are_enlarged_as_they_are(shapes):
    assert len(SHAPES) == 10
    assert set(shapes.classes) == set(range(10))
    assert (np.ptp(shapes.pixels.reshape(40, -1), axis=1) > 50).all()
    datasets = pytest.importorskip("sklearn.datasets")
    digits = load_patches("digits", 12, 32, seed=0, root=None)
    expected = np.kron(datasets.load_digits().images[3] * 15.9375, np.ones((4, 4)))
    np.testing.assert_array_equal(digits.pixels[3, :, :, 1], expected.round())
    with pytest.raises(UserError, match=r"--patch-size 30: .* use a multiple of 8"):
        load_patches("digits", 12, 30, seed=0, root=None)


def test_a_folder_gives_the_middle_square(tmp_path: Path):
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 200
    for number in range(10):
        Image.fromarray(wide).save(tmp_path / f"{number}.png")
    patches = load_patches(str(tmp_path), 10, 16, seed=0, root=None)
    assert (patches.pixels == 200).all()
    assert set(patches.classes) == {-1}


def test_sets_that_cannot_be_had_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"cifar10: not found in .*nothing is downloaded"):
        load_patches("cifar10", 10, 32, seed=0, root=tmp_path)
    with pytest.raises(UserError, match="no such set or folder; use samples, shapes"):
        load_patches(str(tmp_path / "nothing"), 10, 32, seed=0, root=None)
    with pytest.raises(UserError, match="9 patches cannot be split"):
        load_patches("samples", 9, 32, seed=0, root=None)


def test_the_two_corners_are_a_multiple_of_the_stride_apart_unless_asked(shapes):
    """56 pixels apart, as on a canvas of 112, the strides of a network sample the two unlike."""
    for gap, canvas in ((None, 120), (0, 112), (5, 117)):
        config = PlacedConfig("resnet18", placed="corners", border=(16,), gap=gap)
        (layout,) = config.layouts
        assert (layout.canvas_size, layout.image_size) == (canvas, canvas + 32)
        images = PlacedImages(load_patches("shapes", 10, 56, seed=0, root=None), layout, "black", 0)
        last = images.load(1)
        place = np.s_[canvas - 40 : canvas + 16, canvas - 40 : canvas + 16]
        np.testing.assert_array_equal(last[place], images.patches.pixels[0])
        assert last.sum() == last[place].sum()
