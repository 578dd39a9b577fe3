import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Processes side by side have a thread each; what threads may change has the marker `arithmetic`.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from data.images import folder
from data.images.files import stamps
from extract.run import extract_features
from tests.extraction import make_photos, small_config


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a GPU its tests are deselected, not skipped: a skip is a tool that could be had."""
    if torch.cuda.is_available():
        return
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=needs_gpu)
    items[:] = [item for item in items if item not in needs_gpu]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under CI a skipped test is a failure: what CI skips rots."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files decoded to be examined, though they are as young as in any test."""
    names: list[str] = []
    decode = folder._decode_file

    def counted(path: Path, size: int) -> Any:
        names.append(path.name)
        return decode(path, size)

    monkeypatch.setattr(folder, "_decode_file", counted)
    monkeypatch.setattr(stamps, "FRESH", -1)
    return names


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files, and folders, that are asked for their stamps."""
    names: list[str] = []
    ask = stamps._ask

    def counted(path: str) -> stamps.Stamp:
        names.append(Path(path).name)
        return ask(path)

    monkeypatch.setattr(stamps, "_ask", counted)
    return names
