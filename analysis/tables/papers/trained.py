"""Table 6: position in backbones that were trained for a task, beside other weights."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

from analysis.read.measured import interval_columns, network_values, summary
from analysis.read.published import HEAD, PAPER, beside
from analysis.read.results import Results
from analysis.tables.compare import NOTHING_MEASURED
from analysis.tables.papers.position import FIRST, MAIN
from analysis.tables.table import Material, Table
from data.vocabulary import ALL_LEVELS, SCORED_SETS, TASKS
from probe.metrics import METRICS

_KEY = ["pattern", "weights", "images"]
_ORDER = {"pattern": MAIN, "weights": ("random", "imagenet", *TASKS), "images": SCORED_SETS}


def table_6(results: Results, measured: pd.DataFrame) -> pd.DataFrame:
    """One row per recipe, pattern, weights and image set.

    Backbones trained from several seeds ("saliency", "saliency-seed1", ...) are one row, like
    untrained ones of several seeds: means over backbones, intervals over images and backbones,
    standard deviations over the backbones. The columns are those of `compare.compare`.
    """
    rows = _heads(measured)
    blocks = [(str(recipe), part) for recipe, part in rows.groupby("recipe", sort=False)]
    values = network_values(results)
    return pd.concat(
        [_block(recipe, part, values) for recipe, part in blocks or [(NOTHING_MEASURED, rows)]]
    )


def _cells(table: Table, material: Material) -> pd.DataFrame:
    return table_6(material.results, material.chosen)


def _compared(table: Table, material: Material) -> pd.DataFrame:
    """The cells of backbones trained for a task: the others of the table are those of table 1."""
    cells = table_6(material.results, material.measured)
    shape = {name: table.heads[name][0] for name in HEAD if name not in ("pattern", "levels")}
    return cells[cells["weights"].isin(TASKS)].assign(**shape, levels=ALL_LEVELS)


def _has_trained(material: Material) -> bool:
    return bool(_heads(material.chosen)["weights"].isin(TASKS).any())


def _heads(measured: pd.DataFrame) -> pd.DataFrame:
    """The heads of table 6, with the weights as the table calls them and the recipe of the rest."""
    fits = pd.Series(True, index=measured.index)
    for name, values in TABLE_6.heads.items():
        fits &= measured[name].isin(values)
    rows = measured[fits]
    # A condition says first what the weights are; a label, from which seed they were trained.
    recipe = rows["condition"].map(lambda text: text.partition("; ")[2])
    weights = rows["weights"].map(lambda label: re.sub(r"-seed\d+$", "", label))
    return rows.assign(recipe=recipe, weights=weights, trained=rows["weights"])


def _block(recipe: str, rows: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    backbones = _backbones(rows)
    images = values.merge(rows[["run", *HEAD, "images", "weights"]], on=["run", *HEAD, "images"])
    images["network"] = images["run"] + images["network"].astype(str)
    ours = backbones.merge(interval_columns(images, _KEY), how="left", on=_KEY)
    cells = beside(TABLE_6.published_scores()[[*_KEY, *METRICS]], ours, _KEY)
    cells["fill"] = cells["weights"].map(_command).where(cells["n_seeds"].isna(), "")
    # Weights and image sets of one's own come after those of the paper.
    ranks = {name: cells[name].map(_rank(known)) for name, known in _ORDER.items()}
    cells = cells.loc[pd.DataFrame(ranks).sort_values(list(ranks), kind="stable").index]
    return cells.assign(table=TABLE_6.name, condition=recipe)


def _backbones(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per pattern, weights and image set, from one per trained backbone."""
    groups = rows.groupby(_KEY, sort=False, as_index=False)
    table, own = groups.agg(**summary("trained")), groups.first()
    several = table["n_seeds"] > 1
    for name in ("n_seeds", *(f"{metric}_sd" for metric in METRICS)):
        # What was one row already, of untrained networks, keeps the spread that it has.
        table[name] = table[name].where(several, own[name])
    return table


def _rank(known: tuple[str, ...]) -> Callable[[str], int]:
    return lambda name: known.index(name) if name in known else len(known)


def _command(weights: str) -> str:
    if weights not in TASKS:
        return f"extract-features --backbone vgg16 --weights {weights} && train-probes --sweep"
    return (
        f"train-backbone --task {weights} --out backbones/{weights}.pt && extract-features "
        f"--backbone vgg16 --weights backbones/{weights}.pt && train-probes --sweep"
    )


TABLE_6 = Table(
    "6",
    "Position read from backbones trained for a task, from every level together",
    ("pattern", "weights"),
    "images",
    _cells,
    PAPER,
    published_on="",
    compared=_compared,
    heads={**FIRST, "pattern": MAIN, "backbone": ("vgg16",), "backbone_padding": ("zeros",)},
    is_filled=_has_trained,
)
