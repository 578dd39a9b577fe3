"""The library as a researcher uses it, from images to a report; run by hand in a notebook too."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import DataLoader, Dataset

import position_probes as pp
from data import targets
from data.targets import position_map
from tests.extraction import make_photos

SETTINGS: dict[str, Any] = {"weights": "random", "image_size": 64, "precision": "fp32"}
ROOT = Path(__file__).parent.parent
HEAD = ("squeezenet1_1-random-zeros-image-size-64-exact", "H-f2-k3-d1-p0-s0")


class Photos(Dataset[Image.Image]):
    """Images in memory, as a Dataset of PIL images."""

    def __init__(self, folder: Path) -> None:
        self.images = [Image.open(path).convert("RGB") for path in sorted(folder.iterdir())]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image.Image:
        return self.images[index]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("facade"), train=10, test=4)


@pytest.fixture(scope="module")
def cache(folder: Path) -> pp.FeatureCache:
    return pp.extract_features(
        "squeezenet1_1",
        {"train": folder / "train", "test": folder / "test"},
        cache_dir=folder / "features",
        **SETTINGS,
    )


@pytest.fixture(scope="module")
def results(folder: Path, cache: pp.FeatureCache) -> pp.Results:
    options = {"levels": ("f2",), "solver": "exact", "pattern": ("H",)}
    return pp.train_probes(cache, results_dir=folder / "results", **options)


def test_about_ten_names() -> None:
    assert len(pp.__all__) <= 12
    assert all(getattr(pp, name).__doc__ for name in pp.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pp.nothing  # noqa: B018


def test_a_cache_is_a_table_of_levels(cache: pp.FeatureCache) -> None:
    assert len(cache) == len(cache.names) == len(cache["f2"]) == 10 + 4 + 10
    rows = cache.rows("test")
    whole = cache.read("f2", np.arange(len(cache)))
    np.testing.assert_array_equal(cache["f2"][int(rows[0])], whole[rows[0]])
    np.testing.assert_array_equal(cache["f2"][2:9:3], whole[2:9:3])
    np.testing.assert_array_equal(cache["f2"][-1], whole[-1])
    np.testing.assert_array_equal(np.stack(list(cache["f2"])), whole)
    with pytest.raises(IndexError):
        cache["f2"][len(cache)]
    with pytest.raises(pp.UserError, match="level 'f9'"):
        cache["f9"]


def test_a_data_loader_with_workers_reads_a_level(cache: pp.FeatureCache) -> None:
    loader = DataLoader(cache.dataset("f2", "train"), batch_size=4, num_workers=2)
    assert isinstance(loader.dataset, Dataset)
    expected = cache.read("f2", cache.rows("train"))
    np.testing.assert_array_equal(torch.cat(list(loader)).numpy(), expected)
    with pytest.raises(pp.UserError, match=r"no image .* in the set 'sketches': use train, test"):
        cache.dataset("f2", "sketches")


def test_a_dataset_in_memory_equals_the_folder(
    folder: Path, cache: pp.FeatureCache, tmp_path: Path
) -> None:
    sets = {"train": Photos(folder / "train"), "test": Photos(folder / "test")}
    again = pp.extract_features("squeezenet1_1", sets, cache_dir=tmp_path, **SETTINGS)
    for level in cache.levels:
        np.testing.assert_array_equal(again[level][:], cache[level][:])


def test_a_head_reads_a_new_image_as_it_was_scored(
    folder: Path, cache: pp.FeatureCache, results: pp.Results
) -> None:
    head = pp.load_head(folder / "results", *HEAD)
    maps = pp.predict(head, cache, [Image.open(p) for p in sorted((folder / "test").iterdir())])
    assert maps.shape == (4, 224, 224)
    target = position_map("H").ravel()
    found = [spearmanr(values.ravel(), target).statistic for values in maps]
    rows = results.image_scores[results.image_scores["images"] == "test"]
    np.testing.assert_allclose(found, rows["spc"], atol=2e-5)
    mae = np.abs(maps.reshape(4, -1) - target).mean(1)
    np.testing.assert_allclose(mae, rows["mae"], atol=2e-5)
    assert results.scores["spc"].notna().any()


def test_another_network_is_refused(folder: Path, results: pp.Results) -> None:
    head = pp.load_head(folder / "results", *HEAD)
    other = pp.wrap_module(nn.Sequential(nn.Conv2d(3, 4, 3)), name="mine", taps=("0",))
    with pytest.raises(pp.UserError, match=r"mine .* is not the network of these features"):
        pp.predict(head, other, [np.zeros((64, 64, 3), np.uint8)])
    with pytest.raises(pp.UserError, match="no run 'none'"):
        pp.load_head(folder / "results", "none", "H")


def test_a_network_of_ones_own_with_batch_norm(folder: Path, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    cache = pp.extract_features(
        module, folder / "train", taps=("2",), cache_dir=tmp_path, image_size=32, limit=4
    )
    assert cache.identity.backbone == "sequential"
    assert cache.identity.calibration is not None
    with pytest.raises(pp.UserError, match="name the modules to tap"):
        pp.extract_features(module, folder / "train", cache_dir=tmp_path)


def test_a_target_of_ones_own(
    folder: Path, cache: pp.FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_patterns", dict(targets._patterns))
    corner = np.outer(np.linspace(1, 0, 56), np.linspace(1, 0, 56))
    results = pp.train_probes(
        cache,
        targets={"corner": corner},
        results_dir=tmp_path,
        levels=("f2",),
        kernel_size=(1,),
        solver="exact",
    )
    assert set(results.scores["pattern"]) == {"corner"}
    with pytest.raises(pp.UserError, match="square"):
        pp.train_probes(cache, targets={"wide": np.ones((2, 3))}, results_dir=tmp_path)


def test_a_report(folder: Path, results: pp.Results) -> None:
    path = pp.report(folder / "results", folder / "tables", format=("html",))
    assert path.suffix == ".html"
    assert path.exists()


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,  # `-c` looks for modules in the current folder first
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    done = run("import position_probes, sys; print({'torch', 'pandas', 'h5py'} & set(sys.modules))")
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["data", "extract", "probe", "analysis"])
def test_a_module_that_hides_ours_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").touch()
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run("import position_probes", PYTHONPATH=path)
    assert f"{tmp_path / name}.py is found instead of the package '{name}'" in done.stderr
    command = "import sys; sys.argv = ['/bin/{}', '--help']; import position_probes as p; p.main()"
    for program in ("extract-features", "train-probes", "make-tables", "train-backbone"):
        done = run(command.format(program), PYTHONPATH=path)
        assert done.returncode == 0, done.stderr
        assert "--debug" in done.stdout
