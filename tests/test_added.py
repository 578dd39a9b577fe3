"""Six things added from outside the packages, as CONTRIBUTING shows them, in one study."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.tables import table as tables
from analysis.tables.compare import joined
from analysis.tables.table import Table, add_table
from data import targets
from data.images.source import ImageRecord, ImageSource
from data.targets import Pattern, add_pattern, position_map
from data.tools.errors import UserError
from extract.backbones.sources import find
from extract.backbones.sources.architecture import Architecture, seeded
from extract.config import ExtractConfig
from extract.run import extract_features
from probe.config import ProbeConfig
from probe.heads import kind
from probe.heads.dense import build_head, dense_loss, dense_target
from probe.heads.kind import Probe, add_probe, find_probe
from probe.metrics import METRICS, Metric
from probe.scoring import Scores, score_maps
from probe.train import load_head, train_probes
from tests.caches import make_cache

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def example(name: str, known: dict[str, Any]) -> dict[str, Any]:
    """What the block of CONTRIBUTING that has `name` defines, run where `known` is imported."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    block = next(part for part in text.split("```")[1::2] if name in part)
    exec(textwrap.dedent(block.removeprefix("python\n")), known)
    return known


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test adds is gone after it."""
    monkeypatch.setattr(targets, "_patterns", dict(targets._patterns))
    monkeypatch.setattr(kind, "_probes", dict(kind._probes))
    monkeypatch.setattr(tables, "_ADDED", dict(tables._ADDED))
    monkeypatch.setattr(find, "_sources", dict(find._sources))
    monkeypatch.setitem(METRICS, "largest", None)
    del METRICS["largest"]


class MyNetworks:
    """The package of networks that CONTRIBUTING's example speaks of."""

    @staticmethod
    def create(name: str) -> nn.Module:
        module = nn.Sequential()
        module.add_module("stem", nn.Conv2d(3, 4, 3, padding=1))
        module.add_module("layer1", nn.Conv2d(4, 5, 3, padding=1, stride=2))
        return module


IMPORTED = {
    "Architecture": Architecture,
    "add_source": find.add_source,
    "my_networks": MyNetworks,
    "seeded": seeded,
}


def test_six_things_from_outside_in_one_study(tmp_path: Path, monkeypatch) -> None:
    example("ring(size)", {"np": np, "Pattern": Pattern, "add_pattern": add_pattern})
    known = {"np": np, "METRICS": METRICS, "Metric": Metric}
    example("largest_error", known)
    known = {"np": np, "ImageSource": ImageSource, "ImageRecord": ImageRecord}
    images = example("class Squares", known)["Squares"]()
    example("mine:small", {**globals(), **IMPORTED})
    example("profile_error", {**globals()})
    (tmp_path / "windows.csv").write_text(
        "source,table,pattern,backbone,weights,backbone_padding,levels,kernel_size,depth,"
        "probe_padding,images,spc,mae\nothers,X1,H,vgg16,imagenet,zeros,f2,5,1,0,test,0.625,0.125\n"
    )
    monkeypatch.chdir(tmp_path)
    known = {"Table": Table, "joined": joined, "add_table": add_table, "Path": Path}
    example("WINDOWS", known)

    config = ExtractConfig(
        backbone="mine:small", weights="random", cache_dir=tmp_path / "features", image_size=32
    )
    extract_features(config, images=images)
    results, tables_folder = tmp_path / "results", tmp_path / "tables"
    probes = {
        "cache_dir": tmp_path / "features",
        "results_dir": results,
        "levels": ("f2",),
        "epochs": 2,
        "batch_size": 4,
        "kernel_size": (5,),
        "pattern": ("H", "ring"),
        "control": True,
    }
    train_probes(ProbeConfig(probe=("dense", "profile"), **probes))
    page = make_tables(
        TablesConfig(results, tables_folder, format=("md", "csv", "html"))
    ).read_text()

    scores = pd.read_csv(results / "scores.csv")
    natural = scores[scores["images"] == "test"].set_index("head")
    assert set(natural["backbone"]) == {"mine:small"}
    assert set(natural["pattern"]) == {"H", "ring"}
    assert (natural["n_images"] == 1).all()  # the ninth square
    dense, profile = natural[natural["probe"].isna()], natural[natural["probe"] == "profile"]
    assert len(dense) == len(profile) == 2
    assert dense["largest"].between(0, 1).all()
    assert dense["spc"].notna().all()
    assert profile["profile_error"].notna().all()
    assert profile["spc"].isna().all()
    assert profile["control_spc"].notna().all()

    windows = (tables_folder / "table_X1.md").read_text()
    assert ".625" in windows
    assert "mine:small" in windows
    for text in (page, (tables_folder / "probes.md").read_text()):
        assert "profile_error" in text
        assert f"{profile['profile_error'].iloc[0]:.4g}" in text
    for word in ("ring", "largest error", "mine:small", "Larger windows on single levels"):
        assert word in page


def test_a_kept_head_of_another_kind_answers_again(tmp_path: Path) -> None:
    example("profile_error", {**globals()})
    cache = make_cache(tmp_path / "features")
    config = ProbeConfig(
        cache_dir=tmp_path / "features",
        results_dir=tmp_path / "results",
        levels=("f1+f2",),
        pattern=("H",),
        probe=("profile",),
        epochs=3,
        precision="fp32",
    )
    path = train_probes(config)
    row = pd.read_csv(path).query("images == 'test'").iloc[0]
    head = load_head(tmp_path / "results", row["run"], row["head"])
    rows = cache.rows("test")
    features = np.concatenate([cache[level][rows] for level in ("f1", "f2")], axis=1)
    with torch.no_grad():
        outputs = head(torch.from_numpy(features).float()).numpy()[:, 0]
    expected = np.abs(outputs - position_map("H", 28).mean(0)).mean()
    assert row["profile_error"] == pytest.approx(expected, rel=1e-5)
    # It is told of where nothing else was measured, too.
    page = make_tables(TablesConfig(tmp_path / "results", tmp_path / "tables", format=("md",)))
    assert f"{row['profile_error']:.4g}" in page.read_text()


@pytest.mark.arithmetic
def test_plain_modules_learn_what_stacked_heads_learn(tmp_path: Path) -> None:
    """The bank's products, sums and losses against torch's own convolutions and equation 3."""
    add_probe(Probe("plain", build_as_dense, dense_target, dense_loss, score_maps))
    make_cache(tmp_path / "features")
    config = ProbeConfig(
        cache_dir=tmp_path / "features",
        results_dir=tmp_path / "results",
        levels=("f2", "all"),
        kernel_size=(1, 3),
        depth=(1, 2),
        pattern=("H", "HS"),
        probe=("dense", "plain"),
        epochs=2,
        batch_size=8,
        precision="fp32",
    )
    scores = pd.read_csv(train_probes(config), keep_default_na=False)
    scores["shape"] = scores["head"].str.removeprefix("plain-")
    stacked = scores[scores["probe"] == ""].set_index(["shape", "images"]).sort_index()
    plain = scores[scores["probe"] == "plain"].set_index(["shape", "images"]).sort_index()
    assert len(stacked) == len(plain) == 2 * 2 * 2 * 2 * 4
    for column in ("spc", "mae", "train_loss", "heldout_loss", "r2"):
        ours, theirs = (
            pd.to_numeric(table[column]).to_numpy(dtype=float) for table in (stacked, plain)
        )
        np.testing.assert_allclose(ours, theirs, atol=2e-3, err_msg=column)


def build_as_dense(spec, channels, recipe):
    """The dense head of the same name, so that both begin alike."""
    from dataclasses import replace

    return build_head(replace(spec, probe="dense"), channels, recipe)


def test_a_kind_must_have_a_name_of_its_own() -> None:
    dense = find_probe("dense")
    add_probe(dense)
    with pytest.raises(UserError, match="'dense' is another one already"):
        add_probe(Probe("dense", build_head, dense_target, dense_loss, lambda *_: Scores({})))
    with pytest.raises(UserError, match="no probe kind 'profile': use dense"):
        find_probe("profile")
    add_probe(Probe("own", build_head, dense_target, dense_loss, score_maps))
    with pytest.raises(UserError, match="only dense maps have a closed form"):
        ProbeConfig(solver="exact", probe=("own",))
