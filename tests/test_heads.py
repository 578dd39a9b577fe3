"""The sweep trains exactly the heads that the published tables ask for."""

import csv
from pathlib import Path

import pytest

import analysis
from data.protocols import PROTOCOLS
from data.vocabulary import INPUT_LEVELS, PIXELS
from probe.heads.dense import build_head, layer_widths
from probe.heads.paper import table_heads

ALL = ("f1", "f2", "f3", "f4", "f5")
PUBLISHED = Path(analysis.__file__).parent / "published" / "position_tables.csv"
TABLES = ("1", "2a", "2b", "3", "4")


def published(backbone: str, padding: str) -> set[tuple]:
    with PUBLISHED.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["table"] in TABLES]
    columns = ("levels", "kernel_size", "depth", "probe_padding", "pattern")
    return {
        tuple(row[column] for column in columns)
        for row in rows
        if row["backbone"] == backbone and row["backbone_padding"] == padding
    }


@pytest.mark.skipif(not PUBLISHED.exists(), reason="published tables are not there yet")
@pytest.mark.parametrize(
    ("backbone", "padding", "levels", "count"),
    [
        ("vgg16", "zeros", ALL, 27),
        ("vgg16", "none", ALL, 3),
        ("resnet152", "zeros", ALL, 5),
        (PIXELS, "-", INPUT_LEVELS, 23),
    ],
)
def test_sweep_is_the_published_rows(backbone, padding, levels, count):
    heads = table_heads(backbone, padding, levels, [0])
    ours = {
        ("+".join(h.levels), str(h.kernel_size), str(h.depth), str(h.probe_padding), h.pattern)
        for h in heads
    }
    assert ours == published(backbone, padding)
    assert len(heads) == len(ours) == count


def test_seeds_multiply_the_heads():
    one = table_heads("vgg16", "zeros", ALL, [0])
    three = table_heads("vgg16", "zeros", ALL, range(3))
    assert len(three) == 3 * len(one) == len(set(three))


@pytest.mark.parametrize(
    ("protocol", "widths", "modules"),
    [("paper", [23, 64, 64, 1], 9), ("released", [23, 23, 23, 1], 9), ("reproduction", None, 1)],
)
def test_modules_follow_the_protocol(protocol, widths, modules):
    recipe = PROTOCOLS[protocol].training
    spec = next(h for h in table_heads("vgg16", "zeros", ALL, [0]) if h.depth == 3)
    if widths:
        assert layer_widths(spec, 23, recipe) == widths
        assert len(build_head(spec, 23, recipe)) == modules
    else:
        single = next(h for h in table_heads("vgg16", "zeros", ALL, [0]) if h.depth == 1)
        assert len(build_head(single, 23, recipe)) == modules
