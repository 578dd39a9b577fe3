"""The analysis stage: from a results folder to tables on paper and on the screen."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.config import FORMATS, TABLES, TablesConfig
from analysis.latex import document, latex
from analysis.markdown import markdown
from analysis.measured import measure
from analysis.results import read_results
from analysis.tables import Grid, compare, grids
from data.errors import UserError
from data.files import write_text

PRINTED = ("1", "2a", "2b", "3", "4")  # unless tables are chosen


def make_tables(config: TablesConfig) -> Path:
    """Print the tables, write them to `config.out`, and return that folder.

    Raises `UserError` when there are no results, they are damaged, or nothing can be written.
    """
    results = read_results(config.results_dir)
    measured = measure(results)
    filters = {"backbone": config.backbone, "levels": config.levels}
    tables = {
        name: compare(name, results, measured=measured, **filters)
        for name in config.table or TABLES
    }
    arranged = {name: grids(table) for name, table in tables.items()}
    for name in config.table or PRINTED:
        for grid in arranged[name]:
            print(markdown(grid, intervals=False))
    _writable(config.out)
    formats = config.format or FORMATS
    if "md" in formats:
        _write_markdown(config.out, arranged)
    if "csv" in formats:
        _write_csv(config.out, tables)
    if "tex" in formats:
        _write_latex(config.out, arranged)
    return config.out


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}): choose another --out"
        ) from None


def _write_markdown(out: Path, arranged: dict[str, list[Grid]]) -> None:
    for name, blocks in arranged.items():
        write_text(out / f"table_{name}.md", "\n".join(markdown(grid) for grid in blocks))


def _write_csv(out: Path, tables: dict[str, pd.DataFrame]) -> None:
    for name, table in tables.items():
        write_text(out / f"table_{name}.csv", table.to_csv(index=False, float_format="%.6g"))


def _write_latex(out: Path, arranged: dict[str, list[Grid]]) -> None:
    for name, blocks in arranged.items():
        write_text(out / f"table_{name}.tex", latex(blocks))
    write_text(out / "tables.tex", document(f"table_{name}" for name in arranged))
