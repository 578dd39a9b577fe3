import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from extract.run import extract_features
from tests.extraction import make_photos, small_config


@pytest.fixture
def one_thread() -> Iterator[None]:
    # Layers of small images are too short to share: threads would only wait for each other.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def reference(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted cache of one process."""
    return extract_features(small_config(photos, tmp_path_factory.mktemp("reference")))


@pytest.fixture
def resumable(reference: Path, tmp_path: Path) -> Path:
    """A copy of the reference that a run into `tmp_path` finds."""
    return Path(shutil.copytree(reference, tmp_path / reference.name))
