"""Dense maps, the paper's kind of readout: convolutions from features to a map of position."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data.protocols import TrainingRecipe
from data.resample import bilinear_matrix
from data.vocabulary import GRID
from probe.heads.kind import Probe, add_probe
from probe.heads.spec import DENSE, HeadSpec
from probe.loss import scored_target
from probe.scoring import score_maps

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")  # of a BatchNorm, per channel


@dataclass(frozen=True)
class LayerKeys:
    """Where one layer's parameters are in the state dict of a head (`build_head`)."""

    weight: str
    bias: str
    norm: dict[str, str]  # each of `NORM_PARTS` -> its key; empty without BatchNorm


def layer_keys(depth: int, *, batch_norm: bool) -> list[LayerKeys]:
    """The keys of every layer of a head of `depth` convolutions, first to last."""
    modules = 3 if batch_norm else 2  # convolution, [BatchNorm], activation
    return [
        LayerKeys(
            f"{first}.weight",
            f"{first}.bias",
            {part: f"{first + 1}.{part}" for part in NORM_PARTS} if batch_norm else {},
        )
        for first in range(0, depth * modules, modules)
    ]


def layer_widths(spec: HeadSpec, channels: int, recipe: TrainingRecipe) -> list[int]:
    """Channels before the first and after every convolution of a head, `depth + 1` numbers."""
    hidden = recipe.hidden_width or channels
    return [channels] + [hidden] * (spec.depth - 1) + [1]


def build_head(spec: HeadSpec, channels: int, recipe: TrainingRecipe) -> nn.Sequential:
    """The head as a plain module, (B, channels, 28, 28) to (B, 1, n, n), freshly initialised.

    Xavier uniform weights and zero biases (all three protocols), drawn from a generator that
    depends on the spec alone, so that a head starts alike in whichever bank it is trained.
    """
    digest = hashlib.sha256(f"{spec.name} {channels}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    widths = layer_widths(spec, channels, recipe)
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        convolution = nn.utils.skip_init(
            nn.Conv2d, before, after, spec.kernel_size, padding=spec.probe_padding
        )
        nn.init.xavier_uniform_(convolution.weight, generator=generator)
        nn.init.zeros_(convolution.bias)
        layers.append(convolution)
        if recipe.batch_norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU())
    layers.pop()  # no ReLU after the last convolution
    if recipe.sigmoid:
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


def dense_target(spec: HeadSpec, recipe: TrainingRecipe, control: bool) -> NDArray[np.float64]:
    """The map a head is trained on and compared with, (s, s)."""
    return scored_target(spec.pattern, spec.output_size(GRID), recipe, control=control)


def dense_loss(outputs: Tensor, target: Tensor) -> Tensor:
    """Equation 3 as it stands: the mean squared error of (B, n, n), upsampled to (s, s)."""
    matrix = torch.from_numpy(bilinear_matrix(outputs.shape[-1], len(target))).to(outputs)
    return (matrix @ outputs @ matrix.T - target).square().mean()


add_probe(Probe(DENSE, build_head, dense_target, dense_loss, score_maps))
