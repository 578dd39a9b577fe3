"""The generated sets, folders of images and masks, and VOC 2012."""

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from task_folders import half_mask, write_image, write_mask, write_pairs, write_voc

from data.tools.errors import UserError
from data.vocabulary import TASKS
from extract.tasks.maps.config import MapConfig
from extract.tasks.maps.pairs import scenes
from extract.tasks.maps.pairs.loader import Batches
from extract.tasks.maps.pairs.sets import test_pairs as scored_pairs
from extract.tasks.maps.pairs.sets import training_pairs


def config(task: str = "saliency", **options) -> MapConfig:
    return MapConfig(task, Path("unused.pt"), **options)


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


INSIDE = np.s_[8:20, 10:30]  # of the masks below, 40x30


def drawn(inside: int, outside: int = 0, dtype=np.uint8) -> np.ndarray:
    values = np.full((30, 40), outside, dtype)
    values[INSIDE] = inside
    return values


def palette(colours: list[tuple[int, int, int]], values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values)
    image.putpalette([part for colour in colours for part in colour])
    return image


WHITE, BLACK = (255, 255, 255), (0, 0, 0)
SALIENCY_MASKS = {  # all of them show white on black
    "white-first.png": palette([WHITE, BLACK], drawn(0, 1)),
    "white-first.gif": palette([WHITE, BLACK, (9, 9, 9)], drawn(0, 1)),
    "white-first.tif": palette([WHITE, BLACK], drawn(0, 1)),
    "late.png": palette([BLACK] * 7 + [WHITE], drawn(7)),
    "bits.png": Image.fromarray(drawn(255)).convert("1"),
    "bits.tif": Image.fromarray(drawn(255)).convert("1"),
    "rgb.png": Image.fromarray(drawn(255)).convert("RGB"),
    "rgba.png": Image.fromarray(drawn(255)).convert("RGBA"),
    "alpha.png": Image.fromarray(np.dstack([drawn(255, 255)] * 3 + [drawn(255)])),
    "zero-one.png": Image.fromarray(drawn(1)),
    "deep.png": Image.fromarray(drawn(65535, 0, np.uint16)),
    "deep-grey.png": Image.fromarray(drawn(40000, 30000, np.uint16)),
    "deep-one.png": Image.fromarray(drawn(1, 0, np.uint16)),
}


@pytest.mark.parametrize("name", SALIENCY_MASKS)
def test_a_saliency_mask_is_what_one_sees(tmp_path, name):
    write_image(tmp_path / "images" / f"{Path(name).stem}.jpg")
    (tmp_path / "masks").mkdir()
    SALIENCY_MASKS[name].save(tmp_path / "masks" / name)
    _, mask = training_pairs(config(data=tmp_path)).load(0, 40)
    expected = Image.fromarray(drawn(1)).resize((40, 40), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(mask, np.asarray(expected))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.fromarray(drawn(255, 0, np.uint16)), "values up to 255; salient is 32896 to 65535"),
        (palette([BLACK, (255, 0, 0)], drawn(1)), "coloured"),
        (Image.fromarray(drawn(1).astype(np.float32)), "32-bit numbers"),
        (Image.fromarray(np.dstack([drawn(0)] * 3 + [drawn(255)])), "nothing is salient"),
    ],
)
def test_a_saliency_mask_without_meaning_is_refused(tmp_path, image, reason):
    write_image(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    image.save(tmp_path / "masks" / "a.tif")
    with pytest.raises(UserError, match=f"a.tif: {reason}"):
        training_pairs(config(data=tmp_path))


CLASS_MASKS = {  # class 2 on class 1, whatever the colours
    "palette.png": palette([WHITE, BLACK, (0, 128, 0)], drawn(2, 1)),
    "grey.png": Image.fromarray(drawn(2, 1)),
    "deep.png": Image.fromarray(drawn(2, 1, np.uint16)),
    "alpha.png": Image.fromarray(drawn(2, 1)).convert("LA"),
}


@pytest.mark.parametrize("name", [*CLASS_MASKS, "two-bits.png"])
def test_a_class_is_the_index_or_the_value(tmp_path, name):
    write_image(tmp_path / "images" / f"{Path(name).stem}.jpg")
    (tmp_path / "masks").mkdir()
    if name == "two-bits.png":
        (tmp_path / "masks" / name).write_bytes(two_bit_png(drawn(2, 1)))
    else:
        CLASS_MASKS[name].save(tmp_path / "masks" / name)
    _, mask = training_pairs(config("segmentation", data=tmp_path, classes=3)).load(0, 40)
    assert set(np.unique(mask)) == {1, 2}
    assert mask[20, 20] == 2


def two_bit_png(values: np.ndarray) -> bytes:
    """A grey PNG of two bits, which PIL does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    height, width = values.shape
    quads = values.reshape(height, -1, 4)
    packed = (quads * [64, 16, 4, 1]).sum(-1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", width, height, 2, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def test_duts_as_published(tmp_path, capsys):
    folder = write_pairs(tmp_path, "DUTS-TR-Image", "DUTS-TR-Mask", count=3)
    masks = folder / "DUTS-TR-Mask"
    write_mask(masks / "extra.png", half_mask())
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(masks / "picture01.jpg")  # a black twin
    pairs = training_pairs(config(data=folder))
    assert len(pairs) == 3
    assert pairs.load(1, 40)[1].mean() == 0.5
    errors = capsys.readouterr().err
    assert "1 masks without image, left out (extra.png)" in errors
    assert "left out (picture01.jpg)" in errors


@pytest.mark.parametrize(
    "part",
    [
        *(".", "VOCdevkit", "VOCdevkit/VOC2012", "VOCdevkit/VOC2012/JPEGImages"),
        *("VOCdevkit/VOC2012/ImageSets", "VOCdevkit/VOC2012/ImageSets/Segmentation"),
    ],
)
def test_voc_is_known_by_any_of_its_folders(tmp_path, part):
    options = config("segmentation", data=write_voc(tmp_path) / part)
    assert training_pairs(options).name == "voc2012-train"
    assert [test.name for test in scored_pairs(options)] == ["voc2012-val"]
    with pytest.raises(UserError, match="--classes 5: VOC 2012 has 21"):
        training_pairs(config("segmentation", data=options.data, classes=5))


def test_voc_with_a_file_missing_is_refused(tmp_path):
    root = write_voc(tmp_path)
    next((root / "VOCdevkit/VOC2012/SegmentationClass").iterdir()).unlink()
    options = config("segmentation", data=root)
    with pytest.raises(UserError, match=r"\.png: no such file"):
        training_pairs(options), scored_pairs(options)


def test_test_sets_of_one_name_are_refused(tmp_path):
    folders = [write_pairs(tmp_path / n / "scenes", "images", "masks", count=1) for n in "ab"]
    with pytest.raises(UserError, match="2 test sets are called 'scenes'"):
        scored_pairs(config(test=tuple(folders)))


def test_a_file_that_changes_or_goes_is_named(tmp_path):
    folder = write_pairs(tmp_path, "images", "masks", count=2)
    pairs = training_pairs(config(data=folder))
    write_image(folder / "images" / "picture00.jpg", seed=9)
    (folder / "masks" / "picture01.png").unlink()
    with pytest.raises(UserError, match=r"picture00\.jpg has changed since the training began"):
        pairs.load(0, 20)
    with pytest.raises(UserError, match=r"picture01\.png: cannot be read"):
        pairs.load(1, 20)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_worker_names_it_too(tmp_path, num_workers):
    folder = write_pairs(tmp_path, "images", "masks", count=2)
    pairs = training_pairs(config(data=folder))
    (folder / "masks" / "picture01.png").unlink()
    batches = Batches(
        pairs, [0, 1], size=20, batch_size=2, num_workers=num_workers, device=torch.device("cpu")
    )
    with pytest.raises(UserError, match=r"picture01\.png: cannot be read") as refusal:
        list(batches)
    assert "Traceback" not in str(refusal.value)


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible ...", "shm"),
        ("unable to allocate shared memory(shm) for file </torch_7>: No space", "--shm-size"),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "fewer --num-workers"),
    ],
)
def test_workers_without_memory_say_what_to_do(monkeypatch, message, remedy):
    class Killed:
        def __iter__(self):
            raise RuntimeError(message)

    batches = Batches(
        training_pairs(config(limit=10)),
        [0],
        size=16,
        batch_size=1,
        num_workers=0,
        device=torch.device("cpu"),
    )
    monkeypatch.setattr(batches, "_loader", Killed())
    with pytest.raises(UserError, match=remedy):
        list(batches)
