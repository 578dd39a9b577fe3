"""Trained heads on disk: weights, example maps and error maps, in one HDF5 file per run."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data.tools.errors import UserError
from data.tools.hdf5 import open_hdf5, own_dataset
from data.tools.settings import listed
from probe.heads.spec import HeadSpec
from probe.results.tables import HEADS


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
    rings: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # (N, ceil(s / 2))
    # Of the images with the lowest and the highest scores: (m, n, n), worst first.
    extremes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    extreme_names: dict[str, list[str]] = field(default_factory=dict)


def with_heads(path: Path, results: list[HeadResult]) -> bytes:
    """The file `path`, if there is one, with more heads; one that was there is replaced.

    Written anew, the heads in the order of their names: nothing is left of what was replaced.
    """
    added = {result.spec.name: result for result in results}
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        if not path.exists():
            _write(file, added, None)
        else:
            with open_hdf5(path) as existing:
                _write(file, added, existing)
    return buffer.getvalue()


def _write(file: h5py.File, added: dict[str, HeadResult], existing: h5py.File | None) -> None:
    kept = set(existing or ()) - set(added)
    for name in sorted(kept | set(added)):
        if name in added:
            _write_head(file.create_group(name), added[name])
        else:
            assert existing is not None
            existing.copy(name, file)


def _write_head(group: h5py.Group, result: HeadResult) -> None:
    group.attrs["spec"] = json.dumps(asdict(result.spec))
    group.attrs["facts"] = json.dumps(result.attributes)
    for key, values in result.weights.items():
        group[f"weights/{key}"] = values
    for images, maps in result.predictions.items():
        group[f"predictions/{images}"] = maps
        group[f"predictions/{images}"].attrs["names"] = result.prediction_names[images]
    for images, maps in result.extremes.items():
        group[f"extremes/{images}"] = maps
        group[f"extremes/{images}"].attrs["names"] = result.extreme_names[images]
    for images, error in result.errors.items():
        group.create_dataset(f"error/{images}", data=error, compression="gzip")
    for images, rings in result.rings.items():
        group[f"rings/{images}"] = rings


def read_head(results_dir: Path, run: str, head: str) -> tuple[HeadSpec, dict[str, Any], dict]:
    """Spec, facts and weights (NumPy arrays under the plain module's keys) of a trained head.

    `probe.train.load_head` makes a module of them.
    """
    path = results_dir / run / HEADS
    if not path.exists():
        raise UserError(f"no trained heads in {path}: run train-probes first")
    with open_hdf5(path) as file:
        if head not in file:
            raise UserError(f"no head {head!r} in {path}: use {listed(head, sorted(file))}")
        try:
            group = file[head]
            weights = {key: own_dataset(group, f"weights/{key}")[()] for key in group["weights"]}
            spec = HeadSpec.from_json(json.loads(group.attrs["spec"]))
            return spec, json.loads(group.attrs["facts"]), weights
        except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}): run train-probes again") from error
