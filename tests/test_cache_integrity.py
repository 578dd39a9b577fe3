import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.flip_bits import CHANNELS, flip_bits, flipped, make_cache
from data.cache.index import read_index
from data.cache.reader import FeatureCache
from data.cache.verify import find_damage, set_aside
from data.tools.errors import UserError

IMAGE_BYTES = {level: channels * 28 * 28 * 2 for level, channels in CHANNELS.items()}


@pytest.mark.parametrize("compression", ["none", "bitshuffle-lz4"])
def test_flipped_bits_are_found(tmp_path: Path, compression: str) -> None:
    make_cache(tmp_path, compression)
    assert flip_bits(tmp_path, 25) == []


def test_damage_names_the_image_and_the_level(tmp_path: Path) -> None:
    make_cache(tmp_path)
    offset = int(read_index(tmp_path).offsets[0, list(CHANNELS).index("f1")])
    path = tmp_path / "shard-00000.h5"
    path.write_bytes(flipped(path.read_bytes(), 8 * (offset + 5 * IMAGE_BYTES["f1"])))
    (damage,) = find_damage(tmp_path)
    assert (damage.file, damage.reason) == (path.name, "changed in f1 of train image image-5.jpg")


def test_damaged_attributes_are_told_from_damaged_features(tmp_path: Path) -> None:
    make_cache(tmp_path)
    path = tmp_path / "shard-00001.h5"
    content = path.read_bytes()
    path.write_bytes(flipped(content, 8 * content.index(b"max_magnitude")))
    (damage,) = find_damage(tmp_path)
    assert damage.reason == "changed outside of the features (attributes or structure)"


@pytest.mark.parametrize("name", ["manifest.json", "shard-00001.h5", "cache.h5", "SHA256SUMS"])
def test_lost_files_are_found(tmp_path: Path, name: str) -> None:
    make_cache(tmp_path)
    (tmp_path / name).unlink()
    assert name in [damage.file for damage in find_damage(tmp_path)]


def test_a_damaged_cache_is_refused_once_it_is_set_aside(tmp_path: Path) -> None:
    make_cache(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"?")
    set_aside(tmp_path, find_damage(tmp_path))
    assert (tmp_path / "manifest.json.damaged").exists()
    with pytest.raises(UserError, match="no cache"):
        FeatureCache(tmp_path)


def test_a_folder_without_a_cache_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no cache"):
        find_damage(tmp_path)


def test_killed_extractions_resume_to_the_same_bytes() -> None:
    command = [sys.executable, "-m", "benchmarks.kill_extraction", "--kills", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no failure" in done.stdout
