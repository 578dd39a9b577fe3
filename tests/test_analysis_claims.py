"""The paper's claims: they hold where scores are made so, and fail where not."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from results_builder import PIXELS, ResultsBuilder, demo_results, paper_like

from analysis.claims.verdicts import (
    FAILS,
    HOLDS,
    NOT_MEASURED,
    compare_readings,
    decide,
    every_claim,
)
from analysis.cli import main
from analysis.read.results import read_results
from data.intervals import bootstrap_interval
from probe.heads.spec import HeadSpec


def verdicts(folder: Path) -> dict[tuple[str, str], str]:
    claims = decide(compare_readings(read_results(folder)))
    return {(c.claim, c.backbone): c.verdict for c in claims.itertuples()}


def test_all_hold_for_scores_like_the_papers(tmp_path: Path):
    demo_results(tmp_path)
    found = verdicts(tmp_path)
    assert set(found.values()) == {HOLDS}
    assert [name for name, _ in found] == [claim.name for claim in every_claim()]


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("position_is_there", lambda b, p, h, spc: 0.0 if h.pattern == "VS" else spc),
        ("not_in_pixels", lambda b, p, h, spc: 0.95 if b == PIXELS else spc),
        ("deeper_carries_more", lambda b, p, h, spc: 0.1 if h.levels == ("f3",) else spc),
        ("f5_beats_f4", lambda b, p, h, spc: 0.1 if h.levels == ("f5",) else spc),
        ("larger_kernels", lambda b, p, h, spc: 0.1 if h.kernel_size == 7 else spc),
        ("more_layers", lambda b, p, h, spc: 0.1 if h.depth == 3 else spc),
        ("stripes_are_harder", lambda b, p, h, spc: 0.9 if h.pattern == "HS" else spc),
        ("padding_removed", lambda b, p, h, spc: 0.99 if p == "none" else spc),
        ("probe_padding", lambda b, p, h, spc: 0.02 if h.probe_padding else spc),
    ],
)
def test_each_fails_where_its_scores_turn(tmp_path: Path, claim: str, change):
    def rule(backbone, padding, head, images):
        spc, mae = paper_like(backbone, padding, head, images)
        return change(backbone, padding, head, spc), mae

    demo_results(tmp_path, score=rule)
    found = {name: verdict for (name, _), verdict in verdicts(tmp_path).items()}
    assert found[claim] == FAILS


def test_the_deciding_comparison_is_the_weakest_and_paired(tmp_path: Path):
    demo_results(tmp_path)
    results = read_results(tmp_path)
    comparisons = compare_readings(results)
    row = comparisons[
        (comparisons["claim"] == "padding_removed") & comparisons["comparison"].str.startswith("HS")
    ].iloc[0]
    head = "HS-f1+f2+f3+f4+f5-k3-d1-p0-s0"
    images = pd.read_csv(tmp_path / "vgg16-random-zeros" / "image_scores.csv")
    others = pd.read_csv(tmp_path / "vgg16-random-none" / "image_scores.csv")
    sides = [
        table[(table["head"] == head) & (table["images"] == "test")].set_index("image")["spc"]
        for table in (images, others)
    ]
    difference = sides[0] - sides[1]
    assert row["difference"] == pytest.approx(difference.mean())
    assert (row["low"], row["high"]) == pytest.approx(bootstrap_interval(difference.to_numpy()))
    assert row["published_difference"] == pytest.approx(0.405 - 0.011)
    claims = decide(comparisons)
    chosen = claims[claims["claim"] == "padding_removed"].iloc[0]
    lows = comparisons[comparisons["claim"] == "padding_removed"]["low"]
    assert chosen["low"] == lows.min()


def test_images_are_paired_by_name_not_by_row(tmp_path: Path):
    demo_results(tmp_path)
    before = compare_readings(read_results(tmp_path))
    path = tmp_path / "vgg16-random-none" / "image_scores.csv"
    pd.read_csv(path).iloc[::-1].to_csv(path, index=False)
    after = compare_readings(read_results(tmp_path))
    for name in ("difference", "n_images"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-12)


def test_what_is_missing_is_not_measured_and_has_its_command(tmp_path: Path):
    ResultsBuilder(tmp_path / "results").add()
    claims = decide(compare_readings(read_results(tmp_path / "results"))).set_index("claim")
    assert claims.loc["padding_removed", "verdict"] == NOT_MEASURED
    assert (
        "extract-features --backbone vgg16 --weights random --padding none"
        in (claims.loc["padding_removed", "fill"])
    )
    assert claims.loc["not_in_pixels", "verdict"] == NOT_MEASURED
    assert claims.loc["more_layers", "verdict"] == HOLDS


def test_undefined_and_too_few_images_are_not_measured(tmp_path: Path):
    nothing = lambda *_: (float("nan"), 0.2)  # noqa: E731
    ResultsBuilder(tmp_path / "a", score=nothing).add()
    claims = decide(compare_readings(read_results(tmp_path / "a"))).set_index("claim")
    assert claims.loc["position_is_there", "verdict"] == NOT_MEASURED
    assert "SPC defined for 0 images only" in claims.loc["position_is_there", "why"]
    ResultsBuilder(tmp_path / "b").add(counts={"train": 9, "test": 3})
    claims = decide(compare_readings(read_results(tmp_path / "b"))).set_index("claim")
    assert claims.loc["position_is_there", "verdict"] == NOT_MEASURED


def test_f5_and_f4_must_be_equally_wide(tmp_path: Path):
    heads = [HeadSpec((level,), 3, 1, 0, p) for level in ("f3", "f4", "f5") for p in "HG"]
    ResultsBuilder(tmp_path).add("own_net", heads=heads)
    path = tmp_path / "own_net-random-zeros" / "run.json"
    settings = json.loads(path.read_text())
    settings["cache"]["levels"]["f4"] = 256
    path.write_text(json.dumps(settings))
    claims = decide(compare_readings(read_results(tmp_path))).set_index("claim")
    assert claims.loc["f5_beats_f4", "verdict"] == NOT_MEASURED
    assert "256 and 512 channels" in claims.loc["f5_beats_f4", "why"]
    assert (
        "train-probes --backbone own_net --levels f2" in claims.loc["deeper_carries_more", "fill"]
    )


def test_readouts_that_did_not_converge_are_named(tmp_path: Path):
    ResultsBuilder(tmp_path).add(status="falling")
    claims = decide(compare_readings(read_results(tmp_path))).set_index("claim")
    assert "still improving" in claims.loc["more_layers", "why"]


def test_the_command_prints_a_line_per_claim_and_writes_data(tmp_path: Path):
    demo_results(tmp_path / "results")
    out = tmp_path / "tables"
    arguments = ["--claims", "--results-dir", str(tmp_path / "results"), "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("- **")]
    assert len(lines) == len(every_claim())
    assert all("95 %" in line and "**holds**" in line for line in lines)
    table = pd.read_csv(out / "claims.csv")
    assert list(table["claim"]) == [claim.name for claim in every_claim()]
    entries = json.loads((out / "claims.json").read_text())
    assert [len(entry["comparisons"]) for entry in entries] == [
        len(claim.comparisons) for claim in every_claim()
    ]
    assert all(entry["low"] <= entry["difference"] <= entry["high"] for entry in entries)


def test_claims_about_chosen_backbones_only(tmp_path: Path):
    heads = [HeadSpec(("f1",), 5, 1, 0, "H")]
    demo_results(tmp_path / "results").add("own_net", heads=heads)
    base = ["--claims", "--results-dir", str(tmp_path / "results"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*base, "--backbone", "pixels"])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("- **")]
    assert len(lines) == 1
    assert "Padding the readout" in lines[0]
    for backbone, said in (("own_net", "no claim of the paper"), ("vgg91", "own_net")):
        result = CliRunner().invoke(main, [*base, "--backbone", backbone])
        assert result.exit_code == 1
        assert said in result.stderr
