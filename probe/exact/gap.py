"""How far from the optimum of their own loss the linear heads trained by SGD ended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.protocols import TrainingRecipe
from data.tools.errors import UserError
from probe import results
from probe.exact.gram import Gram, Sums
from probe.exact.ridge import Equations, Readouts, Targets, equations
from probe.heads.dense import layer_keys
from probe.heads.spec import DENSE, HeadSpec
from probe.plan import Run
from probe.sgd.entry import Entry
from probe.sgd.fit import Split, split_rows

OPTIMUM_RIDGE = 1e-10  # so weak that it raises the loss by less than a ten-thousandth
BATCH_NORM_EPSILON = 1e-5  # torch's default, which every head has


@dataclass(frozen=True)
class LinearHead:
    """A trained head of depth 1 without sigmoid, as a single convolution."""

    folder: Path  # of its run
    spec: HeadSpec
    recipe: TrainingRecipe
    kernel: NDArray[np.float64]  # (channels, k, k)
    bias: float
    held_out: bool  # trained without the images on which the exact solver chooses the ridge


def heads_without_gap(results_dir: Path, run: Run, split: Split) -> list[LinearHead]:
    """The linear heads of the shapes of `run` that other runs trained on its cache and loss.

    Only those whose distance to the optimum is not known yet, and whose training images are
    those of `split.train`, or all.
    """
    shapes = {_shape(spec) for spec in run.heads}
    found = []
    for folder in sorted(path.parent for path in results_dir.glob(f"*/{results.RUN}")):
        recipe = _linear_recipe(folder, run)
        if recipe is None:
            continue
        rows = split_rows(run.cache.rows("train"), split.heldout, recipe.heldout_share).train
        held_out = np.array_equal(rows, split.train)
        if not held_out and recipe.heldout_share:
            continue
        for name in _names_without_gap(folder):
            spec, _, weights = results.read_head(results_dir, folder.name, name)
            if spec.probe == DENSE and spec.depth == 1 and _shape(spec) in shapes:
                kernel, bias = folded(weights, batch_norm=recipe.batch_norm)
                found.append(LinearHead(folder, spec, recipe, kernel, bias, held_out))
    return found


def optimum_gaps(gram: Gram, heads: list[LinearHead]) -> dict[Path, dict[str, float]]:
    """Training loss over the smallest that any such head has, minus one, by run and head.

    Both losses are of the weights as they are, on the head's own training images and without
    weight decay. `gram` is the matrix that holds the columns of all `heads`.
    """
    groups: dict[Any, list[LinearHead]] = defaultdict(list)
    for head in heads:
        groups[head.spec.levels, head.held_out].append(head)
    gaps: dict[Path, dict[str, float]] = defaultdict(dict)
    for (reads, held_out), members in groups.items():
        parts = [gram.fit] if held_out else [gram.fit, gram.heldout]
        gaps_of = _gaps(gram, parts, members, gram.index(reads))
        for head, gap in zip(members, gaps_of, strict=True):
            gaps[head.folder][head.spec.name] = gap
    return gaps


def folded(
    weights: dict[str, NDArray[Any]], *, batch_norm: bool
) -> tuple[NDArray[np.float64], float]:
    """The parameters of a head of depth 1 as one convolution: its BatchNorm folded into it."""
    state = {key: values.astype(np.float64) for key, values in weights.items()}
    (keys,) = layer_keys(1, batch_norm=batch_norm)
    kernel, bias = state[keys.weight][0], state[keys.bias][0]
    if keys.norm:
        norm = {part: state[key][0] for part, key in keys.norm.items()}
        factor = norm["weight"] / np.sqrt(norm["running_var"] + BATCH_NORM_EPSILON)
        kernel = factor * kernel
        bias = factor * (bias - norm["running_mean"]) + norm["bias"]
    return kernel, float(bias)


def _shape(spec: HeadSpec) -> tuple[tuple[str, ...], int, int]:
    return spec.levels, spec.kernel_size, spec.probe_padding


def _linear_recipe(folder: Path, run: Run) -> TrainingRecipe | None:
    """The recipe of the run in `folder`, if its heads are linear and share the cache and loss."""
    try:
        settings = results.read_settings(folder)
    except UserError:  # written by another version
        return None
    if settings is None or settings.cache.content != run.identity.content:
        return None
    recipe = settings.recipe
    linear = not recipe.sigmoid and recipe.optimizer != run.recipe.optimizer
    return recipe if linear and recipe.resolution == run.recipe.resolution else None


def _names_without_gap(folder: Path) -> list[str]:
    table = results.read_rows(folder / results.SCORES)
    if "optimum_gap" in table:
        table = table[table["optimum_gap"] == ""]
    return list(dict.fromkeys(table["head"]))


def _gaps(
    gram: Gram, parts: list[Sums], heads: list[LinearHead], index: Tensor | None
) -> list[float]:
    maps = np.stack([Entry(head.spec, 0.0).target(head.recipe) for head in heads])
    whole = equations(gram, parts, Targets.of(maps, gram.columns), index)
    reached = whole.losses(_readouts(heads, whole))
    ((_, readouts),) = whole.path([OPTIMUM_RIDGE])
    optimum = whole.losses(readouts)
    return (reached / optimum - 1.0).tolist()


def _readouts(heads: list[LinearHead], whole: Equations) -> Readouts:
    device = whole.shift.device
    kernels = np.stack([head.kernel.ravel() for head in heads], axis=1)
    weights = torch.from_numpy(kernels).to(device)
    bias = torch.tensor([head.bias for head in heads], dtype=torch.float64, device=device)
    return Readouts(weights, bias + whole.shift @ weights)
