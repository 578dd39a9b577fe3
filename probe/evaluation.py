"""From a trained bank to what is kept of its heads: scores, losses, weights, example maps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data.vocabulary import KEPT_EXTREMES, KEPT_IMAGES
from probe.batches import FeatureBatches
from probe.heads.kind import find_probe
from probe.heads.spec import DENSE, HeadSpec
from probe.plan import Run
from probe.results import HeadResult
from probe.scoring import Scores
from probe.sgd.bank import Bank
from probe.sgd.entry import Entry
from probe.sgd.fit import outputs_of


@dataclass(frozen=True)
class Ending:
    """How the training of one entry of a bank ended."""

    status: str  # one of `data.vocabulary.STATUSES`
    learning_rate: float = np.nan  # NaN: it took no steps
    ridge: float = np.nan  # NaN: it was not solved for


@dataclass(frozen=True)
class Trained:
    """A bank whose training is over."""

    run: Run
    bank: Bank
    batches: FeatureBatches
    losses: Tensor  # (epochs, 2, entries), training and held-out
    endings: list[Ending]  # one per entry


@dataclass(frozen=True)
class _Scored:
    """One head on one image set."""

    names: list[str]
    outputs: NDArray[np.float32]  # (N, n, n) of dense maps
    scores: Scores

    @property
    def main(self) -> NDArray[np.float64]:
        """The first of the metrics, image by image: SPC of maps."""
        return next(iter(self.scores.metrics.values()))

    def extremes(self) -> list[int]:
        """The images that score worst, then those that score best; none of a set kept whole."""
        if len(self.names) <= KEPT_IMAGES:
            return []
        ranked = [int(i) for i in np.argsort(self.main, kind="stable") if np.isfinite(self.main[i])]
        best = ranked[KEPT_EXTREMES:][-KEPT_EXTREMES:]
        return ranked[:KEPT_EXTREMES] + best


@dataclass(frozen=True)
class _Head:
    """One entry of a bank, the one that is kept of its head."""

    index: int
    entry: Entry
    module: nn.Module
    scored: dict[str, _Scored]  # image set -> scores
    control: dict[str, _Scored]  # of the head trained on the control target, if there is one


def evaluate(trained: Trained, num_workers: int) -> list[HeadResult]:
    """Score a trained bank on every image set of its cache; one result per head.

    Of the learning rates tried for a head, the one with the lowest last held-out loss is kept.
    """
    entries = trained.bank.entries
    chosen = best_rates(entries, trained.losses[-1, 1])
    scored = _score(trained, chosen, num_workers)
    controls = {entries[index].spec: scored[index] for index in chosen if entries[index].control}
    tried: dict[HeadSpec, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        if not entry.control:
            tried[entry.spec].append(index)
    modules = list(trained.bank.heads())
    results = []
    for index in chosen:
        entry, module = modules[index]
        if not entry.control:
            control = controls.get(entry.spec, {})
            head = _Head(index, entry, module, scored[index], control)
            results.append(_result(trained, head, tried[entry.spec]))
    return results


def _result(trained: Trained, head: _Head, tried: list[int]) -> HeadResult:
    entries, losses, scored = trained.bank.entries, trained.losses, head.scored
    extremes = {images: rows for images, each in scored.items() if (rows := each.extremes())}
    return HeadResult(
        spec=head.entry.spec,
        scores=_score_rows(trained, head),
        image_scores=_image_rows(head),
        losses=_loss_rows(head, losses[:, :, head.index]),
        weights={key: value.numpy() for key, value in head.module.state_dict().items()},
        attributes={
            "recipe": asdict(trained.run.recipe),
            "channels": sum(trained.batches.channels[level] for level in head.entry.spec.levels),
            "learning_rates": [entries[index].learning_rate for index in tried],
            "heldout_losses": [float(losses[-1, 1, index]) for index in tried],
        },
        predictions={images: each.outputs[:KEPT_IMAGES] for images, each in scored.items()},
        prediction_names={images: each.names[:KEPT_IMAGES] for images, each in scored.items()},
        extremes={images: scored[images].outputs[rows] for images, rows in extremes.items()},
        extreme_names={
            images: [scored[images].names[row] for row in rows] for images, rows in extremes.items()
        },
        errors={
            images: each.scores.error
            for images, each in scored.items()
            if each.scores.error is not None
        },
        rings={
            images: each.scores.rings
            for images, each in scored.items()
            if each.scores.rings is not None
        },
    )


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


def _score(trained: Trained, chosen: list[int], num_workers: int) -> dict[int, dict[str, _Scored]]:
    run, bank, batches = trained.run, trained.bank, trained.batches
    rows = {name: run.cache.rows(name) for name in run.cache.image_sets if name != "train"}
    outputs = {
        images: outputs_of(bank, batches, selected, run.recipe.batch_size)
        for images, selected in rows.items()
    }
    tasks = [(index, images) for index in chosen for images in outputs]
    # Threads: NumPy sorts without holding the interpreter lock, and nothing is copied.
    parallel = joblib.Parallel(n_jobs=num_workers or joblib.cpu_count(), require="sharedmem")
    scores = parallel(
        joblib.delayed(find_probe(bank.entries[index].spec.probe).score)(
            outputs[images][index], bank.entries[index].target(run.recipe), str(batches.device)
        )
        for index, images in tasks
    )
    scored: dict[int, dict[str, _Scored]] = {index: {} for index in chosen}
    for (index, images), result in zip(tasks, scores, strict=True):
        names = [run.cache.records[row].name for row in rows[images].tolist()]
        scored[index][images] = _Scored(names, outputs[images][index], result)
    return scored


def _score_rows(trained: Trained, head: _Head) -> list[dict[str, Any]]:
    run, spec, ending = trained.run, head.entry.spec, trained.endings[head.index]
    train_loss, heldout_loss = trained.losses[-1, :, head.index].tolist()
    kind = {} if spec.probe == DENSE else {"probe": spec.probe}
    rows = []
    for images, part in head.scored.items():
        means = {name: mean_defined(values) for name, values in part.scores.metrics.items()}
        control = head.control.get(images)
        control_spc = mean_defined(control.main) if control else np.nan
        rows.append(
            {
                **kind,
                "pattern": spec.pattern,
                **run.columns(),
                "levels": "+".join(spec.levels),
                "kernel_size": spec.kernel_size,
                "depth": spec.depth,
                "probe_padding": spec.probe_padding,
                "images": images,
                **means,
                "seed": spec.seed,
                "n_images": len(part.names),
                "n_undefined": int(np.isnan(part.main).sum()),
                "status": ending.status,
                "learning_rate": ending.learning_rate,
                "epochs": len(trained.losses),
                "train_loss": train_loss,
                "heldout_loss": heldout_loss,
                "run": run.name,
                "head": spec.name,
                "r2": _explained(part.scores, head.entry.target(run.recipe)),
                "control_spc": control_spc,
                "selectivity": mean_defined(part.main) - control_spc,
                "optimum_gap": np.nan,
                "ridge": ending.ridge,
            }
        )
    return rows


def _explained(scores: Scores, target: NDArray[np.float64]) -> float:
    """The share of a target map's variance that the outputs explain; NaN of what is no map."""
    if scores.error is None:
        return np.nan
    return 1.0 - float(scores.error.mean(dtype=np.float64)) / float(target.var())


def mean_defined(values: NDArray[np.float64]) -> float:
    """The mean over the values that are defined; NaN where none is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else np.nan


def _image_rows(head: _Head) -> list[dict[str, Any]]:
    return [
        {
            "head": head.entry.spec.name,
            "images": images,
            "image": image,
            **{metric: values[row] for metric, values in part.scores.metrics.items()},
        }
        for images, part in head.scored.items()
        for row, image in enumerate(part.names)
    ]


def _loss_rows(head: _Head, losses: Tensor) -> list[dict[str, Any]]:
    name = head.entry.spec.name
    return [
        {"head": name, "epoch": epoch, "train_loss": train, "heldout_loss": heldout}
        for epoch, (train, heldout) in enumerate(losses.tolist(), start=1)
    ]
