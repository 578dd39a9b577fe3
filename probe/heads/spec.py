"""What a head is, the plain module of one head, and the heads each table of the paper needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from data.targets import PATTERNS
from data.vocabulary import PIXELS

if TYPE_CHECKING:
    from torch import nn

    from data.protocols import TrainingRecipe


@dataclass(frozen=True, order=True)
class HeadSpec:
    """One readout: which levels it reads, its shape, its target and its seed."""

    levels: tuple[str, ...]  # concatenated along channels
    kernel_size: int  # of every convolution
    depth: int  # convolutions; all but the last are followed by a ReLU
    probe_padding: int  # zeros around the input of every convolution
    pattern: str
    seed: int = 0  # of the initial weights

    @property
    def name(self) -> str:
        """The head's id within a run, for example `H-f1+f2-k3-d1-p0-s0`."""
        shape = f"k{self.kernel_size}-d{self.depth}-p{self.probe_padding}"
        return f"{self.pattern}-{'+'.join(self.levels)}-{shape}-s{self.seed}"

    def output_size(self, grid: int) -> int:
        """Cells a side of the head's output when its input has `grid` cells a side."""
        return grid + self.depth * (2 * self.probe_padding + 1 - self.kernel_size)


def table_heads(
    backbone: str, padding: str, levels: tuple[str, ...], seeds: Iterable[int]
) -> list[HeadSpec]:
    """The heads that tables 1 to 4 of the paper need from one backbone, or from the pixels.

    `levels` are all levels of the backbone together. Table 1 asks every zero-padded backbone for
    the five patterns; tables 2a, 2b and 3 ask vgg16 for depths, kernel sizes and single levels;
    table 4 asks every other padding for H, G and HS, and the pixels for probe padding 1 and 2.
    """
    shapes: list[tuple[tuple[str, ...], int, int, int, Iterable[str]]] = []
    main = ("H", "G", "HS")
    if backbone == PIXELS or padding == "zeros":
        shapes.append((levels, 3, 1, 0, PATTERNS))
    else:
        shapes.append((levels, 3, 1, 0, main))
    if backbone == PIXELS or (backbone == "vgg16" and padding == "zeros"):
        shapes += [(levels, 3, depth, 0, main) for depth in (2, 3)]
        shapes += [(levels, size, 1, 0, main) for size in (1, 7)]
    if backbone == "vgg16" and padding == "zeros":
        shapes += [((level,), 3, 1, 0, ("H", "G")) for level in levels]
    if backbone == PIXELS:
        shapes += [(levels, 3, 1, probe_padding, main) for probe_padding in (1, 2)]
    return [
        HeadSpec(reads, kernel_size, depth, probe_padding, pattern, seed)
        for seed in seeds
        for reads, kernel_size, depth, probe_padding, patterns in shapes
        for pattern in patterns
    ]


def grid_heads(
    levels: Iterable[tuple[str, ...]],
    kernel_sizes: Iterable[int],
    depths: Iterable[int],
    probe_paddings: Iterable[int],
    patterns: Iterable[str],
    seeds: Iterable[int],
) -> list[HeadSpec]:
    """Every combination of the given choices."""
    return [
        HeadSpec(*choice)
        for choice in product(levels, kernel_sizes, depths, probe_paddings, patterns, seeds)
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
    import torch
    from torch import nn

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
