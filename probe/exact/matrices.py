"""Which Gram matrices serve a list of heads, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from data.machine.memory import free_memory
from data.tools.errors import UserError
from data.tools.terminal import say
from probe.exact.gram import gram_bytes, gram_flops
from probe.exact.ridge import STRENGTHS
from probe.heads.spec import HeadSpec
from probe.plan import Run
from probe.sgd.estimate import clock, flops_per_second, scaled


@dataclass(frozen=True)
class Matrix:
    """Heads of depth 1 that share a Gram matrix, that of the largest of their sets of levels."""

    levels: tuple[str, ...]
    kernel_size: int
    probe_padding: int
    channels: int  # of all levels together

    @classmethod
    def of(cls, spec: HeadSpec, channels: dict[str, int]) -> Matrix:
        """The smallest that holds a head; `channels` are those of every level of the cache."""
        count = sum(channels[level] for level in spec.levels)
        return cls(spec.levels, spec.kernel_size, spec.probe_padding, count)

    def holds(self, spec: HeadSpec) -> bool:
        """Whether the columns of a head are among this matrix's."""
        same = (spec.kernel_size, spec.probe_padding) == (self.kernel_size, self.probe_padding)
        return same and set(spec.levels) <= set(self.levels)

    @property
    def columns(self) -> int:
        """Unknowns of a head without its bias."""
        return self.channels * self.kernel_size**2

    @property
    def bytes(self) -> int:
        """Memory to accumulate and solve."""
        return gram_bytes(self.channels, self.kernel_size, self.probe_padding)

    def flops(self, images: int) -> float:
        """Floating-point operations of the products."""
        return images * gram_flops(self.channels, self.kernel_size, self.probe_padding)

    def seconds(self, images: int, solutions: int, device: torch.device) -> float:
        """Expected time of the products (float32) and the factorisations (float64)."""
        factors = 2 * len(STRENGTHS) * solutions * self.columns**3 / 3
        return self.flops(images) / flops_per_second(torch.float32, device) + (
            factors / flops_per_second(torch.float64, device)
        )

    def cost(self, images: int, solutions: int, device: torch.device) -> str:
        """What it takes, for the log."""
        return (
            f"kernel size {self.kernel_size} over {'+'.join(self.levels)}: {self.columns} columns, "
            f"{scaled(self.bytes)}B of memory, {scaled(self.flops(images))}FLOP, about "
            f"{clock(self.seconds(images, solutions, device))}"
        )


def find_matrices(
    heads: list[HeadSpec], run: Run, device: torch.device, *, leave_out: bool, sharing: int = 1
) -> list[Matrix]:
    """The matrices that serve all heads, the largest first; none is a part of another.

    Heads whose matrix does not fit into the free memory, over `sharing` where so many processes
    take from it, are left out with a line on stderr, or are a `UserError`.
    """
    channels = run.cache.levels
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    free //= sharing
    largest = sorted(heads, key=lambda spec: -Matrix.of(spec, channels).bytes)
    matrices: list[Matrix] = []
    refused: set[Matrix] = set()
    for spec in largest:
        matrix = Matrix.of(spec, channels)
        if any(other.holds(spec) for other in matrices) or matrix in refused:
            continue
        if matrix.bytes <= free:
            matrices.append(matrix)
            continue
        reason = (
            f"{run.name}: {matrix.cost(len(run.cache.rows('train')), 1, device)}, and "
            f"{scaled(free)}B are free: read fewer --levels, or use a --device with more memory"
        )
        if not leave_out:
            raise UserError(reason)
        say(f"left out: {reason}")
        refused.add(matrix)
    return matrices
