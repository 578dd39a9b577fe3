"""The analysis stage: from a results folder to tables, figures and a report."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.claims.pooling import compare_pooling
from analysis.claims.verdicts import COMPARED, compare_readings, decide
from analysis.config import FIGURE_FORMATS, FORMATS, TablesConfig
from analysis.placed.claims import compare_placed
from analysis.placed.read import has_placed
from analysis.read.audits import read_audits
from analysis.read.conditions import repeated_pixels, trained_and_scored
from analysis.read.measured import measure, select
from analysis.read.results import Results, read_results, without_scores
from analysis.read.small import has_small
from analysis.tables.contrast import contrast, contrast_lines
from analysis.tables.grid import Grid, grids
from analysis.tables.quality import QualityTable, comparison, other_kinds, quality_tables
from analysis.tables.summary import agreement, agreement_lines
from analysis.tables.table import Material, find_tables
from analysis.write.again import commands_again, script
from analysis.write.claims import claim_lines
from analysis.write.csv import csv_text
from analysis.write.finding import finding
from analysis.write.latex import document, latex
from analysis.write.markdown import (
    aligned,
    markdown,
    plain,
    quality_markdown,
    summary_markdown,
)
from data.tools.command.study import STUDY, study_text
from data.tools.errors import UserError
from data.tools.files import check_writable, write_text
from data.tools.settings import command_line
from data.tools.terminal import say, show
from probe.results import SCORES

REPORT = "report.html"
AGAIN = "run_again.sh"
PLACED_TABLES = ("K4", "S1", "D", "C", "L")
NOTHING_PLACED = (
    "Tables {} and {}, patches placed on a canvas: nothing measured. `extract-features "
    "--placed grid && train-probes --placed && train-probes --channels`\n"
)


@dataclass(frozen=True)
class _Work:
    """What all outputs are made from."""

    config: TablesConfig
    material: Material
    cells: dict[str, pd.DataFrame]  # by table
    grids: dict[str, list[Grid]]

    @property
    def of_maps(self) -> bool:
        """Whether there are readouts of position maps."""
        return not self.material.measured.empty

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """What decides the claims about the chosen backbones."""
        measured = self.material.measured if self.of_maps else None
        return _comparisons(self.config, self.material.results, measured)

    @property
    def commands(self) -> list[str]:
        """Those that give all this again."""
        measured = self.material.chosen if self.of_maps else self.material.measured
        command = command_line("make-tables", self.config)
        return commands_again(self.material.results, measured, command)

    @property
    def qualities(self) -> list[QualityTable]:
        """What the scores of position maps rest on."""
        if not self.of_maps:
            return []
        return quality_tables(self.material.results, self.material.chosen)


def make_tables(config: TablesConfig) -> Path:
    """Print the tables (or the claims), write everything asked for to `config.out`.

    Returns the report where one was written, and the folder otherwise. Raises `UserError` when
    there are no results, they are damaged, a filter leaves nothing, or `out` cannot be written.
    """
    results = _results(config.results_dir)
    check_writable(config.out, "--out")
    if results.scores.empty:
        return _without_maps(config, results)
    for sentence in (*results.left_out, *repeated_pixels(results), *trained_and_scored(results)):
        say(sentence)
    if config.claims:
        return _only_claims(config, results)
    if config.contrast:
        return _only_contrast(config, results, config.contrast)
    if config.compare:
        return _only_comparison(config, results)
    work = _fill(config, Material(results, measure(results), config.backbone, config.levels))
    made = _write(work, config.format or FORMATS)
    tables = find_tables()
    printed = config.table or [name for name in work.grids if tables[name].printed]
    shown = [grid for name in printed for grid in work.grids[name]]
    show("\n".join(_printed(grid, asked=bool(config.table)) for grid in shown))
    if not config.table and not has_placed(config.results_dir):
        *names, last = [name for name in PLACED_TABLES if name not in work.grids]
        show(NOTHING_PLACED.format(", ".join(names), last))
    show(summary_markdown(work.material.chosen))
    if not config.table:
        show(finding(work.material.chosen, decide(work.comparisons)))
    return made


def plan_tables(config: TablesConfig) -> str:
    """The plan of `make_tables`: what is read, the tables that have cells, and what is written.

    Nothing is written. Raises `UserError` as `make_tables` does of its results.
    """
    results = _results(config.results_dir)
    measured = measure(results) if len(results.scores) else pd.DataFrame()
    if measured.empty:
        _refuse_of_maps(config)
    read = f"{config.results_dir}: {len(results.runs)} runs, {len(results.scores)} rows of scores"
    alone = {"claims": config.claims, f"contrast {config.contrast}": config.contrast}
    alone["compare"] = config.compare
    for name, asked in alone.items():
        if asked:
            return f"{read}\n{config.out}: --{name} alone"
    work = _fill(config, Material(results, measured, config.backbone, config.levels))
    tables = [f"  table {name}: {len(cells)} cells" for name, cells in work.cells.items()]
    formats = ", ".join(config.format or FORMATS)
    return "\n".join([read, f"{config.out}: {len(tables)} tables as {formats}", *tables])


def _results(folder: Path) -> Results:
    """The scores of position maps, or none where there are other studies alone."""
    others = has_placed(folder) or has_small(folder)
    alone = others and not (folder / SCORES).exists()
    return without_scores(folder) if alone else read_results(folder)


def _printed(grid: Grid, *, asked: bool) -> str:
    """A table for the terminal; one of which nothing was measured is a line, unless asked for."""
    if asked or grid.is_measured:
        return markdown(grid, intervals=False)
    commands = "; ".join(f"`{plain(command)}`" for command in grid.missing)
    return f"{plain(grid.title)}: nothing measured. {commands}\n"


def _fill(config: TablesConfig, material: Material) -> _Work:
    """The cells of the tables asked for, or of all that have any."""
    tables = find_tables()
    maps = not material.measured.empty
    names = config.table or [
        name
        for name, table in tables.items()
        if (maps or not table.of_maps) and table.is_filled(material)
    ]
    cells = {name: tables[name].cells(tables[name], material) for name in names}
    return _Work(config, material, cells, {name: grids(part) for name, part in cells.items()})


def _write(work: _Work, formats: tuple[str, ...]) -> Path:
    """Every file, before anything is printed: whatever becomes of the output, they are there."""
    texts: dict[str, str] = {}
    for name, made in (("md", _markdown), ("csv", _csv), ("tex", _latex)):
        if name in formats:
            texts |= made(work)
    for file, text in texts.items():
        write_text(work.config.out / file, text)
    if {"html", *FIGURE_FORMATS} & set(formats):
        return _write_pictures(work, formats, list(texts))
    return work.config.out


def _without_maps(config: TablesConfig, results: Results) -> Path:
    """What results without readouts of position maps hold: other kinds, placed studies."""
    _refuse_of_maps(config)
    made = config.out
    if len(results.others):
        made = _only_other_kinds(config, results)
    if not (has_placed(config.results_dir) or has_small(config.results_dir)):
        return made
    if config.claims:
        return _show_claims(config, _comparisons(config, results, None))
    work = _fill(config, Material(results, pd.DataFrame(), config.backbone, config.levels))
    made = _write(work, config.format or FORMATS)
    show("\n".join(markdown(g, intervals=False) for blocks in work.grids.values() for g in blocks))
    return made


def _refuse_of_maps(config: TablesConfig) -> None:
    """Raise `UserError` where something is asked for that only position maps give."""
    tables = find_tables()
    asked = [f"--table {name}" for name in config.table if tables[name].of_maps]
    asked += ["--compare"] if config.compare else []
    asked += [f"--contrast {config.contrast}"] if config.contrast else []
    if asked:
        raise UserError(
            f"{', '.join(asked)}: {config.results_dir} has no readouts of position maps: run "
            "train-probes --sweep first, or leave it out"
        )


def _only_other_kinds(config: TablesConfig, results: Results) -> Path:
    """`probes.md` and `probes.csv` of results without the dense maps of all other tables."""
    table = other_kinds(results)
    text = quality_markdown(table)
    write_text(config.out / f"{table.name}.md", text)
    write_text(config.out / f"{table.name}.csv", csv_text(table.rows))
    show(text)
    return config.out / f"{table.name}.md"


def _only_claims(config: TablesConfig, results: Results) -> Path:
    measured = measure(results)
    select(measured, config.backbone)  # raises for an unknown name
    return _show_claims(config, _comparisons(config, results, measured))


def _show_claims(config: TablesConfig, comparisons: pd.DataFrame) -> Path:
    if comparisons.empty:
        names = ", ".join(config.backbone)
        raise UserError(
            f"no claim of the paper can be tested on --backbone {names}: "
            "leave it out, or train the heads of tables 1 to 4"
            if names
            else f"{config.results_dir} has nothing that the papers' claims are about: train the "
            "heads of tables 1 to 4 (train-probes --sweep), a placed study, or networks with "
            "global pooling (train-backbone --task location)"
        )
    path, text = _write_claims(config.out, comparisons)
    show(text)
    return path


def _only_contrast(config: TablesConfig, results: Results, by: str) -> Path:
    rows = contrast(results, select(measure(results), config.backbone, config.levels), by)
    lines = [[plain(text) for text in line] for line in contrast_lines(rows)]
    text = f"### Runs that differ in {by} alone\n\n{aligned(lines, 7)}\n"
    write_text(config.out / f"contrast_{by}.md", text)
    write_text(config.out / f"contrast_{by}.csv", csv_text(rows))
    show(text)
    return config.out / f"contrast_{by}.md"


def _only_comparison(config: TablesConfig, results: Results) -> Path:
    """`compare.md`, `compare.csv` and the figure, whatever the formats."""
    from analysis.figures.depth import spc_by_depth
    from analysis.figures.style import save

    measured = select(measure(results), config.backbone, config.levels)
    table = comparison(results, measured)
    if table.rows.empty:
        raise UserError(
            f"{config.results_dir} has no readout of a single level to compare: run train-probes "
            "--levels f1 --levels f2 ... first"
        )
    text = quality_markdown(table)
    write_text(config.out / "compare.md", text)
    write_text(config.out / "compare.csv", csv_text(table.rows))
    figure = spc_by_depth(results, measured)
    (config.out / "figures").mkdir(exist_ok=True)
    for kind in FIGURE_FORMATS:
        save(figure, config.out / "figures" / f"spc_by_depth.{kind}", kind)
    show(text)
    return config.out / "compare.md"


def _comparisons(
    config: TablesConfig, results: Results, measured: pd.DataFrame | None
) -> pd.DataFrame:
    """What decides the claims about the chosen backbones, from all their readouts."""
    of_maps = [compare_readings(results, measured)] if measured is not None else []
    others = (compare_placed(results.folder), compare_pooling(results.folder))
    parts = [part for part in (*of_maps, *others) if len(part)]
    comparisons = pd.concat(parts or [pd.DataFrame(columns=COMPARED)], ignore_index=True)
    if not config.backbone or comparisons.empty:
        return comparisons
    return comparisons[comparisons["backbone"].isin(config.backbone)]


def _markdown(work: _Work) -> dict[str, str]:
    """Texts by the name of their file; so do the next two."""
    tables = {
        f"table_{name}.md": "\n".join(markdown(grid) for grid in blocks)
        for name, blocks in work.grids.items()
    }
    qualities = {f"{each.name}.md": quality_markdown(each) for each in work.qualities}
    again = {AGAIN: script(work.commands), STUDY: study_text(work.commands)}
    return {**tables, **qualities, **again}


def _csv(work: _Work) -> dict[str, str]:
    tables = {f"table_{name}.csv": csv_text(table) for name, table in work.cells.items()}
    return tables | {f"{each.name}.csv": csv_text(each.rows) for each in work.qualities}


def _latex(work: _Work) -> dict[str, str]:
    tables = {f"table_{name}.tex": latex(blocks) for name, blocks in work.grids.items()}
    return {**tables, "tables.tex": document(f"table_{name}" for name in work.grids)}


def _scores(work: _Work) -> list[str]:
    """The files that the results came from, as seen from the report."""
    scores = work.config.results_dir / SCORES
    if not scores.exists() or scores.resolve().anchor != work.config.out.resolve().anchor:
        return []
    return [Path(os.path.relpath(scores.resolve(), work.config.out.resolve())).as_posix()]


def _write_claims(out: Path, comparisons: pd.DataFrame) -> tuple[Path, str]:
    """`claims.md`, `claims.csv` (a line per claim) and `claims.json` (with every comparison).

    Returns the path of the last and the text of the first.
    """
    claims = decide(comparisons)
    text = claim_lines(claims)
    write_text(out / "claims.md", text)
    write_text(out / "claims.csv", csv_text(claims))
    key = ["condition", "claim", "backbone"]
    by_claim = dict(list(comparisons.groupby(key, sort=False)))
    entries = []
    for claim in json.loads(claims.to_json(orient="records")):
        part = by_claim[tuple(claim[name] for name in key)].drop(columns=[*key, "statement"])
        entries.append({**claim, "comparisons": json.loads(part.to_json(orient="records"))})
    write_text(out / "claims.json", json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    return out / "claims.json", text


def _write_pictures(work: _Work, formats: tuple[str, ...], files: list[str]) -> Path:
    """Figures, and the report, which links all `files`; matplotlib is imported only here."""
    from analysis.figures.catalogue import draw_all
    from analysis.figures.style import save
    from analysis.placed.drawings import draw_placed

    out, material = work.config.out, work.material
    drawings = (
        list(draw_all(material.results, material.chosen, work.config.figure_images))
        if work.of_maps
        else []
    )
    placed = list(draw_placed(material.results.folder))
    for kind in FIGURE_FORMATS:
        if kind in formats:
            (out / "figures").mkdir(exist_ok=True)
            for drawing in [*drawings, *placed]:
                files.append(f"figures/{drawing.name}.{kind}")
                save(drawing.figure, out / files[-1], kind)
    if "html" not in formats:
        return out
    from analysis.write.report.page import Content, report

    _write_claims(out, work.comparisons)
    content = Content(
        material.results,
        material.chosen if work.of_maps else material.measured,
        [grid for blocks in work.grids.values() for grid in blocks],
        decide(work.comparisons),
        drawings,
        placed,
        work.commands,
        agreement_lines(agreement(material)) if work.of_maps else [],
        read_audits(material.results),
        [*files, "claims.md", "claims.csv", "claims.json", *_scores(work)],
    )
    write_text(out / REPORT, report(content))
    return out / REPORT
