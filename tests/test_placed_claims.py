"""Claims about pooled position, and the figures and report of placed studies."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from placed_builder import PlacedBuilder, as_published
from results_builder import demo_results
from scipy.stats import ttest_rel

from analysis.claims.verdicts import decide
from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.placed.claims import CLAIMS, compare_placed

PADDINGS = ("none", "reflect", "replicate", "circular")


def study(folder: Path, accuracy=as_published, paddings=PADDINGS) -> Path:
    builder = PlacedBuilder(accuracy).grid(3).grid(7).corners()
    for padding in paddings:
        builder.grid(3, backbone_padding=padding)
    return builder.write(folder)


def verdicts(folder: Path) -> dict[str, str]:
    claims = decide(compare_placed(folder))
    return dict(zip(claims["claim"], claims["verdict"], strict=True))


def test_results_as_published_hold_every_claim(tmp_path: Path):
    found = verdicts(study(tmp_path))
    assert found == {claim.name: "holds" for claim in CLAIMS}


def test_the_opposite_holds_none(tmp_path: Path):
    def reversed_places(row):
        if row["study"] == "corners":
            return 0.5 + (0.4 if row["border"] == 128 else 0.01)
        worth = {"": 0.3, "0": 0.2, "1": 0.3, "2": 0.4, "3": 0.5}[row["ring"]]
        if row["backbone_padding"] != "zeros":
            return 0.9
        return row["chance"] / 2 if row["reading"] == "ordered" and not row["ring"] else worth

    found = verdicts(study(tmp_path, reversed_places))
    assert set(found.values()) == {"does not hold"}


def test_what_was_not_measured_comes_with_its_command(tmp_path: Path):
    comparisons = compare_placed(study(tmp_path, paddings=("reflect",)))
    claims = decide(comparisons).set_index("claim")
    assert claims.loc["pooled-zeros", "verdict"] == "not measured"
    assert claims.loc["pooled-zeros", "fill"] == (
        "extract-features --backbone resnet18 --weights random --padding none --placed grid "
        "--grid 3 && train-probes --placed"
    )


def test_differences_are_paired_by_patch(tmp_path: Path):
    comparisons = compare_placed(study(tmp_path))
    (row,) = comparisons[comparisons["comparison"] == "3 x 3: ordered minus permuted"].itertuples()
    patches = pd.read_csv(tmp_path / "placed_patches.csv", keep_default_na=False)
    run = "placed-resnet18-random-zeros-grid-3-0-0-black-samples-whole"
    mine = patches[patches["run"] == run].query("level == 'f5' and ring == ''")
    ordered = mine[mine["reading"] == "ordered"]["accuracy"].to_numpy()
    permuted = mine[mine["reading"] == "permuted"]["accuracy"].to_numpy()
    assert row.difference == pytest.approx((ordered - permuted).mean())
    ends = ttest_rel(ordered, permuted).confidence_interval(0.95)
    # Half widths of the bootstrap and of the normal theory agree.
    assert (row.high - row.low) == pytest.approx(ends.high - ends.low, rel=0.15)
    assert row.n_images == len(ordered) == 40
    assert row.published_difference == pytest.approx(0.212)


def test_chance_is_no_measurement_and_a_readout_at_chance_holds_nothing(tmp_path: Path):
    builder = PlacedBuilder(lambda row: row["chance"]).grid(3).grid(7)
    found = verdicts(builder.write(tmp_path))
    assert found["pooled-position"] == "does not hold"
    assert "pooled-distance" not in found  # nothing of it was measured


@pytest.mark.parametrize("maps", [True, False])
def test_the_report_has_a_section_and_the_figures_are_there(tmp_path: Path, maps: bool):
    if maps:
        demo_results(tmp_path, maps=True)
    study(tmp_path)
    out = tmp_path / "tables"
    make_tables(TablesConfig(results_dir=tmp_path, out=out, format=("html", "png")))
    page = (out / "report.html").read_text()
    assert '<section id="placed">' in page
    assert ('<section id="quality">' in page) == maps
    for name in ("placed_by_level", "placed_by_border", "placed_by_ring"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 5000
        assert f'id="{name}"' in page
    assert "Position survives global pooling" in (out / "claims.md").read_text()


def test_claims_of_placed_studies_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    study(tmp_path)
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "tables", claims=True))
    text = capsys.readouterr().out
    assert "**holds**: The ordering of the channels carries it (resnet18)" in text
    assert np.char.count(text, "**holds**") == len(CLAIMS)
