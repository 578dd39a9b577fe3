from __future__ import annotations

import hashlib
import pickle
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from extraction import make_photos, small_config
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from analysis.config import TablesConfig
from analysis.make import make_tables
from data.cache.reader import FeatureCache
from data.images.arrays import as_rgb
from data.images.files.rgb import DecodingError
from data.images.image_set import ImageSet, open_images
from data.images.source import ImageRecord, ImageSource
from data.tools.errors import UserError
from extract.run import extract_features
from probe.config import ProbeConfig
from probe.train import train_probes

SIZE = 32


def picture(seed: int = 0, width: int = 48, height: int = 40) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def study(images: Any, **changes: Any) -> ImageSet:
    options: dict[str, Any] = {"limit": None, "seed": 0, "num_workers": 2, "image_size": SIZE}
    return open_images(images, **{**options, **changes})


def floats(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image).astype(np.float32) / np.float32(255)


# Every way to hold one picture in memory.
HOLDS: dict[str, Callable[[Image.Image], Any]] = {
    "PIL": lambda image: image,
    "PIL with opacity": lambda image: image.convert("RGBA"),
    "array": np.asarray,
    "array with a label": lambda image: (np.asarray(image), 3),
    "float array": floats,
    "double array": lambda image: np.asarray(image) / 255,
    "half array": lambda image: floats(image).astype(np.float16),
    "tensor": lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1),
    "float tensor": lambda image: torch.from_numpy(floats(image)).permute(2, 0, 1),
    "with a label": lambda image: (torch.from_numpy(floats(image)).permute(2, 0, 1), 7),
    "four channels": lambda image: np.asarray(image.convert("RGBA")),
}


class Held(Dataset[Any]):
    """Images in memory, as a Dataset that a process can be given."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


@pytest.mark.parametrize("kind", HOLDS)
def test_every_way_to_hold_an_image_is_one_image(kind: str) -> None:
    pictures = [picture(seed) for seed in range(3)]
    plain = study({"train": pictures, "test": pictures[:1]})
    held = study({"train": Held([HOLDS[kind](p) for p in pictures]), "test": pictures[:1]})
    assert held.records == plain.records
    for row in range(3):
        expected = np.asarray(pictures[row].resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        assert np.array_equal(held.load(row), expected)


def test_grey_of_every_kind() -> None:
    grey = picture().convert("L")
    expected = np.asarray(grey.convert("RGB"))
    array = np.asarray(grey)
    for item in (
        grey,
        array,
        array[..., None],
        array / 255.0,
        torch.from_numpy(array.copy())[None],
    ):
        assert np.array_equal(np.asarray(as_rgb(item)), expected)


@given(
    width=st.integers(16, 40),
    height=st.integers(16, 40),
    kind=st.sampled_from(sorted(set(HOLDS) - {"half array"})),
)
@settings(max_examples=30, deadline=None)
def test_any_shape_comes_back(width: int, height: int, kind: str) -> None:
    image = picture(1, width, height)
    assert np.array_equal(np.asarray(as_rgb(HOLDS[kind](image))), np.asarray(image))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (np.full((20, 20, 3), 1.5), "floats from 1.5 to 1.5"),
        (np.full((20, 20, 3), -0.1), "floats from -0.1"),
        (np.full((20, 20, 3), np.nan), "nan"),
        (np.full((20, 20, 3), 255.0), "floats from 255"),
        (np.zeros((20, 20, 3), np.int64), "int64"),
        (np.zeros((3, 20, 20), np.uint8), "shape"),
        (np.zeros((20, 20, 2), np.uint8), "shape"),
        (torch.zeros(20, 20, 3), "shape"),
        (np.zeros((2, 20, 20, 3), np.uint8), "shape"),
        (np.zeros((8, 20, 3), np.uint8), "20x8 pixels"),
        (Image.new("F", (20, 20)), "no known white"),
        ("photo.png", "shape"),
    ],
)
def test_what_is_no_image(item: Any, reason: str) -> None:
    with pytest.raises(DecodingError, match=reason):
        as_rgb(item)
    found = study({"train": Held([item, picture()]), "test": [picture()]})
    assert [(bad.name, bad.images) for bad in found.bad] == [("image-00000", "train")]
    assert found.load(0).shape == (SIZE, SIZE, 3)
    assert found.records[0].name == "image-00001"


def test_names_and_hashes() -> None:
    found = study({"train": {"a b.png": picture(0), "c": picture(1)}, "test": [picture(0)]})
    assert [record.name for record in found.records[:3]] == ["a b.png", "c", "image-00000"]
    pixels = b"48x40 RGB\n" + np.asarray(picture(1)).tobytes()
    assert found.records[1].sha256 == hashlib.sha256(pixels).hexdigest()
    assert found.records[0].sha256 == found.records[2].sha256
    assert "1 images are in both train and test" in "\n".join(found.notes)


def test_random_augmentation_is_noticed() -> None:
    class Augmented(Held):
        def __getitem__(self, index: int) -> Any:
            self.items.append(None)
            return picture(len(self.items))

        def __len__(self) -> int:
            return 2

    found = study({"train": Augmented([]), "test": [picture()]})
    with pytest.raises(UserError, match=r"train image image-00001 .* without random augmentation"):
        found.load(1)


class Checkers(ImageSource):
    """A source written outside: its images are of another size than is asked for."""

    @property
    def records(self) -> tuple[ImageRecord, ...]:
        sets = ("sketches", "train", "test", "train")
        return tuple(ImageRecord(f"c{n}", images, f"{n:064x}") for n, images in enumerate(sets))

    def load(self, index: int) -> NDArray[np.uint8]:
        board = np.kron(np.indices((4, 4)).sum(axis=0) % 2, np.ones((index + 8, index + 8)))
        return np.repeat(board[..., None], 3, axis=-1).astype(np.uint8) * np.uint8(255)


def test_a_source_from_outside() -> None:
    found = pickle.loads(pickle.dumps(study(Checkers())))
    assert [(record.images, record.name) for record in found.records[:4]] == [
        ("train", "c1"),
        ("train", "c3"),
        ("test", "c2"),
        ("sketches", "c0"),
    ]
    for row, index in enumerate((1, 3, 2, 0)):
        whole = Image.fromarray(Checkers().load(index))
        expected = np.asarray(whole.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        assert np.array_equal(found.load(row), expected)
    alone = study({"train": Checkers(), "test": Checkers()}, limit=2)
    assert [record.images for record in alone.records[:4]] == ["train", "train", "test", "test"]


def test_a_source_that_returns_no_image() -> None:
    class Floats(Checkers):
        def load(self, index: int) -> Any:
            return super().load(index) / 255.0

    with pytest.raises(UserError, match=r"train image c1: .* float64 .* return uint8"):
        study(Floats()).load(0)


def test_a_list_of_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "cab"]
    for seed, path in enumerate(paths):
        picture(seed).save(path)
    found = study({"train": paths, "test": [str(paths[0])]})
    assert [record.name for record in found.records[:3]] == [str(path) for path in paths]
    assert np.array_equal(found.load(0), found.load(3))
    paths[1].unlink()
    with pytest.raises(UserError, match=r"a\.png was changed"):
        found.load(1)


@pytest.mark.parametrize("name", ["black", "noise", "", "a b", "../up", "=1", "1st", "a\n"])
def test_names_of_sets_that_will_not_do(name: str) -> None:
    with pytest.raises(UserError, match="image set"):
        study({"train": [picture()], "test": [picture()], name: [picture()]})


def test_where_the_images_come_from(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    found = study({"train": tmp_path, "more": [picture()]}, limit=1)
    assert found.places == {"train": str(tmp_path), "test": "samples", "more": "memory"}
    assert [note for note in found.notes if "embedded" in note] == [
        "the test images are the 1 embedded samples: no --test was given"
    ]
    assert study({}, limit=1).notes == []


def test_images_in_memory_give_the_features_of_the_same_files(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 4, 2)
    opened = {
        images: {p.name: Image.open(p) for p in sorted((photos / images).iterdir())}
        for images in ("train", "test")
    }
    files = extract_features(small_config(photos, tmp_path / "files"))
    memory = small_config(photos, tmp_path / "memory", train=None, test=None)
    held = extract_features(replace(memory), images=opened)
    first, second = FeatureCache(files), FeatureCache(held)
    assert [(r.images, r.name) for r in first.records] == [
        (r.images, r.name) for r in second.records
    ]
    rows = np.arange(len(first.records))
    for level in first.levels:
        assert first.read(level, rows).tobytes() == second.read(level, rows).tobytes()


def test_named_test_sets_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = torch.stack([HOLDS["tensor"](picture(seed)) for seed in range(12)])
    images = {
        "train": TensorDataset(pictures[:8]),
        "test": pictures[8:10],
        "sketches": pictures[[0, 11]].numpy().transpose(0, 2, 3, 1),
    }
    config = small_config(tmp_path, tmp_path / "features", train=None, test=None)
    cache = FeatureCache(extract_features(config, images=images))
    assert cache.image_sets == ("train", "test", "sketches", "black", "white", "noise")
    note = (
        "note: 1 images are in both train and sketches (the first is image-00000 and image-00000)"
    )
    assert capsys.readouterr().err.count(note) == 1
    scores = pd.read_csv(
        train_probes(
            ProbeConfig(
                cache_dir=tmp_path / "features",
                results_dir=tmp_path / "results",
                epochs=1,
                levels=("f1",),
                kernel_size=(1,),
                pattern=("H",),
            )
        )
    )
    assert capsys.readouterr().err.count(note) == 1
    make_tables(TablesConfig(results_dir=tmp_path / "results", out=tmp_path / "t", format=("md",)))
    assert capsys.readouterr().err.count(note) == 1
    assert dict(zip(scores["images"], scores["n_images"], strict=True)) == {
        "test": 2,
        "sketches": 2,
        "black": 1,
        "white": 1,
        "noise": 8,
    }


def test_the_source_that_contributing_shows() -> None:
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = next(part for part in text.split("```") if "class Squares" in part)
    names: dict[str, Any] = {"ImageSource": ImageSource, "ImageRecord": ImageRecord, "np": np}
    exec(textwrap.dedent(block.removeprefix("python\n")), names)
    found = study(names["Squares"]())
    assert [record.images for record in found.records[:10]] == [*["train"] * 8, "test", "black"]
    assert found.load(8).mean() > found.load(0).mean() > 0
