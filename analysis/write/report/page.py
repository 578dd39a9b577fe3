"""One self-contained page: the user's result, padding, claims, then all else that there is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import jinja2
import pandas as pd

from analysis.figures.catalogue import Drawing
from analysis.read.audits import Audit
from analysis.read.results import Results
from analysis.tables import cells
from analysis.tables.grid import Grid
from analysis.tables.summary import summary_labels, summary_lines, summary_title
from analysis.write.report.claims import claim_groups, counted
from analysis.write.report.images import image_by_image
from analysis.write.report.padding import padding_effects
from analysis.write.report.pictures import picture
from analysis.write.report.runs import audited, described, heads_of, statuses, unfinished
from analysis.write.report.tables import Block, block, qualities, table
from data.tools.printable import printable
from data.vocabulary import CONSTANT

_PADDING = ("figure_6", "spc_by_level")  # what shows the effect of padding, best first


@dataclass(frozen=True)
class Content:
    """What goes into a report."""

    results: Results
    measured: pd.DataFrame
    grids: list[Grid]
    claims: pd.DataFrame  # what `analysis.claims.verdicts.decide` gives
    drawings: list[Drawing]
    placed: list[Drawing]  # of placed studies
    commands: list[str]  # that give the results and the report again
    agreement: list[str]  # with the published numbers, in sentences
    audits: list[Audit]  # of the networks
    files: list[str]  # written beside the page, and what it was made from: paths from it


def report(content: Content) -> str:
    """The page as HTML: everything is inside, nothing is fetched."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    results, measured = content.results, content.measured
    of_maps = [grid for grid in content.grids if grid.table.of_maps]
    leading = _leading(content.drawings)
    return environment.get_template("report.html").render(
        conditions=list(dict.fromkeys(measured.get("condition", []))),
        summary=None if measured.empty else _summary(measured),
        padding=padding_effects(results, measured),
        leading=[picture(drawing) for drawing in leading],
        agreement=content.agreement,
        claims=claim_groups(content.claims),
        verdicts=counted(content.claims["verdict"]),
        tables=[table(grid) for grid in of_maps if grid.is_measured],
        unmeasured=[table(grid) for grid in of_maps if not grid.is_measured],
        placed_tables=[table(grid) for grid in content.grids if not grid.table.of_maps],
        qualities=qualities(results, measured),
        figures=[picture(drawing) for drawing in content.drawings if drawing not in leading],
        images=image_by_image(results, measured),
        placed_figures=[picture(drawing) for drawing in content.placed],
        runs=[described(run, results) for run in results.runs],
        statuses=statuses(results),
        heads=len(heads_of(results)),
        constant=int((heads_of(results)["status"] == CONSTANT).sum()),
        unfinished=unfinished(results),
        audits=[audited(audit) for audit in content.audits],
        audited_levels=list(dict.fromkeys(level for a in content.audits for level in a.changes)),
        commands=content.commands,
        files=[(file, quote(file)) for file in content.files],
        marks=cells.MARKS,
    )


def _summary(measured: pd.DataFrame) -> Block:
    lines = summary_lines(measured)
    notes = cells.legend([text for line in lines for text in line])
    return block(summary_title(measured), lines, summary_labels(lines), notes)


def _leading(drawings: list[Drawing]) -> list[Drawing]:
    """The figures that show the effect of padding, of every condition; they come first."""
    for name in _PADDING:
        found = [each for each in drawings if each.name.startswith(name)]
        if found:
            return found
    return []
