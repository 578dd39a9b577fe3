"""The generated sets, folders of images and masks, and VOC 2012."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from task_folders import half_mask, write_image, write_mask, write_pairs, write_voc

from data.tools.errors import UserError
from data.vocabulary import TASKS
from extract.tasks import scenes
from extract.tasks.config import TaskConfig
from extract.tasks.pairs import test_pairs as scored_pairs
from extract.tasks.pairs import training_pairs


def config(task: str = "saliency", **options) -> TaskConfig:
    return TaskConfig(task, Path("unused.pt"), **options)


@pytest.mark.parametrize("task", TASKS)
def test_scenes_are_the_same_on_every_machine(task):
    image, mask = scenes.scene(task, 3, 1, 48)
    digest = hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest()
    assert digest[:16] == {"saliency": "496201dbb4c0c9d5", "segmentation": "54176561486495c3"}[task]


def test_the_salient_object_is_alone_in_the_middle_and_looks_like_the_others():
    for index in range(20):
        image, mask = scenes.scene("saliency", index, 0, 112)
        rows, columns = np.nonzero(mask)
        assert abs(rows.mean() / 112 - 0.5) < scenes.CENTRE_SPREAD + 0.01
        assert abs(columns.mean() / 112 - 0.5) < scenes.CENTRE_SPREAD + 0.01
        # Pixels of the object's colour lie outside the mask too: the distractors.
        colour = image[mask == 1].mean(0)
        alike = np.abs(image.astype(float) - colour).max(-1) < 60
        assert alike[mask == 0].sum() > 0.8 * (mask == 1).sum()


def test_ground_and_wall_differ_only_in_their_place():
    rows = {"ground": [], "wall": []}
    for index in range(40):
        image, mask = scenes.scene("segmentation", index, 0, 64)
        colours = []
        for name, found in rows.items():
            inside = mask == scenes.CLASSES.index(name)
            if inside.sum() > 30:
                found.append(np.nonzero(inside)[0].mean() / 64)
                colours.append(image[inside].mean(0))
        if len(colours) == 2:
            assert np.abs(colours[0] - colours[1]).max() < 25
    assert min(rows["ground"]) > 0.55 > 0.5 > max(rows["wall"])


@pytest.mark.parametrize("task", TASKS)
def test_training_and_test_scenes_are_different_ones(task):
    training, (scored,) = training_pairs(config(task)), scored_pairs(config(task))
    images = {training.load(i, 16)[0].tobytes() for i in range(len(training))}
    assert len(images) == len(training)
    assert not images & {scored.load(i, 16)[0].tobytes() for i in range(len(scored))}


LAYOUTS = {
    "msra": ("MSRA10K_Imgs_GT/Imgs", "MSRA10K_Imgs_GT/Imgs"),
    "dut-s-train": ("DUTS-TR-Image", "DUTS-TR-Mask"),
    "dut-s": ("DUTS-TE-Image", "DUTS-TE-Mask"),
    "ecssd": ("images", "ground_truth_mask"),
    "dut-omron": ("DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    "pascal-s": ("datasets/imgs/pascal", "datasets/masks/pascal"),
    "my set": ("images", "masks"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layouts_are_known(tmp_path, name):
    folder = write_pairs(tmp_path / "My set", *LAYOUTS[name], count=3)
    pairs = training_pairs(config(data=folder))
    assert (pairs.name, len(pairs)) == (name, 3)
    image, mask = pairs.load(1, 20)
    photograph = Image.open(folder / LAYOUTS[name][0] / "picture01.jpg")
    expected = photograph.resize((20, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image, np.asarray(expected))
    np.testing.assert_array_equal(mask, np.tile([0] * 10 + [1] * 10, (20, 1)))


def test_voc_through_torchvision(tmp_path):
    options = config("segmentation", data=write_voc(tmp_path))
    training, (scored,) = training_pairs(options), scored_pairs(options)
    assert (training.name, len(training)) == ("voc2012-train", 11)
    assert (scored.name, len(scored)) == ("voc2012-val", 3)
    assert (len(training.classes), training.classes[15]) == (21, "person")
    _, mask = training.load(0, 30)
    assert set(np.unique(mask)) == {0, 15, 255}  # indices of the palette, no colours


def test_voc_has_no_saliency(tmp_path):
    with pytest.raises(UserError, match="--task segmentation"):
        training_pairs(config(data=write_voc(tmp_path)))


def test_masks_of_zero_and_one_and_of_greys(tmp_path):
    folder = write_pairs(tmp_path, "images", "masks", count=1, value=1)
    grey = half_mask()
    grey[:, 20:30] = 127  # below half: not salient
    write_image(folder / "images" / "picture01.jpg")
    write_mask(folder / "masks" / "picture01.png", grey)
    pairs = training_pairs(config(data=folder))
    assert pairs.load(0, 40)[1].mean() == 0.5
    assert pairs.load(1, 40)[1].mean() == 0.25


def test_sha256_follows_the_contents(tmp_path):
    folder = write_pairs(tmp_path, "images", "masks", count=2)
    before = training_pairs(config(data=folder)).sha256
    assert training_pairs(config(data=folder)).sha256 == before
    write_mask(folder / "masks" / "picture01.png", np.full((30, 40), 255))
    assert training_pairs(config(data=folder)).sha256 != before


def bad_size(folder: Path) -> None:
    write_mask(folder / "masks" / "picture01.png", half_mask(width=41))


def bad_colours(folder: Path) -> None:
    colours = np.zeros((30, 40, 3))
    colours[:, 20:, 0] = 255
    write_mask(folder / "masks" / "picture01.png", colours)


def bad_values(folder: Path) -> None:
    write_mask(folder / "masks" / "picture01.png", half_mask(value=7))


def nothing_salient(folder: Path) -> None:
    write_mask(folder / "masks" / "picture01.png", half_mask(value=0))


def no_mask(folder: Path) -> None:
    (folder / "masks" / "picture01.png").unlink()


def no_image(folder: Path) -> None:
    (folder / "images" / "picture01.jpg").unlink()


def damaged_mask(folder: Path) -> None:
    (folder / "masks" / "picture01.png").write_bytes(b"no picture")


def damaged_image(folder: Path) -> None:
    (folder / "images" / "picture01.jpg").write_bytes(b"no picture")


def turned_image(folder: Path) -> None:
    path = folder / "images" / "picture01.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (bad_size, "picture01.png: 41x30 pixels, its image 40x30"),
        (bad_colours, "picture01.png: coloured"),
        (bad_values, "picture01.png: values up to 7"),
        (nothing_salient, "picture01.png: nothing is salient"),
        (no_mask, "picture01.jpg: no mask"),
        (no_image, "picture01.png: no image"),
        (damaged_mask, "picture01.png: not a readable mask"),
        (damaged_image, "picture01.jpg: damaged, not an image"),
        (turned_image, "picture01.jpg: turned by EXIF"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused_by_name(tmp_path, spoil, reason):
    folder = write_pairs(tmp_path, "images", "masks", count=3)
    spoil(folder)
    with pytest.raises(UserError, match="1 pairs cannot be used") as error:
        training_pairs(config(data=folder))
    assert reason in str(error.value)


def test_classes_beyond_those_announced_are_refused(tmp_path):
    folder = write_pairs(tmp_path, "images", "masks", count=2, value=4)
    assert training_pairs(config("segmentation", data=folder, classes=5)).classes[-1] == "4"
    with pytest.raises(UserError, match="values 4; the classes are 0 to 3, and 255 is void"):
        training_pairs(config("segmentation", data=folder, classes=4))
    with pytest.raises(UserError, match="--classes"):
        training_pairs(config("segmentation", data=folder))


def test_folders_without_pairs_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        training_pairs(config(data=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="DUTS-TR-Image"):
        training_pairs(config(data=tmp_path))
