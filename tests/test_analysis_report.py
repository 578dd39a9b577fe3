"""The report: one page with everything inside, in HTML and in a real browser."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from pages import Page
from results_builder import ResultsBuilder, demo_results

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.published import position_tables
from probe.heads.spec import HeadSpec

# Of the demo's results, in the order of the report.
FIGURES = [
    "figure_6",  # of padding: before the claims
    *("figure_3", "figure_4", "figure_5", "figure_5_maps", "figure_7"),
    "mean_squared_error",
    *("spc_by_level", "spc_by_depth", "error_by_border"),
]
ALL = ("f1", "f2", "f3", "f4", "f5")
WILD = "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    demo_results(folder / "results", maps=True)
    return make_tables(TablesConfig(folder / "results", folder / "tables", format=("html",)))


@pytest.fixture(scope="module")
def page(path: Path) -> Page:
    return Page(path.read_text())


def test_nothing_is_fetched_from_anywhere(path: Path, page: Page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name) or "#"
            if tag == "a" and not value.startswith("#"):  # followed only when it is asked for
                assert (path.parent / unquote(value)).exists()
                continue
            assert value.startswith(("#", "data:")), (tag, value[:80])
    assert "default-src 'none'" in path.read_text()
    assert not re.search(r"@import|url\(", path.read_text())


def test_it_links_the_files_that_were_written(tmp_path: Path):
    ResultsBuilder(tmp_path / "re sults", maps=True).add(heads=[HeadSpec(ALL, 3, 1, 0, "H")])
    out = tmp_path / "out"
    made = make_tables(TablesConfig(tmp_path / "re sults", out, table=("1",)))
    links = [a["href"] or "" for tag, a in Page(made.read_text()).tags if tag == "a"]
    linked = {(out / unquote(link)).resolve() for link in links if not link.startswith("#")}
    written = {path for path in out.rglob("*") if path.is_file()} - {made}
    assert linked == written | {tmp_path / "re sults" / "scores.csv"}


def test_figures_say_what_they_show(page: Page):
    words = {
        a["alt"] for tag, a in page.tags if tag == "img" and a.get("class") in ("maps", "lines")
    }
    assert len(words) > 5
    by_level = next(text for text in words if "at f1" in text and "H: vgg16-random-zeros" in text)
    assert (
        "H: vgg16-random-zeros .150 at f1 to .780 at all" in by_level
    )  # as the builder scores them
    maps = next(text for text in words if text.startswith("Mean SPC on natural images"))
    assert "vgg16-random-none: H .100" in maps


def test_every_figure_is_inside(page: Page):
    figures = [a["id"] for tag, a in page.tags if tag == "figure" and "id" in a]
    assert figures == FIGURES
    images = [a for tag, a in page.tags if tag == "img" and a.get("class") in ("maps", "lines")]
    assert len(images) == len(figures)
    assert all(image["alt"] and len(image["src"] or "") > 5000 for image in images)


def test_the_users_result_comes_first_then_padding_and_the_claims(page: Page):
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections[:4] == ["result", "padding", "claims", "tables"]
    assert page.text.index("vgg16-random-none all") < page.text.index("Figure 6.")


def test_what_padding_changes_is_drawn_about_zero(path: Path):
    text = path.read_text()
    part = text[text.index('<section id="padding">') : text.index('<section id="claims">')]
    assert "vgg16-random-none minus vgg16-random-zeros" in part
    # The builder's scores: .1 without padding, .76 and, of stripes, .6 of both with it.
    found = re.findall(r'aria-label="(\w+): difference (\S+), 95 % interval (\S+) to (\S+)"', part)
    assert [name for name, *_ in found] == ["H", "G", "HS"]
    assert [float(value) for _, value, *_ in found] == [-0.68, -0.68, -0.408]
    assert all(float(low) <= float(value) <= float(high) < 0 for _, value, low, high in found)


def test_published_numbers_are_inside(page: Page):
    shown = page.text
    table = position_tables()
    for value in table[table["table"].isin(["1", "2a", "2b", "3", "4", "R2"])]["mae"]:
        assert f"{value:.3f}".removeprefix("0") in shown


def test_it_says_what_was_run_and_how_to_run_it_again(path: Path, page: Page):
    assert "untrained VGG16 (random weights)" in page.text
    assert "embedded sample images (10533 train, 64 test)" in page.text
    assert "cache.weights_sha256 " + "a" * 64 in page.text
    commands = page.text[page.text.index("Run it again", 3000) :]
    for command in (
        "extract-features --backbone vgg16 --weights random",
        "extract-features --backbone vgg16 --weights random --padding none",
        "train-probes --sweep",
        "make-tables --results-dir",
    ):
        assert command in commands


def test_it_says_whether_a_border_is_left(path: Path, page: Page):
    text = page.text.split("Is a border left?")[-1].partition("What was run")[0]
    zeros = "vgg16-random-zeros untrained VGG16 (random weights) zeros 1.7 1.7 1.7 1.7 1.7"
    assert f"{zeros} changes by 1.7 from f1 1 features.7: 1, 0" in text
    assert "none 0 0 0 0 0 exact" in text
    assert "pixels" not in text.partition("verdict")[2]  # no network


def test_what_is_missing_has_its_command(page: Page):
    assert "20 cells missing; to measure: extract-features --backbone resnet152" in page.text


def test_readouts_that_did_not_converge_are_listed(tmp_path: Path):
    builder = ResultsBuilder(tmp_path / "results", maps=True)
    builder.add(heads=[HeadSpec(ALL, 3, 1, 0, "H")], status="diverged")
    made = make_tables(TablesConfig(tmp_path / "results", tmp_path / "tables", format=("html",)))
    text = Page(made.read_text()).text
    assert "1 readout, 1 not trained to the end" in text
    assert "H-f1+f2+f3+f4+f5-k3-d1-p0-s0 training failed" in text
    assert "diverged: judge no readout by it" in text


def test_names_from_outside_are_escaped(tmp_path: Path):
    builder = ResultsBuilder(tmp_path / "results", maps=True)
    builder.add(
        WILD,
        weights=WILD,
        heads=[HeadSpec(ALL, 3, 1, 0, "H")],
        run="wild",
        sources={"train": f"/data/{WILD}", "test": "</script><script>alert(1)</script>"},
    )
    made = make_tables(TablesConfig(tmp_path / "results", tmp_path / "tables", format=("html",)))
    page = Page(made.read_text())
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert WILD in page.text
