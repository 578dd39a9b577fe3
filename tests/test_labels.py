"""Weights of one name in one folder of caches."""

import shutil
from pathlib import Path

import pytest
import torch
from torchvision import models

from data.cache.reader import FeatureCache
from data.tools.errors import UserError
from extract.config import ExtractConfig
from extract.run import extract_features
from tests.extraction import small_config


@pytest.fixture
def two_files(tmp_path: Path) -> tuple[Path, Path]:
    """Two files checkpoint.pth of different weights."""
    torch.manual_seed(1)
    state = models.squeezenet1_1(weights=None).state_dict()
    paths = (tmp_path / "run1" / "checkpoint.pth", tmp_path / "run2" / "checkpoint.pth")
    for factor, path in enumerate(paths, start=1):
        path.parent.mkdir()
        torch.save({key: value * factor for key, value in state.items()}, path)
    return paths


def config(photos: Path, weights: Path, **changes) -> ExtractConfig:
    folder = weights.parent.parent / "features"
    return small_config(photos, folder, weights=str(weights), limit=2, **changes)


def test_two_files_of_one_name_stand_side_by_side(
    photos: Path, two_files: tuple[Path, Path]
) -> None:
    first, second = (extract_features(config(photos, path)) for path in two_files)
    assert first.name == "squeezenet1_1-checkpoint-zeros-image-size-32"
    digest = FeatureCache(second).identity.weights_sha256[:8]
    assert second.name == f"squeezenet1_1-checkpoint-{digest}-zeros-image-size-32"
    assert FeatureCache(second).identity.weights == f"checkpoint-{digest}"
    # Each finds its own again, by the file's content and not by its place.
    moved = Path(shutil.copytree(two_files[1].parent, two_files[1].parent.parent / "moved"))
    assert extract_features(config(photos, moved / "checkpoint.pth")) == second
    assert extract_features(config(photos, two_files[0])) == first


def test_the_label_holds_for_every_cache_of_a_backbone(
    photos: Path, two_files: tuple[Path, Path]
) -> None:
    extract_features(config(photos, two_files[0]))
    other = extract_features(config(photos, two_files[1], padding="replicate"))
    assert FeatureCache(other).identity.weights.startswith("checkpoint-")


def test_overwrite_replaces_what_has_the_name(photos: Path, two_files: tuple[Path, Path]) -> None:
    first = extract_features(config(photos, two_files[0]))
    before = FeatureCache(first).identity.weights_sha256
    assert extract_features(config(photos, two_files[1], overwrite=True)) == first
    assert FeatureCache(first).identity.weights_sha256 != before


def test_weights_can_be_named(photos: Path, two_files: tuple[Path, Path]) -> None:
    found = extract_features(config(photos, two_files[0], weights_name="mine"))
    assert found.name.startswith("squeezenet1_1-mine-zeros")
    for name in ("imagenet", "hed", "a/b", "-", "", "=1", "a\nb", "x" * 200):
        with pytest.raises(UserError, match=r"weights.name"):
            extract_features(config(photos, two_files[0], weights_name=name))
    with pytest.raises(UserError, match="these are for files"):
        extract_features(small_config(photos, found.parent, weights_name="mine"))
