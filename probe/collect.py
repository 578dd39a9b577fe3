"""From a trained bank to what is kept of its heads: scores, losses, weights, example maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probe.batches import FeatureBatches
from probe.heads.spec import HeadSpec
from probe.plan import Run
from probe.results import KEPT_PREDICTIONS, HeadResult
from probe.scoring import MapScores, score_maps
from probe.sgd.bank import Bank, Entry
from probe.sgd.convergence import convergence
from probe.sgd.fit import outputs_of

SCORED = ("test", "black", "white", "noise")


@dataclass
class _Scored:
    """One head on one image set."""

    names: list[str]
    outputs: NDArray[np.float32]  # (N, n, n)
    scores: MapScores


def collect(
    run: Run,
    bank: Bank,
    batches: FeatureBatches,
    losses: Tensor,
    num_workers: int,
    columns: Mapping[HeadSpec, dict[str, Any]] | None = None,
) -> list[HeadResult]:
    """Score a trained bank on every image set of its cache; one result per head.

    `losses` is (epochs, 2, entries); of the learning rates tried for a head, the one with the
    lowest last held-out loss is kept. `columns` are columns of `scores.csv` set by the caller.
    """
    chosen = best_rates(bank.entries, losses[-1, 1])
    scored = _score(run, bank, batches, chosen, num_workers)
    controls = {bank.entries[i].spec: scored[i] for i in chosen if bank.entries[i].control}
    modules = list(bank.heads())
    results = []
    for index in chosen:
        entry, module = modules[index]
        if entry.control:
            continue
        tried = [
            i
            for i, other in enumerate(bank.entries)
            if (other.spec, other.control) == (entry.spec, False)
        ]
        state = module.state_dict()
        control = controls.get(entry.spec, {})
        own = (columns or {}).get(entry.spec, {})
        rows = _score_rows(run, entry, losses[:, :, index], scored[index], control)
        results.append(
            HeadResult(
                spec=entry.spec,
                scores=[{**row, **own} for row in rows],
                image_scores=_image_rows(entry, scored[index]),
                losses=_loss_rows(entry, losses[:, :, index]),
                weights={key: value.numpy() for key, value in state.items()},
                attributes={
                    "recipe": asdict(run.recipe),
                    "channels": module[0].in_channels,
                    "learning_rates": [bank.entries[i].learning_rate for i in tried],
                    "heldout_losses": [float(losses[-1, 1, i]) for i in tried],
                },
                predictions={k: v.outputs[:KEPT_PREDICTIONS] for k, v in scored[index].items()},
                prediction_names={k: v.names[:KEPT_PREDICTIONS] for k, v in scored[index].items()},
                errors={k: v.scores.error for k, v in scored[index].items()},
            )
        )
    return results


def best_rates(entries: list[Entry], heldout: Tensor) -> list[int]:
    """For every head, in order, the index of its entry with the lowest finite held-out loss.

    A head and its control are chosen apart.
    """
    ranked = torch.where(heldout.isfinite(), heldout, torch.inf)
    best: dict[Any, int] = {}
    for index, entry in enumerate(entries):
        kept = best.setdefault((entry.spec, entry.control), index)
        if ranked[index] < ranked[kept]:
            best[entry.spec, entry.control] = index
    return list(best.values())


def _score(
    run: Run, bank: Bank, batches: FeatureBatches, chosen: list[int], num_workers: int
) -> dict[int, dict[str, _Scored]]:
    rows = {images: run.cache.rows(images) for images in SCORED}
    outputs = {
        images: outputs_of(bank, batches, selected, run.recipe.batch_size)
        for images, selected in rows.items()
        if len(selected)
    }
    tasks = [(index, images) for index in chosen for images in outputs]
    # Threads: NumPy sorts without holding the interpreter lock, and nothing is copied.
    parallel = joblib.Parallel(n_jobs=num_workers or joblib.cpu_count(), require="sharedmem")
    scores = parallel(
        joblib.delayed(score_maps)(
            outputs[images][index], bank.entries[index].target(run.recipe), str(batches.device)
        )
        for index, images in tasks
    )
    scored: dict[int, dict[str, _Scored]] = {index: {} for index in chosen}
    for (index, images), result in zip(tasks, scores, strict=True):
        names = [run.cache.records[row].name for row in rows[images].tolist()]
        scored[index][images] = _Scored(names, outputs[images][index], result)
    return scored


def _score_rows(
    run: Run,
    entry: Entry,
    losses: Tensor,
    scored: dict[str, _Scored],
    control: dict[str, _Scored],
) -> list[dict[str, Any]]:
    spec = entry.spec
    train, heldout = losses.T.tolist()
    variance = float(entry.target(run.recipe).var())
    rows = []
    for images, part in scored.items():
        means = {name: mean_defined(values) for name, values in part.scores.metrics.items()}
        control_spc = np.nan
        if images in control:
            control_spc = mean_defined(control[images].scores.metrics["spc"])
        rows.append(
            {
                "pattern": spec.pattern,
                "levels": "+".join(spec.levels),
                "kernel_size": spec.kernel_size,
                "depth": spec.depth,
                "probe_padding": spec.probe_padding,
                "images": images,
                **means,
                "r2": 1.0 - float(part.scores.error.mean(dtype=np.float64)) / variance,
                "control_spc": control_spc,
                "selectivity": means["spc"] - control_spc,
                **run.columns(),
                "seed": spec.seed,
                "n_images": len(part.names),
                "n_undefined": int(np.isnan(part.scores.metrics["spc"]).sum()),
                "status": convergence(train, variance),
                "learning_rate": entry.learning_rate,
                "epochs": run.recipe.epochs,
                "train_loss": train[-1],
                "heldout_loss": heldout[-1],
                "optimum_gap": np.nan,
                "ridge": np.nan,
                "run": run.name,
                "head": spec.name,
            }
        )
    return rows


def mean_defined(values: NDArray[np.float64]) -> float:
    """The mean over the values that are defined; NaN where none is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else np.nan


def _image_rows(entry: Entry, scored: dict[str, _Scored]) -> list[dict[str, Any]]:
    return [
        {
            "head": entry.spec.name,
            "images": images,
            "image": name,
            **{metric: values[row] for metric, values in part.scores.metrics.items()},
        }
        for images, part in scored.items()
        for row, name in enumerate(part.names)
    ]


def _loss_rows(entry: Entry, losses: Tensor) -> list[dict[str, Any]]:
    return [
        {"head": entry.spec.name, "epoch": epoch, "train_loss": train, "heldout_loss": heldout}
        for epoch, (train, heldout) in enumerate(losses.tolist(), start=1)
    ]
