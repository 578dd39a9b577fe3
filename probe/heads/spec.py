"""What a head is: its levels, shape, target and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

DENSE = "dense"  # the kind of the paper: a map of the position of every cell
KERNEL_SIZES, DEPTHS, PROBE_PADDINGS = (1, 3, 5, 7), (1, 2, 3), (0, 1, 2, 3)  # of heads


@dataclass(frozen=True, order=True)
class HeadSpec:
    """One readout: which levels it reads, its shape, its target and its seed."""

    levels: tuple[str, ...]  # concatenated along channels
    kernel_size: int  # of every convolution
    depth: int  # convolutions; all but the last are followed by a ReLU
    probe_padding: int  # zeros around the input of every convolution
    pattern: str
    seed: int = 0  # of the initial weights
    probe: str = DENSE  # its kind

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HeadSpec:
        """The spec whose fields JSON has kept, with a list for its tuple."""
        return cls(**{**values, "levels": tuple(values["levels"])})

    @property
    def name(self) -> str:
        """The head's id within a run, for example `H-f1+f2-k3-d1-p0-s0`."""
        kind = "" if self.probe == DENSE else f"{self.probe}-"
        shape = f"k{self.kernel_size}-d{self.depth}-p{self.probe_padding}"
        return f"{kind}{self.pattern}-{'+'.join(self.levels)}-{shape}-s{self.seed}"

    def output_size(self, grid: int) -> int:
        """Cells a side of the head's output when its input has `grid` cells a side."""
        return grid + self.depth * (2 * self.probe_padding + 1 - self.kernel_size)


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
