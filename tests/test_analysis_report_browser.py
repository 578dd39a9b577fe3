"""The report in a real browser: it loads, and its buttons do what they say."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from pages import CHROMIUM, browse
from results_builder import ResultsBuilder, demo_results
from test_analysis_report import ALL, FIGURES

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.published import position_tables
from probe.heads.spec import HeadSpec

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")

TOGGLES = """
const button = (name) => document.querySelector(`[data-toggle=${name}]`);
outcome.before = shown("td .published");
outcome.intervals = shown("td .interval");
button("published").click();
outcome.published = shown("td .published");
outcome.all_published = document.querySelectorAll("td .published").length;
button("difference").click();
outcome.differences = shown("td .difference");
button("interval").click();
outcome.no_intervals = shown("td .interval");
button("published").click();
outcome.after = shown("td .published");
const table = document.querySelector("#tables table");
const column = () => Array.from(table.tBodies[0].rows).map((r) => r.cells[2].dataset.sort);
const sort = table.querySelectorAll("thead .sort")[2];
outcome.source = column();
sort.click(); outcome.ascending = column();
outcome.said = sort.parentElement.getAttribute("aria-sort");
sort.click(); outcome.descending = column();
sort.click(); outcome.again = column();
outcome.images = Array.from(document.images).map((i) => i.complete && i.naturalWidth > 0);
outcome.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
"""

SEARCH = """
const place = document.querySelector("#result .table");
const table = place.querySelector("table");
const field = place.querySelector("input[type=search]");
const say = (text) => { field.value = text; field.dispatchEvent(new Event("input")); };
const names = () => Array.from(table.tBodies[0].rows).filter((r) => !r.hidden)
  .map((r) => r.cells[0].textContent + " " + r.cells[1].textContent);
outcome.label = field.getAttribute("aria-label");
outcome.every = names().length;
say("F5 zeros"); outcome.found = names();
outcome.said = place.querySelector("[role=status]").textContent;
outcome.csv = csv(table); outcome.latex = latex(table);
say("nowhere"); outcome.nothing = names();
say(""); outcome.cleared = names().length;
outcome.study = csv(document.querySelector("#tables table"));
outcome.buttons = Array.from(place.querySelectorAll(".tools button"), (b) => b.textContent);
"""
DAY, NIGHT = "rgb(255, 255, 255)", "rgb(21, 24, 27)"
THEME = """
const paper = () => getComputedStyle(document.body).backgroundColor;
const button = document.querySelector(".theme");
outcome.system = [paper(), button.textContent];
button.click(); outcome.chosen = [paper(), button.textContent];
button.click(); outcome.back = [paper(), button.textContent];
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    demo_results(folder / "results", maps=True)
    return make_tables(TablesConfig(folder / "results", folder / "tables", format=("html",)))


@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_browser_it_loads_toggles_and_sorts(path: Path, tmp_path: Path, width: int):
    outcome, console = browse(path, tmp_path / "profile", width, TOGGLES)
    assert console == ""
    assert all(outcome["images"])
    assert len(outcome["images"]) > len(FIGURES)
    assert outcome["wide"] <= 0, "the page itself must not scroll sideways"
    assert outcome["before"] == outcome["after"] == 0
    tables = position_tables()
    arranged = tables["table"].isin(["1", "2a", "2b", "3", "4", "R2"]).sum()
    assert outcome["published"] == outcome["all_published"] == 2 * arranged
    assert outcome["differences"] > 100
    assert outcome["intervals"] > 100
    assert outcome["no_intervals"] == 0
    values = [float(text) for text in outcome["source"] if text]
    gaps = [""] * (len(outcome["source"]) - len(values))
    assert gaps, "a missing value must be among the sorted ones"
    assert outcome["said"] == "ascending"
    as_numbers = [[float(t) for t in outcome[k] if t] for k in ("ascending", "descending")]
    assert as_numbers == [sorted(values), sorted(values, reverse=True)]
    assert outcome["ascending"][-len(gaps) :] == outcome["descending"][-len(gaps) :] == gaps
    assert outcome["again"] == outcome["source"]


def test_rows_are_searched_and_copied_as_they_are_shown(path: Path, tmp_path: Path):
    outcome, console = browse(path, tmp_path / "profile", 1440, SEARCH)
    assert console == ""
    assert outcome["label"].startswith("Search rows of SPC on natural images")
    assert outcome["every"] == outcome["cleared"] > len(outcome["found"]) > 0
    assert all("zeros f5" in row for row in outcome["found"])
    assert outcome["said"] == f"{len(outcome['found'])} of {outcome['every']} rows"
    assert outcome["nothing"] == []
    assert outcome["buttons"] == ["Copy CSV", "Copy LaTeX"]
    header, *rows = csv.reader(io.StringIO(outcome["csv"], newline=""))
    assert header[:2] == ["run", "levels"]
    assert [f"{row[0]} {row[1]}" for row in rows] == outcome["found"]
    assert float(rows[0][header.index("H")]) == 0.75  # as the builder scores it
    lines = outcome["latex"].splitlines()
    assert lines[0].startswith("\\begin{tabular}{ll")
    assert sum(line.endswith(" \\\\") for line in lines) == 1 + len(rows)
    assert lines[4].startswith("vgg16-random-zeros & f5 & ")
    # Lines of a cell are columns of their own.
    names = next(csv.reader(io.StringIO(outcome["study"], newline="")))
    assert {"H SPC", "H SPC interval"} <= {name.replace("natural", "H") for name in names}


@pytest.mark.parametrize(
    ("dark", "first"), [(False, "rgb(255, 255, 255)"), (True, "rgb(21, 24, 27)")]
)
def test_colours_are_the_systems_until_another_is_chosen(
    path: Path, tmp_path: Path, dark: bool, first: str
):
    options = ["--blink-settings=preferredColorScheme=0"] if dark else []
    outcome, _ = browse(path, tmp_path / "profile", 1440, THEME, *options)
    other = {DAY: NIGHT, NIGHT: DAY}
    words = ["Light colours", "Dark colours"] if dark else ["Dark colours", "Light colours"]
    assert outcome["system"] == outcome["back"] == [first, words[0]]
    assert outcome["chosen"] == [other[first], words[1]]


USERS = """
outcome.sections = Array.from(document.querySelectorAll("main section[id]"), (s) => s.id);
outcome.first = csv(document.querySelector("#result .table table"));
outcome.padding = document.querySelector("#padding").textContent;
outcome.images = Array.from(document.images).map((i) => i.complete && i.naturalWidth > 0);
outcome.words = Array.from(document.images).map((i) => i.alt);
outcome.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
"""


def test_a_users_study_of_two_backbones_and_paddings(tmp_path: Path):
    builder = ResultsBuilder(tmp_path / "results", maps=True)
    reads = [(level,) for level in ALL] + [ALL]
    heads = [HeadSpec(levels, 1, 1, 0, name) for levels in reads for name in ("H", "G")]
    counts = {"train": 48, "test": 48, "black": 1, "white": 1, "noise": 8}
    for backbone in ("vgg11", "resnet18"):
        for padding in ("zeros", "reflect"):
            builder.add(backbone, padding=padding, heads=heads, counts=counts)
    path = make_tables(TablesConfig(tmp_path / "results", tmp_path / "tables", format=("html",)))
    outcome, console = browse(path, tmp_path / "profile", 1440, USERS)
    assert console == ""
    assert outcome["sections"][:3] == ["result", "padding", "claims"]
    assert outcome["wide"] <= 0
    assert outcome["images"]
    assert all(outcome["images"])
    assert all(words and "nothing" not in words.lower() for words in outcome["words"])
    scores = pd.read_csv(tmp_path / "results" / "scores.csv").query("images == 'test'")
    spc = scores.set_index(["run", "levels", "pattern"])["spc"]
    header, *rows = csv.reader(io.StringIO(outcome["first"], newline=""))
    assert len(rows) == 4 * 6
    for row in rows:
        levels = "+".join(ALL) if row[1] == "all" else row[1]
        for name in ("H", "G"):
            shown = float(row[header.index(name)].rstrip("‖"))  # too few steps
            assert shown == pytest.approx(spc[row[0], levels, name], abs=5e-4), row
    for backbone in ("vgg11", "resnet18"):
        assert f"{backbone}-random-zeros" in outcome["padding"]
        assert f"{backbone}-random-reflect" in outcome["padding"]
