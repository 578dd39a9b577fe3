"""Held-out loss of exact readouts beside that of the readouts trained by SGD: same cache and head.

python -m benchmarks.exact_heldout CACHE RESULTS_DIR

CACHE is the folder of one cache, RESULTS_DIR holds an exact run on it and others. Compared are
heads of depth 1; every loss is that of the stored head on every test image, by a plain forward pass
and PyTorch's own upsampling, the mean of a head's seeds. Lists the heads on which an exact readout
is worse, with a 95 % interval of the difference over the test images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional

from data.cache.reader import FeatureCache
from data.intervals import bootstrap_interval
from data.protocols import TrainingRecipe
from probe import results
from probe.heads.spec import HeadSpec
from probe.loss import scored_target
from probe.train import load_head

READOUT = ["levels", "kernel_size", "probe_padding", "pattern"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("results_dir", type=Path)
    options = parser.parse_args()
    compare(image_losses(FeatureCache(options.cache), options.results_dir))


def image_losses(cache: FeatureCache, results_dir: Path) -> dict[str, pd.DataFrame]:
    """By protocol, the losses of its readouts (rows) on the test images of `cache` (columns).

    Mean squared errors over the variance of the target, the mean of a readout's seeds.
    """
    return {
        str(protocol): _losses(cache, results_dir, heads)
        for protocol, heads in _heads(cache, results_dir).groupby("protocol")
    }


def compare(losses: dict[str, pd.DataFrame]) -> None:
    """Print, for every trained protocol, where the exact readouts have no higher loss."""
    solved = next(losses[name] for name in losses if name.endswith("exact"))
    for protocol, trained in losses.items():
        if not protocol.endswith("exact"):
            _compare(protocol, solved, trained)


def _heads(cache: FeatureCache, results_dir: Path) -> pd.DataFrame:
    """The rows of `scores.csv` of heads of depth 1 trained on `cache`, one per head and seed."""
    scores = pd.read_csv(results_dir / results.SCORES)
    wanted = cache.identity.content
    settings = {run: results.read_settings(results_dir / run) for run in scores["run"].unique()}
    runs = [run for run, made in settings.items() if made and made.cache.content == wanted]
    kept = scores["run"].isin(runs) & (scores["images"] == "test") & (scores["depth"] == 1)
    return scores[kept]


def _losses(cache: FeatureCache, results_dir: Path, heads: pd.DataFrame) -> pd.DataFrame:
    means = {}
    for readout, seeds in heads.groupby(READOUT):
        loss = [_head_losses(cache, results_dir, row.run, row.head) for row in seeds.itertuples()]
        means[readout] = np.mean(loss, axis=0)
    return pd.DataFrame(means).T


@torch.no_grad()
def _head_losses(
    cache: FeatureCache, results_dir: Path, run: str, name: str
) -> NDArray[np.float64]:
    spec, facts, _ = results.read_head(results_dir, run, name)
    recipe = TrainingRecipe.from_json(facts["recipe"])
    head = load_head(results_dir, run, name)
    rows = cache.rows("test")
    outputs = torch.cat([head(_features(cache, spec, part)) for part in np.array_split(rows, 8)])
    target = scored_target(spec.pattern, outputs.shape[-1], recipe)
    if recipe.resolution is not None:
        side = (recipe.resolution, recipe.resolution)
        outputs = functional.interpolate(outputs, side, mode="bilinear")
    error = (outputs[:, 0] - torch.from_numpy(target)).square().mean((1, 2))
    return error.numpy() / target.var()


def _features(cache: FeatureCache, spec: HeadSpec, rows: NDArray[np.int64]) -> torch.Tensor:
    levels = [torch.from_numpy(cache.read(level, rows)) for level in spec.levels]
    return torch.cat(levels, dim=1).float()


def _compare(protocol: str, solved: pd.DataFrame, trained: pd.DataFrame) -> None:
    shared = solved.index.intersection(trained.index)
    ours, theirs = solved.loc[shared], trained.loc[shared]
    ratio = ours.mean(axis=1) / theirs.mean(axis=1)
    worse = ratio > 1
    print(
        f"{protocol}: exact is at least as good on {(~worse).sum()} of {len(shared)} readouts; its "
        f"loss is {ratio.median():.4f} of SGD's (median), {ratio.max():.4f} at worst"
    )
    for readout in shared[worse]:
        difference = (ours.loc[readout] - theirs.loc[readout]).to_numpy()
        low, high = bootstrap_interval(difference)
        print(
            f"  {readout}: {ours.loc[readout].mean():.5f} against {theirs.loc[readout].mean():.5f} "
            f"of the target's variance, {difference.mean():+.5f} [{low:+.5f}, {high:+.5f}]; worse "
            f"on {(difference > 0).sum()} of {len(difference)} images"
        )


if __name__ == "__main__":
    main()
