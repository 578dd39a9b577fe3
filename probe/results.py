"""Scores, losses and trained heads on disk; needs no torch.

`results/<run>/` holds one run: the heads trained from one cache with one recipe. Its files are
replaced whole, `scores.csv` last: a head is finished when that file lists it.
`results/scores.csv` is all runs together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.tools.errors import UserError
from data.tools.files import write_text
from data.tools.hdf5 import open_hdf5, writing_hdf5
from probe.heads.spec import HeadSpec
from probe.metrics import METRICS

SCHEMA = 2  # 2: the ridge of exact heads is relative to their level
SCORES, IMAGE_SCORES, LOSSES = "scores.csv", "image_scores.csv", "losses.csv"
CURVE = "learning_curve.csv"
RUN, HEADS, CHECKPOINT = "run.json", "heads.h5", "checkpoint.pt"

SCORE_COLUMNS = [
    *("pattern", "backbone", "weights", "backbone_padding", "levels", "kernel_size", "depth"),
    *("probe_padding", "images", "spc", "mae", "protocol", "normalization", "seed", "n_images"),
    *("n_undefined", "status", "learning_rate", "epochs", "train_loss", "heldout_loss"),
    *("run", "head"),
    # Empty where they are not defined, or were not asked for (docs/methods.md).
    *("r2", "control_spc", "selectivity", "optimum_gap", "ridge"),
]
KEPT_PREDICTIONS = 4  # images of each set whose output maps are kept, for the figures


@dataclass
class HeadResult:
    """Everything kept of one trained head."""

    spec: HeadSpec
    scores: list[dict[str, Any]]  # rows of scores.csv
    image_scores: list[dict[str, Any]]  # rows of image_scores.csv
    losses: list[dict[str, Any]]  # rows of losses.csv
    weights: dict[str, NDArray[Any]]  # state dict of the plain module
    attributes: dict[str, Any]  # JSON-able facts about the head
    predictions: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # (m, n, n)
    prediction_names: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # (s, s)


def as_json(values: Any) -> Any:
    """What reads back of `values` written as JSON: to compare with what a run was made with."""
    return json.loads(json.dumps(values))


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What the run in `folder` was made from, or None where there is no run."""
    path = folder / RUN
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}): remove {folder} or choose another --results-dir"
        ) from None


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Record what the run in `folder` is made from."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, indent=1) + "\n"
    write_text(folder / RUN, text)


def finished_heads(folder: Path, *, control: bool = False, curve: bool = False) -> set[str]:
    """Names of the heads whose results are complete; with their control, or learning curve."""
    table = read_rows(folder / SCORES)
    if control and "control_spc" in table:
        table = table[table["control_spc"] != ""]
    finished = set() if control and "control_spc" not in table else set(table["head"])
    return finished & set(read_rows(folder / CURVE)["head"]) if curve else finished


def discard(folder: Path) -> None:
    """Forget every head of a run."""
    for name in (SCORES, IMAGE_SCORES, LOSSES, CURVE, HEADS, CHECKPOINT, RUN):
        (folder / name).unlink(missing_ok=True)


def write_heads(folder: Path, results: list[HeadResult]) -> None:
    """Add heads to a run; a head that was there is replaced."""
    names = {result.spec.name for result in results}
    _replace_rows(folder / IMAGE_SCORES, names, (r for x in results for r in x.image_scores))
    _replace_rows(folder / LOSSES, names, (r for x in results for r in x.losses))
    _write_weights(folder / HEADS, results)
    _replace_rows(folder / SCORES, names, (r for x in results for r in x.scores))


def _replace_rows(path: Path, heads: set[str], rows: Iterable[dict[str, Any]]) -> None:
    table = pd.DataFrame(rows)
    if path.exists():
        old = read_rows(path)
        table = pd.concat([old[~old["head"].isin(heads)], table])
    _write_table(path, table)


def read_rows(path: Path) -> pd.DataFrame:
    """One of a run's tables as text, so that what is written stays as it is, digit for digit.

    Without such a file, a table without rows.
    """
    if not path.exists():
        return pd.DataFrame({"head": []}, dtype=str)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def write_curve(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to the learning curves of a run; those of a head that was there are replaced."""
    _replace_rows(folder / CURVE, {row["head"] for row in rows}, rows)


def write_gaps(folder: Path, gaps: dict[str, float]) -> None:
    """Fill the column `optimum_gap` of some heads of a run."""
    table = read_rows(folder / SCORES)
    known = table.get("optimum_gap", "")
    found = table["head"].map({head: f"{gap:.6g}" for head, gap in gaps.items()})
    table["optimum_gap"] = found.where(found.notna(), known)
    _write_table(folder / SCORES, table)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, float_format="%.6g"))


def _write_weights(path: Path, results: list[HeadResult]) -> None:
    with writing_hdf5(path, update=path.exists()) as file:
        for result in results:
            if result.spec.name in file:
                del file[result.spec.name]
            group = file.create_group(result.spec.name)
            group.attrs["spec"] = json.dumps(asdict(result.spec))
            group.attrs["facts"] = json.dumps(result.attributes)
            for key, values in result.weights.items():
                group[f"weights/{key}"] = values
            for images, maps in result.predictions.items():
                group[f"predictions/{images}"] = maps
                group[f"predictions/{images}"].attrs["names"] = result.prediction_names[images]
            for images, error in result.errors.items():
                group.create_dataset(f"error/{images}", data=error, compression="gzip")


def read_head(results_dir: Path, run: str, head: str) -> tuple[HeadSpec, dict[str, Any], dict]:
    """Spec, facts and weights (NumPy arrays under the plain module's keys) of a trained head.

    `probe.train.load_head` makes a module of them.
    """
    path = results_dir / run / HEADS
    if not path.exists():
        raise UserError(f"no trained heads in {path}: run train-probes first")
    with open_hdf5(path) as file:
        if head not in file:
            raise UserError(f"no head {head!r} in {path}: use one of {', '.join(sorted(file))}")
        group = file[head]
        spec = json.loads(group.attrs["spec"])
        spec["levels"] = tuple(spec["levels"])
        weights = {key: values[()] for key, values in group["weights"].items()}
        return HeadSpec(**spec), json.loads(group.attrs["facts"]), weights


def write_all_scores(results_dir: Path) -> Path:
    """Join the scores of all runs into `results_dir/scores.csv`; returns its path."""
    paths = sorted(results_dir.glob(f"*/{SCORES}"))
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths]
    columns = [*SCORE_COLUMNS, *(name for name in METRICS if name not in SCORE_COLUMNS)]
    table = pd.concat(tables).reindex(columns=columns)  # older runs lack the newer columns
    target = results_dir / SCORES
    _write_table(target, table)
    return target
