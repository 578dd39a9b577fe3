"""CIFAR through torchvision: a stand-in of its files, to the tables that set its cells beside."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision import datasets

from analysis.read.results import without_scores
from analysis.tables.compare import compare
from data.tools.errors import UserError
from extract.tasks.pooled.config import PooledConfig
from extract.tasks.pooled.images import load_parts
from extract.tasks.train import train_backbone

PER_FILE = 10


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The name and the root of files laid out as CIFAR's, of a few random images."""
    kind, count = {
        "cifar10": (datasets.CIFAR10, 10),
        "cifar100": (datasets.CIFAR100, 100),
    }[request.param]
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    sums = {}

    def write(name: str, content: dict[str, Any]) -> None:
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()

    labels = "labels" if count == 10 else "fine_labels"
    for name, _ in [*kind.train_list, *kind.test_list]:
        size = PER_FILE if count == 10 else 5 * PER_FILE
        pixels = rng.integers(0, 256, (size, 3072), dtype=np.uint8)
        write(name, {"data": pixels, labels: [int(n) for n in rng.integers(count, size=size)]})
    write(kind.meta["filename"], {kind.meta["key"]: [f"class {n}" for n in range(count)]})
    # torchvision knows the sums of the real files.
    for one in ("train_list", "test_list"):
        known = [[name, sums[name]] for name, _ in getattr(kind, one)]
        monkeypatch.setattr(kind, one, known)
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": sums[kind.meta["filename"]]})
    return request.param, tmp_path


def test_the_test_images_are_those_of_the_set(cifar: tuple[str, Path]):
    name, root = cifar
    parts = load_parts(PooledConfig("classification", patches=name, patch_root=root))
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    test, training = (kind(str(root), train=train) for train in (False, True))
    assert parts.classes == len(test.classes)
    assert len(parts.train) + len(parts.held_out) == len(training.targets) == 5 * PER_FILE
    assert len(parts.held_out) == PER_FILE // 2
    assert parts.test.shown.tolist() == test.targets
    # Normalised by the training part: its own mean and spread.
    torch.testing.assert_close(
        parts.train.patches.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(parts.train.patches.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    of_image = np.corrcoef(parts.test.patches[3].permute(1, 2, 0).ravel(), test.data[3].ravel())
    assert of_image[0, 1] > 0.999


def test_only_their_networks_stand_beside_the_slides(cifar: tuple[str, Path], tmp_path: Path):
    name, root = cifar
    shared: dict[str, Any] = {
        **{"patches": name, "patch_root": root, "patch_size": 8, "network": "resnet18"},
        **{"epochs": 1, "batch_size": 10, "results_dir": tmp_path / "results", "device": "cpu"},
    }
    train_backbone(PooledConfig("location", head="gap", **shared))
    train_backbone(PooledConfig("classification", **shared))
    scores = pd.read_csv(tmp_path / "results" / "pooled.csv")
    assert set(scores["patches"]) == {name}
    results = without_scores(tmp_path / "results")
    both = {}
    for table, value in (("S1", "accuracy_percent"), ("S2", "value")):
        cells = compare(table, results, measured=pd.DataFrame())
        beside = cells[cells[value].notna() & cells[f"published_{value}"].notna()]
        both[table] = beside[f"published_{value}"].tolist()
    assert (
        both
        == {"cifar10": {"S1": [100.0], "S2": [93.1]}, "cifar100": {"S1": [], "S2": [72.6]}}[name]
    )


def test_files_that_are_not_there_are_refused(tmp_path: Path):
    config = PooledConfig("location", patches="cifar10", patch_root=tmp_path)
    with pytest.raises(UserError, match="nothing is downloaded"):
        load_parts(config)
