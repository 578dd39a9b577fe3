"""Reading and checking what `train-probes` wrote; needs no torch.

Every row is checked before any is used: a results folder that is half written, made by another
version or edited by hand is a `UserError` that names the file and the row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.read.columns import (
    LOSS,
    MAE,
    MEAN_TOLERANCE,
    SCORED_SET,
    SPC,
    TEXT,
    among,
    checked,
    more_metrics,
    read_csv,
    read_texts,
    remedy,
    row_number,
    whole,
)
from analysis.read.training import mark_under_trained
from data.protocols import is_of_today
from data.target_maps import load_targets
from data.targets import pattern_names
from data.tools.errors import UserError
from data.vocabulary import STATUSES
from probe.metrics import METRICS
from probe.results import (
    CURVE,
    IMAGE_SCORES,
    LOSSES,
    PROBE,
    RUN,
    SCORES,
    OtherSchemaError,
    RunSettings,
)


@dataclass(frozen=True)
class Results:
    """Everything in a results folder but the maps (see `analysis.read.maps`)."""

    folder: Path
    # One row per head and image set: the columns of scores.csv, the status as `training` has it.
    scores: pd.DataFrame
    image_scores: pd.DataFrame  # run, head, images, image, spc (NaN: undefined), mae
    losses: pd.DataFrame  # run, head, epoch, train_loss, heldout_loss
    curves: (
        pd.DataFrame
    )  # run, head, n_train, spc, mae, heldout_loss; without rows where unmeasured
    runs: dict[str, RunSettings]
    left_out: tuple[str, ...] = ()  # what the folder holds besides, a sentence each
    # Readouts of other kinds than dense maps, with the columns of each kind.
    others: pd.DataFrame = field(default_factory=pd.DataFrame)


_SCORE_KINDS = {
    "backbone": TEXT,
    "weights": TEXT,
    "backbone_padding": TEXT,
    "levels": TEXT,
    "kernel_size": whole(1),
    "depth": whole(1),
    "probe_padding": whole(0),
    "images": SCORED_SET,
    "spc": SPC,
    "mae": MAE,
    "protocol": TEXT,
    "normalization": TEXT,
    "seed": whole(0),
    "n_images": whole(1),
    "n_undefined": whole(0),
    "status": among(*STATUSES),
    "learning_rate": LOSS,
    "epochs": whole(1),
    "train_loss": LOSS,
    "heldout_loss": LOSS,
    "run": TEXT,
    "head": TEXT,
}
# Columns that are empty where they are not defined, and that older results lack.
_OPTIONAL_KINDS = {
    "r2": LOSS,
    "control_spc": SPC,
    "selectivity": LOSS,
    "optimum_gap": LOSS,
    "ridge": LOSS,
}
_IMAGE_SCORE_KINDS = {
    "head": TEXT,
    "images": SCORED_SET,
    "image": TEXT,
    "spc": SPC,
    "mae": MAE,
}
_CURVE_KINDS = {
    "head": TEXT,
    "n_train": whole(1),
    "spc": SPC,
    "mae": MAE,
    "heldout_loss": LOSS,
}
_LOSS_KINDS = {"head": TEXT, "epoch": whole(1), "train_loss": LOSS, "heldout_loss": LOSS}


def read_results(folder: Path | str) -> Results:
    """The checked content of a results folder; `UserError` names the file and row at fault."""
    folder = Path(folder)
    path = folder / SCORES
    if not path.exists():
        raise UserError(f"no scores in {folder} (there is no {path}): run train-probes first")
    key = ["run", "head", "images"]
    load_targets(folder)
    more = more_metrics()
    texts, left_out = _without_copies(folder, read_texts(path), key)
    if texts.empty:
        raise UserError(f"{path} has no row: run train-probes again")
    texts, others = _by_kind(path, texts, key)
    kinds = {"pattern": among(*pattern_names()), **_SCORE_KINDS}
    scores = checked(path, texts, kinds, key=key, optional=_OPTIONAL_KINDS | more)
    runs = _read_runs(path, scores)
    earlier = _of_earlier_versions(folder, runs)
    runs = {run: settings for run, settings in runs.items() if run not in earlier}
    scores, left_out = scores[scores["run"].isin(runs)], (*left_out, *earlier.values())
    if scores.empty:
        if others.empty:
            raise UserError(f"nothing to show: {left_out[-1]}")
        none = scores[["run", "head"]]
        return Results(folder, scores, none, none, none, {}, left_out, others)
    image_scores, losses, curves = [], [], []
    for place in (folder / run for run in runs):
        image_key = ["head", "images", "image"]
        image_scores.append(
            read_csv(place / IMAGE_SCORES, _IMAGE_SCORE_KINDS, key=image_key, optional=more)
        )
        losses.append(read_csv(place / LOSSES, _LOSS_KINDS, key=["head", "epoch"]))
        curves.append(_read_curve(place / CURVE))
    results = Results(
        folder,
        mark_under_trained(scores, runs),
        _of_runs(image_scores, runs),
        _of_runs(losses, runs),
        _of_runs(curves, runs),
        runs,
        left_out,
        others,
    )
    _check_means(results, path)
    return results


def _by_kind(path: Path, texts: pd.DataFrame, key: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of dense maps as they are written, and those of other kinds of readout, checked.

    The latter hold the columns that are not empty: of any kind's own, only that they are numbers
    is known.
    """
    of_another = texts.get(PROBE, pd.Series("", texts.index)) != ""
    others = texts[of_another]
    if others.empty:
        return texts, others
    maps = ("spc", "mae")
    kinds = {name: kind for name, kind in _SCORE_KINDS.items() if name not in maps}
    own = [name for name in others if name not in {**kinds, **_OPTIONAL_KINDS, "pattern": ""}]
    filled = [name for name in own if (others[name] != "").any() and name != PROBE]
    kinds |= {PROBE: TEXT, "pattern": TEXT, **dict.fromkeys(filled, LOSS)}
    return texts[~of_another], checked(path, others, kinds, key=key, optional=_OPTIONAL_KINDS)


def without_scores(folder: Path) -> Results:
    """Results of a folder that holds other studies, and no readout of position maps."""
    kinds = {"pattern": TEXT, **_SCORE_KINDS, **_OPTIONAL_KINDS, **more_metrics()}
    image_kinds = {"run": TEXT, **_IMAGE_SCORE_KINDS, **more_metrics()}
    columns = (kinds, image_kinds, {"run": TEXT, **_LOSS_KINDS}, {"run": TEXT, **_CURVE_KINDS})
    scores, images, losses, curves = (pd.DataFrame(columns=list(names)) for names in columns)
    return Results(folder, scores, images, losses, curves, {})


def _without_copies(
    folder: Path, texts: pd.DataFrame, key: list[str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows of every run as its own folder has them, and a sentence on every copy of one.

    A copy of a run's folder beside it, say a backup, adds that run's rows to the joined scores.
    """
    left_out: list[str] = []
    if not set(key) <= set(texts):
        return texts, ()
    for run in dict.fromkeys(texts["run"][texts.duplicated(key)]):
        own = folder / run / SCORES
        others = [path for path in sorted(folder.glob(f"*/{SCORES}")) if path != own]
        copies = [path.parent for path in others if run in set(read_texts(path).get("run", ""))]
        if not copies or not own.exists():
            continue
        rows = read_texts(own).reindex(columns=texts.columns, fill_value="")
        of_run = texts["run"] == run
        there = pd.MultiIndex.from_frame(texts).isin(pd.MultiIndex.from_frame(rows))
        texts = texts[~of_run | (there & ~texts.duplicated())]
        left_out += [f"{copy} is left out: it is a copy of {folder / run}" for copy in copies]
    return texts, tuple(left_out)


def _read_curve(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=list(_CURVE_KINDS))
    return read_csv(path, _CURVE_KINDS, key=["head", "n_train"])


def _of_runs(tables: list[pd.DataFrame], runs: Iterable[str]) -> pd.DataFrame:
    pairs = zip(runs, tables, strict=True)
    return pd.concat([table.assign(run=run) for run, table in pairs], ignore_index=True)


def _read_runs(path: Path, scores: pd.DataFrame) -> dict[str, RunSettings]:
    """What the runs of some scores were made with."""
    runs = {}
    for run in dict.fromkeys(scores["run"]):
        if Path(run).name != run or run in (".", ".."):
            row = row_number(scores.index[scores["run"] == run][0])
            raise UserError(
                f"{path}, row {row}: run is {run!r}, not a folder's name: {remedy(path)}"
            )
        runs[run] = _read_run(path.parent / run / RUN)
    return runs


def _of_earlier_versions(folder: Path, runs: dict[str, RunSettings]) -> dict[str, str]:
    """The runs whose protocol meant something else when they were made, a sentence on each."""
    return {
        run: f"{folder / run} is left out: when it was made, the protocol {cache.protocol} gave "
        "other features: extract them and train again, both with --overwrite"
        for run, cache in ((run, settings.cache) for run, settings in runs.items())
        if not is_of_today(cache.protocol, cache.features)
    }


def _read_run(path: Path) -> RunSettings:
    try:
        return RunSettings.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing, so the results are half written: run train-probes again"
        ) from None
    except OtherSchemaError as error:
        raise UserError(
            f"{path}: {error}: run train-probes again into another --results-dir"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): {remedy(path)}") from None


def _check_means(results: Results, path: Path) -> None:
    """Every score must be the mean of its per-image scores, over the defined ones for SPC."""
    key = ["run", "head", "images"]
    means = results.image_scores.groupby(key).agg(
        n_images=("mae", "size"),
        n_defined=("spc", "count"),
        **{name: (name, "mean") for name in METRICS},
    )
    joined = results.scores.join(means.add_suffix("_of_images"), on=key)
    for row, score in zip(joined.index, joined.itertuples(), strict=True):
        place = f"{path}, row {row_number(row)}"
        images = f"{score.run}/{IMAGE_SCORES}"
        if np.isnan(score.n_defined_of_images):
            raise UserError(
                f"{place}: head {score.head} has no {score.images} images in {images}, so the "
                "results are half written: run train-probes again"
            )
        pairs = {
            "n_images": (score.n_images, score.n_images_of_images),
            "n_undefined": (
                score.n_undefined,
                score.n_images_of_images - score.n_defined_of_images,
            ),
            **{
                name: (getattr(score, name), getattr(score, f"{name}_of_images"))
                for name in METRICS
            },
        }
        for name, (value, other) in pairs.items():
            if not np.isclose(
                value, other, rtol=MEAN_TOLERANCE, atol=MEAN_TOLERANCE, equal_nan=True
            ):
                mended = remedy(results.folder / score.run / IMAGE_SCORES)
                raise UserError(
                    f"{place}: {name} is {value:.6g}, but {images} gives {other:.6g}; one of the "
                    f"two was edited or comes from another run: {mended}"
                )
