"""Every published number stands in the right cell of the tables a user reads."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from results_builder import demo_results

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.published import position_tables, task_tables

PUBLISHED = Path(__file__).parents[1] / "analysis" / "published"
ARRANGED = ("1", "2a", "2b", "3", "4", "R2")
MODELS = {"pixels": "PosENet", "vgg16": "VGG16", "resnet152": "ResNet-152"}
IMAGES = {"pascal-s": "natural", "uos-bear": "natural"}
LAYERS = {"1": "1 layer", "2": "2 layers", "3": "3 layers"}


def raw_rows() -> list[dict[str, str]]:
    with open(PUBLISHED / "position_tables.csv", newline="") as file:
        return list(csv.DictReader(file))


def printed(text: str, source: str) -> str:
    """A number as its source prints it, from the text of the CSV file."""
    if text == "nan":
        return "NaN"
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    return sign + digits.removeprefix("0")


def place(row: dict[str, str]) -> tuple[tuple[str, ...], str]:
    """Row labels and column of a published row, by the arrangement of its source."""
    model = MODELS[row["backbone"]]
    levels = "all" if "+" in row["levels"] or row["levels"] == "input" else row["levels"]
    if row["table"] in ("1", "R2"):
        return (row["pattern"], model), IMAGES.get(row["images"], row["images"])
    if row["table"] == "2a":
        return (row["pattern"], LAYERS[row["depth"]]), model
    if row["table"] == "2b":
        return (row["pattern"], f"{row['kernel_size']} x {row['kernel_size']}"), model
    if row["table"] == "3":
        return (row["pattern"], levels), model
    label = model + (" w/o padding" if row["backbone_padding"] == "none" else "")
    if row["probe_padding"] != "0":
        label += f", readout padding {row['probe_padding']}"
    return (label,), row["pattern"]


def read_markdown(path: Path) -> dict[tuple[tuple[str, ...], str, str, str], str]:
    """(row labels, line, column, metric) -> text of the cell, of a file with one table."""
    lines = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in path.read_text().splitlines()
        if line.startswith("|")
    ]
    header, body = lines[0], lines[2:]
    first = header.index("")
    found, labels = {}, ()
    for line in body:
        labels = tuple(line[:first]) if line[0] else labels
        for index in range(first + 1, len(header), 2):
            column = header[index].removesuffix(" SPC")
            for offset, metric in enumerate(("spc", "mae")):
                found[labels, line[first], column, metric] = line[index + offset]
    return found


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    demo_results(folder / "results")
    make_tables(TablesConfig(folder / "results", folder / "tables", format=("md", "csv")))
    return folder / "tables"


@pytest.mark.parametrize("name", ARRANGED)
def test_every_published_number_is_in_its_cell(tables: Path, name: str):
    rows = [row for row in raw_rows() if row["table"] == name]
    assert rows
    cells = read_markdown(tables / f"table_{name}.md")
    for row in rows:
        labels, column = place(row)
        for metric in ("spc", "mae"):
            shown = cells[labels, "published", column, metric]
            assert shown == printed(row[metric], row["source"]), (row, metric)
    published = [key for key, text in cells.items() if key[1] == "published" and text != "–"]
    assert len(published) == 2 * len(rows), "a published number stands in a cell not its own"


def test_rows_and_columns_come_in_the_order_of_the_source(tables: Path):
    for name in ARRANGED:
        wanted = [place(row) for row in raw_rows() if row["table"] == name]
        shown = list(read_markdown(tables / f"table_{name}.md"))
        assert list(dict.fromkeys(k[0] for k in shown)) == list(dict.fromkeys(w[0] for w in wanted))
        columns = list(dict.fromkeys(k[2] for k in shown))
        assert columns == list(dict.fromkeys(w[1] for w in wanted))


def test_csv_tables_hold_every_published_number(tables: Path):
    for name in ARRANGED:
        with open(tables / f"table_{name}.csv", newline="") as file:
            shown = Counter(
                (r["pattern"], r["backbone"], r["published_spc"], r["published_mae"])
                for r in csv.DictReader(file)
            )
        wanted = Counter(
            (r["pattern"], r["backbone"], *(_csv(r[metric]) for metric in ("spc", "mae")))
            for r in raw_rows()
            if r["table"] == name
        )
        assert shown == wanted


def _csv(text: str) -> str:
    return "" if text == "nan" else f"{float(text):.6g}"


def test_frames_hold_all_rows_of_the_files():
    table = position_tables()
    rows = raw_rows()
    assert len(table) == len(rows)
    assert set(table["images"]) == {"test", "black", "white", "noise"}
    for shown, row in zip(table.itertuples(), rows, strict=True):
        assert f"{shown.mae:g}" == f"{float(row['mae']):g}"
        assert f"{shown.spc:g}" == f"{float(row['spc']):g}"
    tasks = task_tables()
    assert tasks.loc[0, "value"] == 0.36
    assert set(tasks["table"]) == {"5a", "5b", "S2"}
