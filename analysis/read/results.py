"""Reading and checking what `train-probes` wrote; needs no torch.

Every row is checked before any is used: a results folder that is half written, made by another
version or edited by hand is a `UserError` that names the file and the row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.cache.identity import Identity
from data.targets import PATTERNS
from data.tools.errors import UserError
from data.vocabulary import SCORED_SETS, STATUSES
from probe.results import CURVE, IMAGE_SCORES, LOSSES, RUN, SCHEMA, SCORES

MEAN_TOLERANCE = 2e-5  # scores are written with six digits

_REMEDY = "restore the file, or remove the results folder and run train-probes again"


@dataclass(frozen=True)
class Results:
    """Everything in a results folder but the maps (see `analysis.read.maps`)."""

    folder: Path
    scores: pd.DataFrame  # one row per head and image set: the columns of scores.csv
    image_scores: pd.DataFrame  # run, head, images, image, spc (NaN: undefined), mae
    losses: pd.DataFrame  # run, head, epoch, train_loss, heldout_loss
    curves: (
        pd.DataFrame
    )  # run, head, n_train, spc, mae, heldout_loss; without rows where unmeasured
    runs: dict[str, dict[str, Any]]  # run -> its run.json; "cache" is an `Identity`


@dataclass(frozen=True)
class _Kind:
    """What a column may hold."""

    name: str
    convert: Callable[[str], Any]
    allows: Callable[[Any], bool] = lambda value: True


def _number(text: str) -> float:
    return float(text) if text else np.nan


def _among(*choices: str) -> _Kind:
    return _Kind("one of " + ", ".join(choices), str, lambda value: value in choices)


def _whole(least: int) -> _Kind:
    return _Kind(f"a whole number of at least {least}", int, lambda value: value >= least)


_TEXT = _Kind("a text", str, bool)
_SPC = _Kind(
    "a number from -1 to 1, or empty where undefined",
    _number,
    lambda value: np.isnan(value) or abs(value) <= 1 + MEAN_TOLERANCE,
)
# A diverged head has no finite error.
_MAE = _Kind("a number of at least 0", _number, lambda value: np.isnan(value) or value >= 0)
_LOSS = _Kind("a number", _number)

_SCORE_KINDS = {
    "pattern": _among(*PATTERNS),
    "backbone": _TEXT,
    "weights": _TEXT,
    "backbone_padding": _TEXT,
    "levels": _TEXT,
    "kernel_size": _whole(1),
    "depth": _whole(1),
    "probe_padding": _whole(0),
    "images": _among(*SCORED_SETS),
    "spc": _SPC,
    "mae": _MAE,
    "protocol": _TEXT,
    "normalization": _TEXT,
    "seed": _whole(0),
    "n_images": _whole(1),
    "n_undefined": _whole(0),
    "status": _among(*STATUSES),
    "learning_rate": _LOSS,
    "epochs": _whole(1),
    "train_loss": _LOSS,
    "heldout_loss": _LOSS,
    "run": _TEXT,
    "head": _TEXT,
}
# Columns that are empty where they are not defined, and that older results lack.
_OPTIONAL_KINDS = {
    "r2": _LOSS,
    "control_spc": _SPC,
    "selectivity": _LOSS,
    "optimum_gap": _LOSS,
    "ridge": _LOSS,
}
_IMAGE_SCORE_KINDS = {
    "head": _TEXT,
    "images": _among(*SCORED_SETS),
    "image": _TEXT,
    "spc": _SPC,
    "mae": _MAE,
}
_CURVE_KINDS = {
    "head": _TEXT,
    "n_train": _whole(1),
    "spc": _SPC,
    "mae": _MAE,
    "heldout_loss": _LOSS,
}
_LOSS_KINDS = {"head": _TEXT, "epoch": _whole(1), "train_loss": _LOSS, "heldout_loss": _LOSS}


def read_results(folder: Path | str) -> Results:
    """The checked content of a results folder; `UserError` names the file and row at fault."""
    folder = Path(folder)
    path = folder / SCORES
    if not path.exists():
        raise UserError(f"no scores in {folder} (there is no {path}): run train-probes first")
    key = ["run", "head", "images"]
    scores = _read_csv(path, _SCORE_KINDS, key=key, optional=_OPTIONAL_KINDS)
    if scores.empty:
        raise UserError(f"{path} has no row: run train-probes again")
    runs, image_scores, losses, curves = {}, [], [], []
    for run in dict.fromkeys(scores["run"]):
        if Path(run).name != run or run in (".", ".."):
            row = _row_number(scores.index[scores["run"] == run][0])
            raise UserError(f"{path}, row {row}: run is {run!r}, not a folder's name: {_REMEDY}")
        place = folder / run
        runs[run] = _read_run(place / RUN)
        image_scores.append(
            _read_csv(place / IMAGE_SCORES, _IMAGE_SCORE_KINDS, key=["head", "images", "image"])
        )
        losses.append(_read_csv(place / LOSSES, _LOSS_KINDS, key=["head", "epoch"]))
        curves.append(_read_curve(place / CURVE))
    results = Results(
        folder,
        scores,
        _of_runs(image_scores, runs),
        _of_runs(losses, runs),
        _of_runs(curves, runs),
        runs,
    )
    _check_means(results, path)
    return results


def _read_curve(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=list(_CURVE_KINDS))
    return _read_csv(path, _CURVE_KINDS, key=["head", "n_train"])


def _of_runs(tables: list[pd.DataFrame], runs: Iterable[str]) -> pd.DataFrame:
    pairs = zip(runs, tables, strict=True)
    return pd.concat([table.assign(run=run) for run, table in pairs], ignore_index=True)


def _read_csv(
    path: Path,
    columns: dict[str, _Kind],
    *,
    key: list[str],
    optional: dict[str, _Kind] | None = None,
) -> pd.DataFrame:
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing, so the results are half written: run train-probes again"
        ) from None
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"cannot read {path} ({error}): {_REMEDY}") from None
    missing = [name for name in columns if name not in text]
    if missing:
        raise UserError(
            f"{path}, row 1: no column {', '.join(missing)}; another version wrote it or it was "
            "edited: run train-probes again"
        )
    kinds = {**columns, **(optional or {})}
    text = text.assign(**{name: "" for name in optional or {} if name not in text})
    table = pd.DataFrame({name: _convert(path, text[name], kinds[name]) for name in kinds})
    repeated = table.duplicated(key)
    if repeated.any():
        row = repeated.idxmax()
        named = ", ".join(str(table.loc[row, name]) for name in key)
        raise UserError(f"{path}, row {_row_number(row)}: {named} is there twice: {_REMEDY}")
    return table


def _convert(path: Path, texts: pd.Series, kind: _Kind) -> pd.Series:
    # Few different values fill many rows: convert each once.
    values: dict[str, Any] = {}
    for text in texts.unique():
        try:
            values[text] = kind.convert(text)
            good = kind.allows(values[text])
        except ValueError:
            good = False
        if not good:
            row = _row_number((texts == text).idxmax())
            raise UserError(
                f"{path}, row {row}: {texts.name} is {text!r}, not {kind.name}: {_REMEDY}"
            )
    return texts.map(values)


def _row_number(index: Any) -> int:
    """As a spreadsheet counts: the header is row 1."""
    return int(index) + 2


def _read_run(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        schema = settings["schema"]
        settings["cache"] = Identity.from_json(settings["cache"])
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing, so the results are half written: run train-probes again"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): {_REMEDY}") from None
    if schema != SCHEMA:
        raise UserError(
            f"{path}: schema {schema!r} was written by another version of this program, which "
            f"reads schema {SCHEMA}: run train-probes again into another --results-dir"
        )
    return dict(settings)


def _check_means(results: Results, path: Path) -> None:
    """Every score must be the mean of its per-image scores, over the defined ones for SPC."""
    key = ["run", "head", "images"]
    means = results.image_scores.groupby(key).agg(
        n_images=("mae", "size"),
        n_defined=("spc", "count"),
        spc=("spc", "mean"),
        mae=("mae", "mean"),
    )
    joined = results.scores.join(means.add_suffix("_of_images"), on=key)
    for row, score in zip(joined.index, joined.itertuples(), strict=True):
        place = f"{path}, row {_row_number(row)}"
        images = f"{score.run}/{IMAGE_SCORES}"
        if np.isnan(score.n_defined_of_images):
            raise UserError(
                f"{place}: head {score.head} has no {score.images} images in {images}, so the "
                "results are half written: run train-probes again"
            )
        written = (score.n_images, score.n_undefined, score.spc, score.mae)
        counted = (score.n_images_of_images, score.n_images_of_images - score.n_defined_of_images)
        expected = (*counted, score.spc_of_images, score.mae_of_images)
        names = ("n_images", "n_undefined", "spc", "mae")
        for name, value, other in zip(names, written, expected, strict=True):
            if not np.isclose(
                value, other, rtol=MEAN_TOLERANCE, atol=MEAN_TOLERANCE, equal_nan=True
            ):
                raise UserError(
                    f"{place}: {name} is {value:.6g}, but {images} gives {other:.6g}; one of the "
                    f"two was edited or comes from another run: {_REMEDY}"
                )
