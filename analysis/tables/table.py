"""What a table is, and which there are.

A table is one `Table` object in a file of this folder, of `papers/` or of
`analysis/placed/tables/`, or one given to `add_table`; it is found by its name. Its published
numbers are a CSV file with the columns of `analysis/published/position_tables.csv`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import analysis.placed.tables
import analysis.tables
import analysis.tables.papers
from analysis.claims.claim import Claim
from analysis.read.measured import select
from analysis.read.published import POSITION_TABLES, published_rows
from analysis.read.results import Results

if TYPE_CHECKING:
    from importlib.abc import Traversable


@dataclass(frozen=True)
class Material:
    """What tables are filled from."""

    results: Results
    measured: pd.DataFrame  # all that `analysis.read.measured.measure` gives
    backbone: tuple[str, ...] = ()  # chosen, or empty for all
    levels: tuple[str, ...] = ()

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """The measured rows of the chosen backbones and levels."""
        return select(self.measured, self.backbone, self.levels)


@dataclass(frozen=True)
class Table:
    """One table: how it is arranged, what stands in it and what it decides.

    `rows` and `column` are columns of what `cells` gives; each cell holds its `metrics`. `heads`
    says which measured heads may join the published ones: what is not listed may vary. A backbone
    that the source lacks joins when it was measured at two or more values of `varied`.
    """

    name: str  # for --table; its files are called table_NAME
    title: str
    rows: tuple[str, ...]
    column: str
    cells: Callable[[Table, Material], pd.DataFrame]  # a row per cell and condition
    source: str = ""  # of the published values; empty where nothing is published
    published_on: str = ", ImageNet weights"  # what else is to be said of them
    score_transposed: bool = False  # whether the source scored transposed images
    published: Path | Traversable = POSITION_TABLES  # its CSV file
    # The cells that `agreement` counts, with the columns `HEAD`, images and weights; None: none.
    compared: Callable[[Table, Material], pd.DataFrame] | None = None
    heads: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()  # empty: every metric of the scores
    claims: tuple[Claim, ...] = ()  # that its cells decide
    swept: bool = False  # whether `train-probes --sweep` trains its heads
    of_maps: bool = True  # of readouts of position maps
    printed: bool = True  # on the terminal, without being asked for
    is_filled: Callable[[Material], bool] = lambda material: True  # or left out, unless asked for

    def published_scores(self) -> pd.DataFrame:
        """Its published rows, with the column `reads` that a join needs."""
        return published_rows(self.published, self.name)


_ADDED: dict[str, Table] = {}


def add_table(table: Table) -> None:
    """Make a table of one's own known, before `make_tables` is called."""
    _ADDED[table.name] = table


def find_tables() -> dict[str, Table]:
    """Every table by its name, those of the package first."""
    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for package in (analysis.tables, analysis.tables.papers, analysis.placed.tables)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    found = [one for module in modules for one in vars(module).values() if isinstance(one, Table)]
    return {table.name: table for table in sorted(found, key=lambda table: table.name)} | _ADDED
