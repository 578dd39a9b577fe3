"""Scores of low-resolution outputs at the protocol's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data.resample import bilinear_maps
from probe.metrics import centred_ranks, mean_absolute_error, spearman, spearman_torch

MAPS_AT_ONCE = 16  # of 224x224 float32: 3 MB, within a processor's cache


@dataclass(frozen=True)
class MapScores:
    """Scores of one head on one image set, image by image."""

    spc: NDArray[np.float64]  # (N,), NaN where undefined
    mae: NDArray[np.float64]  # (N,)
    error: NDArray[np.float32]  # (s, s), squared error averaged over the images


def score_maps(
    outputs: NDArray[np.float32], target: NDArray[np.float64], device: str = "cpu"
) -> MapScores:
    """SPC, MAE and error map of a head's outputs (N, n, n), upsampled to the target's (s, s).

    On a GPU ranks are computed there; on the CPU by NumPy, one thread a call.
    """
    ranks = centred_ranks(target)
    target = target.astype(np.float32)
    error = np.zeros_like(target)
    spc, mae = [np.zeros(0)], [np.zeros(0)]
    for start in range(0, len(outputs), MAPS_AT_ONCE):
        maps = bilinear_maps(outputs[start : start + MAPS_AT_ONCE], len(target))
        if device == "cpu":
            spc.append(spearman(maps, ranks))
        else:
            on_device = torch.from_numpy(maps).to(device)
            spc.append(spearman_torch(on_device, torch.from_numpy(ranks).to(device)).cpu().numpy())
        mae.append(mean_absolute_error(maps, target))
        error += np.square(maps - target).sum(0)
    return MapScores(np.concatenate(spc), np.concatenate(mae), error / np.float32(len(outputs)))
