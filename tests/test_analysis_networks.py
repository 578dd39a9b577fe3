"""Untrained networks of several seeds: one measurement, with a spread over images and networks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from results_builder import PIXELS, ResultsBuilder
from scipy import stats

from analysis.claims.verdicts import FAILS, HOLDS, compare_readings, decide
from analysis.cli import main
from analysis.read.measured import measure
from analysis.read.results import Results, read_results
from analysis.tables.compare import compare
from analysis.tables.contrast import contrast
from analysis.tables.papers.trained import table_6
from analysis.tables.quality import readout_quality
from analysis.tables.study import study
from analysis.tables.summary import summary_lines
from data.cache.reader import FeatureCache
from data.intervals import bootstrap_interval, bootstrap_intervals, replicated_intervals
from extract.run import extract_features
from probe.config import ProbeConfig
from probe.heads.spec import HeadSpec
from probe.train import train_probes
from tests.extraction import make_photos, small_config

ALL = ("f1", "f2", "f3", "f4", "f5")
HEADS = [HeadSpec(ALL, 3, 1, 0, pattern) for pattern in ("H", "G", "HS")]
FIRST = "vgg16-random-zeros"


def networks(folder: Path, heights: dict[str, dict[int, float]], **changes: object) -> Results:
    """Results of several seeds by padding, each with an SPC of its own; and of the pixels."""
    builder = ResultsBuilder(folder)
    for padding, of_seeds in heights.items():
        for seed, height in of_seeds.items():
            builder.score = lambda *_, height=height: (height, 0.25 * (1 - height))
            settings = {"padding": padding, "backbone_seed": seed, "heads": HEADS, **changes}
            builder.add(**settings)
    builder.score = lambda *_: (0.05, 0.25)
    pixels = [HeadSpec(("input",), 3, 1, 0, head.pattern) for head in HEADS]
    builder.add(PIXELS, heads=pixels)
    return read_results(folder)


def test_seeds_of_the_backbone_are_one_row_with_mean_and_spread(tmp_path: Path):
    results = networks(tmp_path, {"zeros": {0: 0.5, 1: 0.6, 12: 0.85}})
    measured = measure(results)
    (heading,) = measured["condition"].unique()
    assert heading.startswith("untrained VGG16 (random weights, seeds 0, 1, 12); ")
    rows = measured[(measured["backbone"] == "vgg16") & (measured["images"] == "test")]
    assert list(rows["pattern"]) == ["H", "G", "HS"]
    assert set(rows["run"]) == {FIRST}
    np.testing.assert_allclose(rows["spc"], 0.65, atol=1e-6)
    np.testing.assert_allclose(rows["spc_sd"], np.std([0.5, 0.6, 0.85], ddof=1), rtol=1e-5)
    for name, value in (("n_networks", 3), ("n_seeds", 3), ("n_readout_seeds", 1)):
        assert set(rows[name]) == {value}
    pixels = measured[measured["backbone"] == PIXELS]
    assert (pixels["n_networks"] == 1).all()
    assert pixels["spc_sd"].isna().all()


def test_the_interval_holds_both_spreads(tmp_path: Path):
    results = networks(tmp_path, {"zeros": {0: 0.5, 1: 0.6, 12: 0.85}})
    measured = measure(results).set_index(["backbone", "pattern", "images"])
    row = measured.loc[("vgg16", "H", "test")]
    values = results.image_scores.query("images == 'test' and run != 'pixels'")
    values = values[values["head"].str.startswith("H-")]
    by_image = values.groupby("image")["spc"].mean().to_numpy()
    low, high = bootstrap_interval(by_image)
    arm = stats.t.ppf(0.975, 2) * stats.sem([0.5, 0.6, 0.85])
    assert row["spc_low"] == pytest.approx(0.65 - np.hypot(0.65 - low, arm), abs=1e-5)
    assert row["spc_high"] == pytest.approx(min(1.0, 0.65 + np.hypot(high - 0.65, arm)), abs=1e-5)


def test_one_network_keeps_the_interval_over_images():
    values = np.random.default_rng(0).standard_normal((20, 1, 3))
    np.testing.assert_array_equal(replicated_intervals(values), bootstrap_intervals(values[:, 0]))


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_intervals_cover_the_truth(count: int, spread: float):
    """Crossed effects of images and networks, and what is peculiar to both, around a mean of 0."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((24, 1, 2000))
    seeds = spread * generator.standard_normal((1, count, 2000))
    own = 0.5 * generator.standard_normal((24, count, 2000))
    low, high = replicated_intervals(images + seeds + own).T
    covered = float(np.mean((low < 0) & (high > 0)))
    assert 0.93 < covered < 0.995


def test_what_is_undefined_in_one_network_is_measured_in_the_others():
    values = np.random.default_rng(0).standard_normal((20, 3, 1))
    values[:, 2] = np.nan
    np.testing.assert_allclose(replicated_intervals(values), replicated_intervals(values[:, :2]))
    values[:, 1] = np.nan
    assert np.isnan(replicated_intervals(values)).all()


@pytest.mark.parametrize(
    ("none", "verdict"),
    [
        ({0: 0.4, 1: 0.5, 2: 0.8}, HOLDS),  # in every network alike
        ({0: 0.55, 1: 0.2, 2: 0.6}, FAILS),  # on average only
    ],
)
def test_claims_are_decided_over_images_and_networks(tmp_path: Path, none, verdict):
    zeros = {0: 0.5, 1: 0.6, 2: 0.9}
    comparisons = compare_readings(networks(tmp_path, {"zeros": zeros, "none": none}))
    claims = decide(comparisons).set_index("claim")
    claim = claims.loc["padding_removed"]
    differences = [zeros[seed] - none[seed] for seed in zeros]
    assert claim["verdict"] == verdict
    assert claim["difference"] == pytest.approx(np.mean(differences), abs=1e-5)
    assert claim["n_networks"] == 3
    arm = stats.t.ppf(0.975, 2) * stats.sem(differences)
    assert claim["difference"] - claim["low"] >= arm - 1e-5
    beside_pixels = comparisons[comparisons["claim"] == "not_in_pixels"]
    assert set(beside_pixels["n_networks"].iloc[[0, 2]]) == {3}


def test_a_claim_that_holds_in_one_network_need_not_hold_in_others(tmp_path: Path):
    alone = networks(tmp_path / "a", {"zeros": {0: 0.5}, "none": {0: 0.3}})
    more = {"zeros": {0: 0.5, 1: 0.4}, "none": {0: 0.3, 1: 0.5}}
    verdicts = [
        decide(compare_readings(results)).set_index("claim").loc["padding_removed", "verdict"]
        for results in (alone, networks(tmp_path / "b", more))
    ]
    assert verdicts == [HOLDS, FAILS]


def test_networks_that_lack_something_are_marked_and_told_how(tmp_path: Path):
    results = networks(tmp_path, {"zeros": {0: 0.5, 1: 0.6}, "none": {0: 0.2}})
    cells = compare("4", results)
    cells = cells[cells["images"] == "test"].set_index(["backbone_padding", "pattern"])
    assert cells.loc[("zeros", "H"), "fill"] == ""
    assert (
        "extract-features --backbone vgg16 --weights random --padding none "
        in cells.loc[("none", "H"), "fill"]
    )
    extract, _, train = cells.loc[("none", "H"), "fill"].partition(" && ")
    assert " --seed 1 " in extract
    assert train.startswith("train-probes --sweep ")
    assert "--seeds" not in train
    first = compare("1", results).set_index(["backbone", "pattern", "images"])
    assert first.loc[("vgg16", "H", "test"), "fill"] == ""
    assert first.loc[("pixels", "H", "test"), "fill"] == ""


def test_contrasts_are_over_the_seeds_that_both_have_or_between_them(tmp_path: Path):
    heights = {"zeros": {0: 0.5, 1: 0.6, 2: 0.9}, "none": {0: 0.4, 1: 0.45, 3: 0.1}}
    results = networks(tmp_path, heights)
    measured = measure(results)
    rows = contrast(results, measured, "padding")
    assert list(rows["pattern"]) == ["H", "G", "HS"]
    np.testing.assert_allclose(rows["difference"], -np.mean([0.1, 0.15]), atol=1e-5)
    assert set(rows["n_networks"]) == {2}
    between = contrast(results, measured, "seed")
    between = between[between["pattern"] == "H"].set_index(["more", "less"])
    assert len(between) == 6
    row = between.loc[("vgg16-random-seed2-zeros", FIRST)]
    assert row["difference"] == pytest.approx(0.4, abs=1e-5)
    out = CliRunner().invoke(
        main, ["--results-dir", str(tmp_path), "--out", str(tmp_path / "out"), "--contrast", "seed"]
    )
    assert out.exit_code == 0, out.output
    assert len(pd.read_csv(tmp_path / "out" / "contrast_seed.csv")) == 18


def test_summaries_say_how_many_seeds_are_together(tmp_path: Path):
    results = networks(tmp_path, {"zeros": {0: 0.5, 1: 0.6}})
    measured = measure(results)
    lines = {line[0]: line[2:] for line in summary_lines(measured)[1:]}
    assert lines[f"{FIRST} (2 seeds)"][0] == ".550"
    assert set(study(measured)["run"]) == {"pixels", f"{FIRST} (2 seeds)"}
    quality = readout_quality(results)
    assert set(quality["run"]) == {"pixels", FIRST}
    np.testing.assert_allclose(quality.loc[quality["run"] == FIRST, "spc"], 0.55, atol=1e-5)


def test_table_6_has_the_spread_of_untrained_networks(tmp_path: Path):
    results = networks(tmp_path, {"zeros": {0: 0.5, 1: 0.6, 12: 0.85}})
    measured = measure(results)
    cells = table_6(results, measured).set_index(["weights", "pattern", "images"])
    cell = cells.loc[("random", "H", "test")]
    row = measured.set_index(["backbone", "pattern", "images"]).loc[("vgg16", "H", "test")]
    for name in ("spc", "spc_sd", "spc_low", "spc_high", "n_seeds"):
        assert cell[name] == pytest.approx(row[name]), name


@pytest.mark.parametrize(
    "other",
    [{"images_digest": "1" * 64}, {"levels": ("f1", "f2", "f3", "f4")}, {"weights": "mine"}],
)
def test_what_differs_in_more_than_the_seed_is_another_measurement(tmp_path: Path, other):
    builder = ResultsBuilder(tmp_path).add(heads=HEADS)
    builder.add(heads=HEADS, backbone_seed=1, run="other", **other)
    measured = measure(read_results(tmp_path))
    assert set(measured["run"]) == {FIRST, "other"}
    assert (measured["n_networks"] == 1).all()


def test_a_copy_is_no_second_network(tmp_path: Path):
    ResultsBuilder(tmp_path).add(heads=HEADS).add(heads=HEADS, run="again")
    measured = measure(read_results(tmp_path))
    assert measured["condition"].nunique() == 2
    assert (measured["n_networks"] == 1).all()


def test_two_seeds_from_end_to_end(tmp_path: Path):
    photos = make_photos(tmp_path / "photos", train=12, test=6)
    caches = []
    for seed in (0, 1):
        config = small_config(photos, tmp_path / "features", seed=seed)
        caches.append(FeatureCache(extract_features(config)))
    assert caches[0].records == caches[1].records  # noise included: the seed draws weights alone
    noise = caches[0].rows("noise")
    one, other = (cache.read("f1", noise) for cache in caches)
    assert not np.array_equal(one, other)
    asked = {"cache_dir": tmp_path / "features", "results_dir": tmp_path / "results"}
    train_probes(ProbeConfig(**asked, levels=("f1", "input"), pattern=("H",), solver="exact"))
    measured = measure(read_results(tmp_path / "results"))
    rows = measured[measured["images"] == "test"].set_index("backbone")
    assert rows["n_networks"].to_dict() == {"squeezenet1_1": 2, "pixels": 1}
    assert np.isfinite(rows.loc["squeezenet1_1", "spc_sd"])
