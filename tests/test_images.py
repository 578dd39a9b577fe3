from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import Resize

from data.images.image_set import ImageSet, find_images
from data.images.samples import sample_image
from data.images.source import BadImage
from data.tools.errors import UserError
from data.vocabulary import IMAGE_SETS


def picture(seed: int = 0) -> Image.Image:
    """A picture without symmetry, 60 wide and 40 high."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((60, 40), Image.Resampling.BICUBIC)


def save(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)


def find(train: Path | None, test: Path | None = None, **changes: Any) -> ImageSet:
    if test is None:
        test = train  # fast: no samples to generate
    options: dict[str, Any] = {"limit": None, "seed": 0, "num_workers": 2, "image_size": 32}
    return find_images(train, test, **{**options, **changes})


def names_of(found: ImageSet, images: str = "train") -> list[str]:
    return [record.name for record in found.records if record.images == images]


@pytest.fixture(scope="module")
def samples() -> ImageSet:
    return find_images(None, None, limit=3, seed=5, num_workers=1)


def test_order_of_files(tmp_path: Path) -> None:
    save(tmp_path, "b.png", "a/z.JPG", "a.png", "B.png", "a/ä.png", "a/b/c.gif", "a-b.png")
    found = find(tmp_path)
    # As strings of code points: "-" before "." before "/", capitals first, wherever they are.
    assert names_of(found) == [
        "B.png",
        "a-b.png",
        "a.png",
        "a/b/c.gif",
        "a/z.JPG",
        "a/ä.png",
        "b.png",
    ]
    assert found.bad == ()


def test_order_of_sets(tmp_path: Path) -> None:
    save(tmp_path, "one/x.png", "two/x.png")
    found = find(tmp_path / "one", tmp_path / "two")
    assert [record.images for record in found.records] == [
        *("train", "test", "black", "white"),
        *(["noise"] * 8),
    ]
    assert tuple(dict.fromkeys(record.images for record in found.records)) == IMAGE_SETS
    assert len(found) == 12


def test_what_is_not_called_an_image_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, "a.png", ".hidden.png", ".cache/b.png", "a/._b.png")
    for name in ("notes.txt", "table.csv", "png", "archive.png.zip", "features.h5", "figure.eps"):
        (tmp_path / name).write_text("no image")
    found = find(tmp_path)
    assert names_of(found) == ["a.png"]
    assert found.bad == ()


def test_hash_is_that_of_the_file(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    expected = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert find(tmp_path).records[0].sha256 == expected


def test_copies_are_kept(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    first, second = find(tmp_path).records[:2]
    assert (first.name, second.name) == ("a.png", "b.png")
    assert first.sha256 == second.sha256


@pytest.mark.parametrize("size", [224, 65])
def test_load_equals_torchvision(tmp_path: Path, size: int) -> None:
    save(tmp_path, "a.png", "b.png")
    found = pickle.loads(pickle.dumps(find(tmp_path, image_size=size)))
    for row in range(2):
        expected = np.asarray(Resize((size, size))(picture(row)))
        assert np.array_equal(found.load(row), expected)


def test_bad_files_among_good_ones(tmp_path: Path) -> None:
    save(tmp_path, "good.png", "short.jpg", "z.png")
    data = (tmp_path / "short.jpg").read_bytes()
    (tmp_path / "short.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "zero.png").touch()
    (tmp_path / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    picture().resize((1, 1)).save(tmp_path / "one.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    found = find(tmp_path, tmp_path)
    unusable = [bad for bad in found.bad if bad.images == "train"]
    reasons = {bad.name: bad.reason for bad in unusable}
    expected = {
        "huge.png": "400000000 pixels",
        "one.png": "1x1 pixels",
        "phone.HEIC": "format that cannot be read",
        "short.jpg": "truncated",
        "text.jpg": "not an image",
        "zero.png": "empty file",
    }
    assert list(reasons) == list(expected)
    for name, words in expected.items():
        assert words in reasons[name]
        assert "\n" not in reasons[name]
    assert names_of(found) == ["good.png", "z.png"]
    for row, record in enumerate(found.records):
        assert found.load(row).shape == (32, 32, 3), record


def test_the_scan_does_not_depend_on_the_workers(tmp_path: Path) -> None:
    save(tmp_path, *(f"{number:02d}.png" for number in range(12)))
    for number in (0, 3, 4, 9):
        (tmp_path / f"{number:02d}.png").write_text("bad")
    for limit in (None, 1, 5, 100):
        one = find(tmp_path, limit=limit, num_workers=0)
        assert one == find(tmp_path, limit=limit, num_workers=7)


def test_limit_takes_the_first_good_ones(tmp_path: Path) -> None:
    save(tmp_path, *(f"{number}.png" for number in range(8)))
    for number in (0, 2, 7):
        (tmp_path / f"{number}.png").write_text("bad")
    found = find(tmp_path, limit=3)
    assert names_of(found) == ["1.png", "3.png", "4.png"]
    assert names_of(found, "test") == ["1.png", "3.png", "4.png"]
    assert [bad.name for bad in found.bad if bad.images == "train"] == ["0.png", "2.png"]


def test_links(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    save(folder, "a.png", "deep/b.png")
    save(tmp_path / "elsewhere", "c.png")
    (folder / "deep/up").symlink_to(folder)  # a circle
    (folder / "deep/deep").symlink_to(folder / "deep")
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    (folder / "e.png").symlink_to(folder / "a.png")
    (folder / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "self.png").symlink_to(folder / "self.png")
    found = find(folder)
    assert names_of(found) == ["a.png", "deep/b.png", "e.png", "other/c.png"]
    reasons = {bad.name: bad.reason for bad in found.bad}
    assert list(reasons) == ["lost.png", "self.png"]
    assert "No such file" in reasons["lost.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert find(tmp_path).bad[0] == BadImage("pipe.png", "train", "not a regular file")


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    try:
        os.link(tmp_path / "a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    bad = find(tmp_path).bad[0]
    assert bad == BadImage("caf\\xe9.png", "train", "its name is not UTF-8: rename it")


def test_a_folder_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, "a.png", "locked/b.png")
    scandir = os.scandir

    def refusing(path: str) -> Any:  # permissions do not stop root, who may run this
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find(tmp_path)
    assert names_of(found) == ["a.png"]
    assert found.bad[0] == BadImage("locked", "train", "a folder that cannot be opened")


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere' does not exist"):
        find(tmp_path / "nowhere")
    (tmp_path / "file.png").touch()
    with pytest.raises(UserError, match=r"file.png' is not a folder"):
        find(tmp_path / "file.png")
    with pytest.raises(UserError, match=r"none of the 1 images .* \(file.png: empty file\)"):
        find(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").touch()
    with pytest.raises(UserError, match=r"no images in .*empty'.* \.jpg"):
        find(tmp_path / "empty")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"limit": 0}, "limit 0"), ({"seed": -1}, "seed -1"), ({"image_size": 0}, "image size 0")],
)
def test_numbers_that_will_not_do(change: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find(None, **change)


@pytest.mark.parametrize("damage", ["deleted", "replaced", "emptied"])
def test_a_file_changed_after_the_scan(tmp_path: Path, damage: str) -> None:
    save(tmp_path, "a.png", "b.png")
    found = find(tmp_path)
    path = tmp_path / "b.png"
    if damage == "deleted":
        path.unlink()
    elif damage == "replaced":
        picture(9).save(path)
    else:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"b\.png was changed"):
        found.load(1)
    assert found.load(0).shape == (32, 32, 3)  # the others still load


def test_samples_are_numbered_and_apart(samples: ImageSet) -> None:
    assert names_of(samples) == ["sample-00000", "sample-00001", "sample-00002"]
    assert names_of(samples, "test") == ["sample-00256", "sample-00257", "sample-00258"]
    assert np.array_equal(samples.load(4), sample_image(257, 5))
    digests = [record.sha256 for record in samples.records]
    assert len(set(digests)) == len(digests)
    for row, digest in enumerate(digests):
        assert hashlib.sha256(samples.load(row).tobytes()).hexdigest() == digest


def test_counts_of_samples() -> None:
    found = find_images(None, None, limit=None, seed=0, num_workers=1, image_size=16)
    assert len(names_of(found)) == 256
    assert len(names_of(found, "test")) == 64


def test_synthetic_images(samples: ImageSet) -> None:
    images = {record.name: samples.load(row) for row, record in enumerate(samples.records)}
    assert (images["black"] == 0).all()
    assert (images["white"] == 255).all()
    noise = np.stack([images[f"noise-{number:05d}"] for number in range(8)])
    assert noise.shape == (8, 224, 224, 3)
    assert noise.dtype == np.uint8
    # Chi-square of 256 equally likely levels: mean 255, deviation 22.6.
    counts = np.bincount(noise.ravel(), minlength=256)
    expected = noise.size / 256
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 4 * 22.6
    # Neighbours, channels and images are independent: correlations within 4 standard errors.
    deviations = noise - noise.mean()
    for first, second in (
        (deviations[:, :, 1:], deviations[:, :, :-1]),
        (deviations[:, 1:], deviations[:, :-1]),
        (deviations[..., 0], deviations[..., 1]),
        (deviations[..., 1], deviations[..., 2]),
        (deviations[1:], deviations[:-1]),
    ):
        correlation = (first * second).mean() / noise.var()
        assert abs(correlation) < 4.0 / np.sqrt(first.size)


def test_the_seed_decides_samples_and_noise(samples: ImageSet) -> None:
    again = find_images(None, None, limit=3, seed=5, num_workers=2)
    other = find_images(None, None, limit=3, seed=6, num_workers=1)
    assert again == samples
    same = {
        mine.images
        for mine, theirs in zip(samples.records, other.records, strict=True)
        if mine.sha256 == theirs.sha256
    }
    assert same == {"black", "white"}


def test_images_need_no_torch() -> None:
    code = "import data.images.image_set, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
