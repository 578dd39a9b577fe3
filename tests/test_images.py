from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import Resize

from data.errors import UserError
from data.images import ImageSet, find_images


@pytest.fixture
def photo() -> Image.Image:
    """A picture without symmetry, 60 wide and 40 high."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((60, 40), Image.Resampling.BICUBIC)


def found(folder: Path, limit: int | None = None, image_size: int = 224) -> ImageSet:
    return find_images(folder, None, limit=limit, seed=0, num_workers=2, image_size=image_size)


def test_find_images_orders_sets_and_files(tmp_path: Path, photo: Image.Image) -> None:
    for name in ("b.png", "a/z.JPG", "a.png", "B.png", "a/.hidden.png", ".cache/x.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        photo.save(path)
    (tmp_path / "notes.txt").write_text("not an image, and not called one")
    images = found(tmp_path)
    names = [record.name for record in images.records if record.images == "train"]
    assert names == ["B.png", "a.png", "a/z.JPG", "b.png"]
    assert images.bad == ()
    sets = list(dict.fromkeys(record.images for record in images.records))
    assert sets == ["train", "test", "black", "white", "noise"]


def test_load_equals_torchvision(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.png")
    expected = np.asarray(Resize((224, 224))(photo))
    images = pickle.loads(pickle.dumps(found(tmp_path)))
    assert np.array_equal(images.load(0), expected)


def test_bad_files_are_listed(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "good.png")
    photo.save(tmp_path / "short.jpg")
    data = (tmp_path / "short.jpg").read_bytes()
    (tmp_path / "short.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "zero.png").touch()
    photo.resize((1, 1)).save(tmp_path / "one.png")
    images = found(tmp_path)
    reasons = {bad.name: bad.reason for bad in images.bad}
    assert list(reasons) == ["one.png", "short.jpg", "text.jpg", "zero.png"]
    assert "truncated" in reasons["short.jpg"]
    assert images.records[0].name == "good.png"


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        found(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no images in"):
        found(tmp_path)
