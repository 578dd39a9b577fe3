"""Linear heads at the optimum of their loss: one pass over the cache for each shape of head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.tools.progress import meter
from data.tools.terminal import say
from data.vocabulary import CONVERGED
from probe import results
from probe.batches import FeatureBatches, plain_windows
from probe.config import ProbeConfig
from probe.evaluation import Ending, Trained, evaluate, mean_defined
from probe.exact.gap import heads_without_gap, optimum_gaps
from probe.exact.gram import Columns, Gram
from probe.exact.matrices import Matrix, find_matrices
from probe.exact.ridge import Targets, solve
from probe.heads.dense import build_head, layer_keys
from probe.heads.spec import HeadSpec
from probe.plan import Run
from probe.scoring import score_maps
from probe.sgd.bank import Bank, Block
from probe.sgd.entry import Entry
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
    """What the solutions from one matrix share."""

    run: Run
    matrix: Matrix
    heads: list[HeadSpec]
    batches: FeatureBatches

    @property
    def levels(self) -> dict[str, int]:
        """Level -> channels, in the order of the columns."""
        return self.batches.channels


def solve_heads(
    run: Run, pending: list[HeadSpec], config: ProbeConfig, device: torch.device
) -> bool:
    """Solve, score and write the pending heads of a run; whether any of them fits the memory.

    Linear heads that SGD trained on the same cache learn how far from the optimum they are on
    the way. A sweep leaves out the heads whose Gram matrix does not fit into memory, and says so;
    without `--sweep` they are a `UserError`.
    """
    rows = run.cache.rows("train")
    split = split_rows(rows, run.cache.rows("test"), 1 / HELDOUT)
    trained = heads_without_gap(config.results_dir, run, split)
    wanted = list(dict.fromkeys([*pending, *(head.spec for head in trained)]))
    matrices = find_matrices(wanted, run, device, leave_out=config.sweep, sharing=config.jobs)
    for matrix in matrices:
        batches = FeatureBatches(run.cache, matrix.levels, torch.float32, device, "none")
        heads = [head for head in pending if matrix.holds(head)]
        gram = _solve_matrix(Pass(run, matrix, heads, batches), split, config)
        reached = [head for head in trained if matrix.holds(head.spec)]
        for other, gaps in optimum_gaps(gram, reached).items():
            results.write_gaps(other, gaps)
    return not pending or any(matrix.holds(head) for matrix in matrices for head in pending)


def _solve_matrix(work: Pass, split: Split, config: ProbeConfig) -> Gram:
    """Accumulate the Gram matrix of a pass; solve and write its heads, if it has any."""
    run, matrix, device = work.run, work.matrix, work.batches.device
    count = len(split.train) + len(split.heldout)
    curve = tuple(n for n in CURVE if n < count) if config.learning_curve else ()
    cost = matrix.cost(count, 1 + len(curve), device)
    say(f"{run.name}: {len(work.heads)} heads, {cost}")
    columns = Columns(matrix.kernel_size, matrix.probe_padding, run.recipe.resolution, device)
    gram = Gram(work.levels, columns)
    folder = config.results_dir / run.name
    rows = []
    with meter(total=count, description=f"{run.name}: summing", unit="images") as advance:
        for images in _accumulate(gram, work, nested(split, (*curve, count)), advance):
            gram.mirror()
            if not work.heads:
                continue
            solved = _solve_entries(gram, work)
            bank = _bank(solved, work)
            if config.learning_curve:
                rows += _curve_rows(bank, work, images)
    if work.heads:
        results.write_heads(folder, evaluate(_trained(bank, solved, work), config.num_workers))
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


def _accumulate(
    gram: Gram,
    work: Pass,
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    advance: Callable[[int], None],
) -> Iterator[int]:
    """Take in part after part of the training images; yields how many there are by then."""
    for part in parts:
        for rows, sums in zip(part, (gram.fit, gram.heldout), strict=True):
            windows = plain_windows(rows, work.batches.image_bytes)
            for read, features in work.batches.batches(windows, BATCH):
                gram.add(features, sums)
                advance(len(read))
        yield gram.fit.images + gram.heldout.images


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
        assert isinstance(block, Block), "only dense heads are solved for"
        for index, entry in enumerate(block.entries):
            head = build_head(entry.spec, block.channels, work.run.recipe)
            (keys,) = layer_keys(entry.spec.depth, batch_norm=False)
            parameters = {
                keys.weight: solved[entry].kernel[None].float().cpu(),
                keys.bias: solved[entry].bias[None].float().cpu(),
            }
            head.load_state_dict(parameters)
            block.load_head(index, head)
    return bank.to(work.batches.device)


def _heldout_losses(bank: Bank, work: Pass) -> Tensor:
    """On the test images, as of a protocol that holds out no training images: (entries,)."""
    rows = work.run.cache.rows("test")
    return mean_losses(bank, work.batches, rows, work.run.recipe.batch_size).cpu()


def _trained(bank: Bank, solved: dict[Entry, Solved], work: Pass) -> Trained:
    train = torch.tensor([solved[entry].train_loss for entry in bank.entries])
    losses = torch.stack([train, _heldout_losses(bank, work)])[None]
    endings = [Ending(CONVERGED, ridge=solved[entry].ridge) for entry in bank.entries]
    return Trained(work.run, bank, work.batches, losses, endings)


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
