"""Image by image: the worst and the best of a real training, with their own maps."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from caches import make_cache
from pages import Page
from results_builder import ResultsBuilder
from scipy.stats import spearmanr

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.maps import read_maps
from analysis.read.results import read_results
from analysis.write.report import images
from data.targets import position_map
from probe.config import ProbeConfig
from probe.heads.spec import HeadSpec
from probe.train import train_probes


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    make_cache(folder / "features")
    exact = ProbeConfig(
        folder / "features",
        folder / "results",
        levels=("all",),
        kernel_size=(1,),
        pattern=("H",),
        solver="exact",
    )
    train_probes(exact)
    return folder


def image_scores(folder: Path) -> pd.DataFrame:
    (path,) = (folder / "results").glob("*/image_scores.csv")
    scores = pd.read_csv(path)
    return scores[scores["images"] == "test"].set_index("image").sort_values("spc")


def test_the_maps_of_the_worst_and_best_images_are_kept(folder: Path):
    scores = image_scores(folder)
    results = read_results(folder / "results")
    (run,) = results.runs
    maps = read_maps(results, run, scores["head"].iloc[0])
    assert maps.extreme_names["test"] == [*scores.index[:2], *scores.index[-2:]]
    target = position_map("H").ravel()
    for name, values in zip(maps.extreme_names["test"], maps.extremes["test"], strict=True):
        found = spearmanr(values.ravel(), target).statistic
        assert found == pytest.approx(scores["spc"][name], abs=1e-4)
    assert set(maps.extremes) == {"test"}  # the other sets are kept whole


def test_the_report_shows_them(folder: Path):
    scores = image_scores(folder)
    made = make_tables(TablesConfig(folder / "results", folder / "tables", format=("html",)))
    text = made.read_text()
    part = text[text.index('<section id="images">') :]
    shown = re.findall(r'alt="H as read from (\S+): SPC (\S+), MAE (\S+)"', part)
    assert [name for name, *_ in shown] == [*scores.index[:2], *scores.index[-2:]]
    for name, spc, mae in shown:
        assert float(spc) == pytest.approx(scores["spc"][name], abs=6e-4)
        assert float(mae) == pytest.approx(scores["mae"][name], abs=6e-4)
    for name in scores.index:  # every image has its row
        assert f'<th scope="row">{name}</th>' in part


def test_of_older_results_it_says_which_maps_there_are(tmp_path: Path):
    builder = ResultsBuilder(tmp_path / "results", maps=True)
    builder.add(heads=[HeadSpec(("f5",), 3, 1, 0, "H")])
    made = make_tables(TablesConfig(tmp_path / "results", tmp_path / "tables", format=("html",)))
    page = Page(made.read_text())
    assert "of the 5 images whose maps are kept" in page.text
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert sum("as read from test-0000" in (alt or "") for alt in alts) == 4


def test_photographs_stand_once_however_many_runs_scored_them(tmp_path: Path, monkeypatch):
    picture = np.full((224, 224, 3), 120, np.uint8)
    monkeypatch.setattr(images, "photograph", lambda cache, name: picture)
    builder = ResultsBuilder(tmp_path / "results", maps=True)
    for padding in ("zeros", "none"):
        builder.add(padding=padding, heads=[HeadSpec(("f5",), 3, 1, 0, "H")])
    made = make_tables(TablesConfig(tmp_path / "results", tmp_path / "tables", format=("html",)))
    page = Page(made.read_text())
    places = [attributes["id"] for tag, attributes in page.tags if tag == "symbol"]
    used = [attributes["href"] for tag, attributes in page.tags if tag == "use"]
    assert len(places) == len(set(places)) <= 5
    assert len(used) == 8
    assert set(used) == {f"#{place}" for place in places}
