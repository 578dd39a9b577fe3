"""The report: one page with everything inside, in HTML and in a real browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
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
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BROWSER_OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    *("--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"),
]
WILD = "<img src=x onerror=alert(1)>&\"'"


class Page(HTMLParser):
    """What a test asks of a page: its tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


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
            assert value.startswith(("#", "data:")), (tag, value[:80])
    assert "default-src 'none'" in path.read_text()
    assert not re.search(r"@import|url\(", path.read_text())


def test_every_figure_is_inside(page: Page):
    figures = [attributes["id"] for tag, attributes in page.tags if tag == "figure"]
    assert figures == FIGURES
    images = [attributes for tag, attributes in page.tags if tag == "img"]
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


HOOK = """
<script>
const shown = (selector) => Array.from(document.querySelectorAll(selector))
  .filter((e) => getComputedStyle(e).display !== "none").length;
const button = (name) => document.querySelector(`[data-toggle=${name}]`);
const outcome = { before: shown("td .published"), intervals: shown("td .interval") };
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
const pre = document.createElement("pre");
pre.id = "outcome";
pre.textContent = JSON.stringify(outcome);
document.body.append(pre);
</script>
</body>
"""


def browse(path: Path, profile: Path, width: int) -> tuple[dict, str]:
    """What the hook found, and what the browser's console said."""
    hooked = profile.with_suffix(".html")
    hooked.write_text(path.read_text().replace("</body>", HOOK))
    command = [CHROMIUM, *BROWSER_OPTIONS, f"--window-size={width},900"]
    done = subprocess.run(
        [*command, f"--user-data-dir={profile}", hooked.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="outcome">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, "the page's scripts did not run to their end"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(found.group(1).replace("&lt;", "<").replace("&amp;", "&")), "\n".join(console)


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_browser_it_loads_toggles_and_sorts(path: Path, tmp_path: Path, width: int):
    outcome, console = browse(path, tmp_path / "profile", width)
    assert console == ""
    assert outcome["images"] == [True] * len(FIGURES)
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
