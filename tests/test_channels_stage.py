"""`train-probes --channels`: from caches to channels.csv and ablations.csv."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from caches import make_cache
from torch import nn

from analysis.placed.read import read_ablations
from data.cache.pooled.reader import PooledCache, find_pooled
from data.images.placed.placement import TEST
from data.tools.errors import UserError
from extract.backbones.backbone import Backbone, wrap_module
from extract.placed.config import PlacedConfig
from extract.placed.run import extract_placed
from probe.channels.config import ChannelConfig
from probe.channels.run import score_channels
from probe.cli import main

pytestmark = pytest.mark.usefixtures("one_thread")


def network(padding: str, *, normalised: bool = False) -> Backbone:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1)
    )
    if normalised:
        layers.append(nn.BatchNorm2d(16))
    return wrap_module(layers, name="own", taps=("1", "2"), padding=padding, image_size=48)


def extract(folder: Path, padding: str = "zeros", **options) -> PooledCache:
    given = {"placed": "grid", "grid": (3,), "patch_size": 16, "patch_limit": 30, **options}
    config = PlacedConfig("own", cache_dir=folder, padding=padding, **given)
    (made,) = extract_placed(config, network(padding))
    return PooledCache(made)


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channels")
    for padding in ("zeros", "circular"):
        extract(folder, padding)
        extract(folder, padding, mirrored=True)
    return folder


def scored(caches: Path, results: Path, *options: str) -> pd.DataFrame:
    words = ["--cache-dir", str(caches), "--results-dir", str(results), "--channels", *options]
    main(words, standalone_mode=False)
    return pd.read_csv(results / "channels.csv")


def test_mirrored_images_are_in_a_cache_of_their_own(caches: Path):
    plain, turned = (find_pooled(caches, mirrored=mirrored) for mirrored in (False, True))
    assert len(plain) == len(turned) == 2
    # The image itself, pooled: mirroring changes no mean and no maximum.
    for one, other in zip(plain, turned, strict=True):
        assert one.read("input", "mean") == pytest.approx(other.read("input", "mean"), abs=1e-6)
        assert not np.allclose(one.read("f2", "mean"), other.read("f2", "mean"), atol=1e-6)


def test_networks_of_other_statistics_are_no_pair(tmp_path: Path):
    given = {"placed": "grid", "grid": (3,), "patch_size": 16, "patch_limit": 10}
    for mirrored, calibration in ((False, "whole"), (True, "placed")):
        config = PlacedConfig(
            "own", cache_dir=tmp_path, mirrored=mirrored, calibration=calibration, **given
        )
        extract_placed(config, network("zeros", normalised=True))
    with pytest.raises(UserError, match="has no mirrored counterpart"):
        score_channels(ChannelConfig(cache_dir=tmp_path, rank="flip"))


def test_channels_are_named_with_their_scores(caches: Path, tmp_path: Path):
    rows = scored(caches, tmp_path, "--rank", "flip", "--ablate", "4")
    assert len(rows) == 2 * 2 * (12 + 16)  # networks, poolings, channels of both levels
    assert set(rows["level"]) == {"f1", "f2"}
    assert set(rows["ranked_by"]) == {"flip"}
    mine = rows[(rows["backbone_padding"] == "zeros") & (rows["level"] == "f2")]
    mine = mine[mine["pooling"] == "mean"].set_index("channel")
    (zeros,) = [c for c in find_pooled(caches) if c.identity.padding == "zeros"]
    (turned,) = [c for c in find_pooled(caches, mirrored=True) if c.identity.padding == "zeros"]
    change = (zeros.read("f2", "mean") - turned.read("f2", "mean")).astype(float).reshape(-1, 16)
    assert mine["flip"].to_numpy() == pytest.approx(abs(change).mean(0), rel=1e-4)
    assert mine["flip_signed"].to_numpy() == pytest.approx(change.mean(0), rel=1e-3, abs=1e-7)
    assert mine["flip_corrected"].to_numpy() == pytest.approx(
        (mine["flip"] - mine["flip_null"]).to_numpy(), abs=1e-7
    )
    assert mine["flip"].to_numpy()[mine["rank"].argsort()].tolist() == sorted(
        mine["flip"], reverse=True
    )


def test_without_a_border_no_channel_is_of_the_place(caches: Path, tmp_path: Path):
    rows = scored(caches, tmp_path, "--ablate", "4")
    circular = rows[rows["backbone_padding"] == "circular"]
    for name in ("eta", "eta_row", "eta_column", "eta_ring", "left", "top", "centre"):
        assert (circular[name].abs() < 1e-9).all()
    zeros = rows[(rows["backbone_padding"] == "zeros") & (rows["pooling"] == "mean")]
    assert zeros["eta"].max() > 0.05
    left = read_ablations(tmp_path)
    null = left[left["backbone_padding"] == "circular"]
    assert null["value"].to_numpy(float) == pytest.approx(np.full(len(null), 1 / 9), abs=1e-6)
    assert set(left["ablated"]) == {0, 4}
    whole = left[(left["ablated"] == 0) & (left["backbone_padding"] == "zeros")]
    assert (whole["value"] > 0.3).all()


def test_scores_leave_the_test_patches_alone(caches: Path, tmp_path: Path):
    scored(caches, tmp_path)
    rows = pd.read_csv(tmp_path / "channels.csv")
    (cache,) = [c for c in find_pooled(caches) if c.identity.padding == "zeros"]
    vectors = cache.read("f2", "mean").astype(float)
    kept = vectors[cache.labels("split").reshape(-1, 9)[:, 0] != TEST]
    expected = kept.mean(0).var(0) / kept.var((0, 1))
    mine = rows.query("backbone_padding == 'zeros' and level == 'f2' and pooling == 'mean'")
    assert mine["eta"].to_numpy() == pytest.approx(expected, rel=1e-4)


def test_aligned_caches_are_scored_by_what_reads_the_maps(tmp_path: Path):
    make_cache(tmp_path / "features")
    rows = scored(tmp_path / "features", tmp_path / "results", "--levels", "f1", "--ablate", "3")
    assert set(rows["pooling"]) == {"none"}
    ranked = rows.sort_values("rank")["channel"].tolist()
    assert set(ranked[:3]) == {0, 1, 2}  # x, y and a bell by design
    left = read_ablations(tmp_path / "results")
    assert set(left["task"]) == {"H", "V", "G", "HS", "VS"}
    three = left[(left["ablated"] == 3) & (left["task"] == "H")].set_index("head")["value"]
    assert three["re-solved"] < 0.2 < 0.7 < three["alone"]


def test_again_replaces_the_rows_of_its_runs_alone(caches: Path, tmp_path: Path):
    first = scored(caches, tmp_path, "--ablate", "4")
    make_cache(tmp_path / "features")
    both = scored(tmp_path / "features", tmp_path, "--levels", "f1", "--ablate", "3")
    assert len(both) == len(first) + 6
    assert len(scored(caches, tmp_path, "--ablate", "4")) == len(both)


def test_a_ranking_needs_its_mirrored_cache(tmp_path: Path):
    extract(tmp_path)
    with pytest.raises(UserError, match=r"--rank flip: .* has no mirrored .*--mirrored"):
        score_channels(ChannelConfig(cache_dir=tmp_path, rank="flip"))


def test_nothing_to_score_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="has what is asked for: run extract-features --placed"):
        score_channels(ChannelConfig(cache_dir=tmp_path, results_dir=tmp_path / "r"))
