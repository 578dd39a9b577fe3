"""Jobs of an array, and resumed runs: each looks at the images of its own shards."""

import hashlib
from pathlib import Path

import pytest

from data.cache.reader import FeatureCache
from data.images.files import stamps
from data.tools.errors import UserError
from extract.run import extract_features
from extract.shards.prepare import SCANS
from tests.extraction import contents, make_photos, small_config

THREE = {"num_shards": 3}  # of one shard each: 130 train images, 10 of test, 10 synthetic


def test_an_array_job_and_a_resumed_run_decode_their_own_shards_alone(
    tmp_path: Path, examined: list[str]
):
    photos = make_photos(tmp_path / "photos")  # 150 images with the synthetic ones: three shards
    config = small_config(photos, tmp_path / "features", num_shards=3)
    extract_features(config)
    assert (config.cache_dir / SCANS).is_dir()
    examined.clear()
    extract_features(small_config(photos, tmp_path / "features", num_shards=3, shard_index=1))
    own = [f"photo-{number:03d}.png" for number in range(64, 128)]
    assert sorted(examined) == own
    examined.clear()
    extract_features(small_config(photos, tmp_path / "features"))
    assert len(examined) == 150 - 128 - 10  # the third shard; ten of its images are synthetic
    examined.clear()
    extract_features(small_config(photos, tmp_path / "features"))
    assert not examined


@pytest.fixture
def begun(tmp_path: Path, examined: list[str]) -> tuple[Path, Path]:
    """Photographs, and the caches' folder after the first of three jobs."""
    photos = make_photos(tmp_path / "photos")
    extract_features(small_config(photos, tmp_path / "features", **THREE))
    return photos, tmp_path / "features"


def rewrite(photos: Path, number: int) -> None:
    other = photos / "test" / "photo-000.png"
    (photos / "train" / f"photo-{number:03d}.png").write_bytes(other.read_bytes())


def test_a_job_looks_at_its_own_shards(begun: tuple[Path, Path], asked: list[str]):
    photos, caches = begun
    extract_features(small_config(photos, caches, **THREE, shard_index=1))
    own = {f"photo-{number:03d}.png" for number in range(128)}  # the first 64 calibrate
    assert set(asked) == own | {"train", "test"}


def test_a_job_refuses_its_images_where_they_changed(begun: tuple[Path, Path]):
    photos, caches = begun
    rewrite(photos, 100)
    for _ in range(2):
        with pytest.raises(UserError, match=r"1 changed \(first train photo-100.png\)"):
            extract_features(small_config(photos, caches, **THREE, shard_index=1))


def test_the_job_that_completes_refuses_the_images_of_others(begun: tuple[Path, Path]):
    photos, caches = begun
    rewrite(photos, 100)
    last = small_config(photos, caches, **THREE, shard_index=2)
    extract_features(last)  # which neither needs the image nor completes
    with pytest.raises(UserError, match=r"1 changed \(first train photo-100.png\)"):
        extract_features(small_config(photos, caches, **THREE, shard_index=1))


def test_an_image_added_where_folders_have_no_times_is_told_in_the_end(
    begun: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    photos, caches = begun
    ask = stamps._ask
    times = {folder: ask(str(folder)) for folder in (photos / "train", photos / "test")}
    monkeypatch.setattr(stamps, "_ask", lambda path: times.get(Path(path)) or ask(path))
    (photos / "train" / "zz.png").write_bytes((photos / "test/photo-000.png").read_bytes())
    extract_features(small_config(photos, caches, **THREE, shard_index=2))
    with pytest.raises(UserError, match=r"1 added \(first train zz.png\)"):
        extract_features(small_config(photos, caches, **THREE, shard_index=1))


def test_images_of_shards_that_are_there_are_looked_at_in_the_end(begun: tuple[Path, Path]):
    photos, caches = begun
    extract_features(small_config(photos, caches, **THREE, shard_index=1))
    rewrite(photos, 100)
    with pytest.raises(UserError, match=r"1 changed \(first train photo-100.png\)"):
        extract_features(small_config(photos, caches))
    (folder,) = [path.parent for path in caches.glob("*/manifest.json")]
    assert not (folder / "cache.h5").exists()


def test_a_complete_cache_of_changed_images_is_told(begun: tuple[Path, Path]):
    photos, caches = begun
    extract_features(small_config(photos, caches))
    rewrite(photos, 100)
    with pytest.raises(UserError, match=r"1 changed \(first train photo-100.png\)"):
        extract_features(small_config(photos, caches, **THREE))


def test_images_touched_meanwhile_complete_the_same_cache(begun: tuple[Path, Path], tmp_path: Path):
    photos, caches = begun
    for number in (3, 100, 129):
        (photos / "train" / f"photo-{number:03d}.png").touch()
    folder = extract_features(small_config(photos, caches))
    other = extract_features(small_config(photos, tmp_path / "others"))
    assert contents(folder) == contents(other)


def test_an_image_changed_between_two_networks_is_taken_as_it_is(begun: tuple[Path, Path]):
    photos, caches = begun
    rewrite(photos, 100)
    folder = extract_features(small_config(photos, caches, padding="reflect"))
    own = (photos / "train" / "photo-100.png").read_bytes()
    assert FeatureCache(folder).records[100].sha256 == hashlib.sha256(own).hexdigest()
