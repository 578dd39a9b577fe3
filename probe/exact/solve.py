"""Linear heads at the optimum of their loss: one pass over the cache for each shape of head."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.tools.errors import UserError
from data.tools.progress import progress
from data.vocabulary import CONVERGED
from probe import results
from probe.batches import FeatureBatches, plain_windows
from probe.collect import collect, mean_defined
from probe.config import ProbeConfig
from probe.exact.gap import heads_without_gap, optimum_gaps
from probe.exact.gram import Columns, Gram
from probe.exact.ridge import Targets, solve
from probe.exact.shape import Shape, find_shapes
from probe.heads.spec import HeadSpec, build_head
from probe.plan import Run
from probe.scoring import score_maps
from probe.sgd.bank import Bank, Entry
from probe.sgd.fit import Split, mean_losses, outputs_of, split_rows

BATCH = 32  # images read at once
HELDOUT = 8  # every so many training images one is held out to choose the ridge; all then solve
ORDER_SEED = 0  # of the order in which the learning curve takes the images
CURVE = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)  # images, and then all there are


@dataclass(frozen=True)
class Solved:
    """One head, solved: the parameters of its `nn.Conv2d`, its ridge and its training loss."""

    kernel: Tensor  # (channels, k, k) float64
    bias: Tensor  # () float64
    ridge: float
    train_loss: float


@dataclass(frozen=True)
class Pass:
    """What the solutions of one shape share."""

    run: Run
    shape: Shape
    heads: list[HeadSpec]
    batches: FeatureBatches

    @property
    def levels(self) -> dict[str, int]:
        """Level -> channels, in the order of the columns."""
        return self.batches.channels


def solve_heads(
    run: Run,
    pending: list[HeadSpec],
    config: ProbeConfig,
    folder: Path,
    device: torch.device,
    settings: dict[str, Any],
) -> None:
    """Solve, score and write the pending heads of a run into `folder`, described by `settings`.

    Linear heads that SGD trained on the same cache learn how far from the optimum they are on
    the way. A sweep leaves out the heads whose Gram matrix does not fit into memory, and says so;
    without `--sweep` they are a `UserError`.
    """
    rows = run.cache.rows("train")
    if len(rows) < 2:
        raise UserError(f"{run.cache.folder} has {len(rows)} training image(s): extract 2 or more")
    split = split_rows(rows, run.cache.rows("test"), 1 / min(HELDOUT, len(rows)))
    trained = heads_without_gap(folder.parent, run, split)
    wanted = list(dict.fromkeys([*pending, *(head.spec for head in trained)]))
    for shape in find_shapes(wanted, run, device, leave_out=config.sweep, sharing=config.jobs):
        results.write_settings(folder, settings)
        batches = FeatureBatches(run.cache, shape.levels, torch.float32, device, "none")
        heads = [head for head in pending if shape.holds(head)]
        work = Pass(run, shape, heads, batches)
        gram = _solve_shape(work, split, folder, config)
        reached = [head for head in trained if shape.holds(head.spec)]
        for other, gaps in optimum_gaps(gram, reached).items():
            results.write_gaps(other, gaps)


def _solve_shape(work: Pass, split: Split, folder: Path, config: ProbeConfig) -> Gram:
    run, shape, device = work.run, work.shape, work.batches.device
    count = len(split.train) + len(split.heldout)
    curve = tuple(n for n in CURVE if n < count) if config.learning_curve else ()
    cost = shape.cost(count, 1 + len(curve), device)
    print(f"{run.name}: {len(work.heads)} heads, {cost}", file=sys.stderr, flush=True)
    columns = Columns(shape.kernel_size, shape.probe_padding, run.recipe.resolution, device)
    gram = Gram(work.levels, columns)
    rows = []
    for images in _accumulate(gram, work, split, (*curve, count)):
        gram.mirror()
        if not work.heads:
            continue
        solved = _solve_entries(gram, work)
        bank = _bank(solved, work)
        if config.learning_curve:
            rows += _curve_rows(bank, work, images)
    if work.heads:
        results.write_heads(folder, _collect(bank, solved, work, config.num_workers))
    if rows:
        results.write_curve(folder, rows)
    return gram


def nested(
    split: Split, counts: tuple[int, ...]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows to fit on and to hold out that each count adds to the counts before it.

    The rows come in a fixed random order; every count has at least one of either kind.
    """
    generator = np.random.default_rng(ORDER_SEED)
    fit, heldout = generator.permutation(split.train), generator.permutation(split.heldout)
    share = len(heldout) / (len(fit) + len(heldout))
    held = [max(1, round(count * share)) for count in counts]
    fitted = [count - part for count, part in zip(counts, held, strict=True)]
    return list(zip(np.split(fit, fitted)[:-1], np.split(heldout, held)[:-1], strict=True))


def _accumulate(gram: Gram, work: Pass, split: Split, counts: tuple[int, ...]) -> Iterator[int]:
    """Take in the training images; yields at every count, the last of which is all of them."""

    def steps() -> Iterator[int]:
        for count, parts in zip(counts, nested(split, counts), strict=True):
            left = sum(map(len, parts))
            for rows, sums in zip(parts, (gram.fit, gram.heldout), strict=True):
                windows = plain_windows(rows, work.batches.image_bytes)
                for part, features in work.batches.batches(windows, BATCH):
                    gram.add(features, sums)
                    left -= len(part)
                    yield from [0] * (len(part) - 1)
                    yield 0 if left else count

    description = f"{work.run.name}: summing"
    done = progress(steps(), total=counts[-1], description=description, unit="images")
    yield from (count for count in done if count)


def _solve_entries(gram: Gram, work: Pass) -> dict[Entry, Solved]:
    """Every head and its control, in the order of the heads."""
    solved = {}
    for levels in dict.fromkeys(head.levels for head in work.heads):
        entries = [
            Entry(head, 0.0, control)
            for head in work.heads
            if head.levels == levels
            for control in (False, True)
        ]
        maps = np.stack([entry.target(work.run.recipe) for entry in entries])
        solution = solve(gram, Targets.of(maps, gram.columns), gram.index(levels))
        for number, entry in enumerate(entries):
            solved[entry] = Solved(
                solution.kernels[number],
                solution.biases[number],
                solution.ridge[number].item(),
                solution.train_loss[number].item(),
            )
    return solved


def _bank(solved: dict[Entry, Solved], work: Pass) -> Bank:
    """The solved heads as a bank, which predicts and scores like a trained one."""
    bank = Bank(list(solved), work.levels, work.run.recipe)
    for block in bank.blocks:
        for index, entry in enumerate(block.entries):
            head = build_head(entry.spec, block.channels, work.run.recipe)
            parameters = {
                "0.weight": solved[entry].kernel[None].float().cpu(),
                "0.bias": solved[entry].bias[None].float().cpu(),
            }
            head.load_state_dict(parameters)
            block.load_head(index, head)
    return bank.to(work.batches.device)


def _heldout_losses(bank: Bank, work: Pass) -> Tensor:
    """On the test images, as of a protocol that holds out no training images: (entries,)."""
    rows = work.run.cache.rows("test")
    return mean_losses(bank, work.batches, rows, work.run.recipe.batch_size).cpu()


def _collect(
    bank: Bank, solved: dict[Entry, Solved], work: Pass, num_workers: int
) -> list[results.HeadResult]:
    train = torch.tensor([solved[entry].train_loss for entry in bank.entries])
    losses = torch.stack([train, _heldout_losses(bank, work)])[None]
    columns = {
        entry.spec: {"learning_rate": np.nan, "status": CONVERGED, "ridge": head.ridge}
        for entry, head in solved.items()
        if not entry.control
    }
    return collect(work.run, bank, work.batches, losses, num_workers, columns)


def _curve_rows(bank: Bank, work: Pass, images: int) -> list[dict[str, Any]]:
    """Scores on the test images of every head solved on the first `images` training images."""
    recipe, batches = work.run.recipe, work.batches
    losses = _heldout_losses(bank, work).tolist()
    outputs = outputs_of(bank, batches, work.run.cache.rows("test"), recipe.batch_size)
    rows = []
    for entry, loss, maps in zip(bank.entries, losses, outputs, strict=True):
        if entry.control:
            continue
        scores = score_maps(maps, entry.target(recipe), str(batches.device))
        rows.append(
            {
                "head": entry.spec.name,
                "n_train": images,
                **{name: mean_defined(values) for name, values in scores.metrics.items()},
                "heldout_loss": loss,
            }
        )
    return rows
