"""The exact loss of an upsampled map, without upsampling it.

Equation 3 of the paper is the squared error between the target T (s x s) and the bilinearly
upsampled output A P A^T. With A = Q R (Q orthonormal, R n x n), the part of T that no P can reach
is constant, and

    ||A P A^T - T||^2 = ||R P R^T - Q^T T Q||^2 + (||T||^2 - ||Q^T T Q||^2),

a sum of squares on the n x n grid: exact, and free of the cancellation in <P, M P M> forms.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data.protocols import TrainingRecipe
from data.resample import bilinear_matrix
from data.targets import control_seed, position_map

CONTROL_SEED = 0  # of the permutations of all control tasks; each pattern has its own beside it


def scored_target(
    pattern: str, output_size: int, recipe: TrainingRecipe, *, control: bool = False
) -> NDArray[np.float64]:
    """The map a head is compared with, (s, s): at the protocol's resolution s.

    s is 224 for `paper` and `released`, and the head's own output size for `reproduction`.
    `control` asks for the control task instead (Hewitt and Liang, EMNLP 2019): the same values,
    scattered over the cells of the head's grid by a fixed permutation and upsampled like an output.
    """
    size = recipe.resolution or output_size
    cells = position_map(
        pattern,
        output_size if control else size,
        signed_stripes=recipe.signed_stripes,
        eight_bit=recipe.eight_bit_targets,
    )
    if not control:
        return cells
    generator = np.random.default_rng([CONTROL_SEED, control_seed(pattern)])
    scattered = generator.permutation(cells.ravel()).reshape(cells.shape)
    upsample = bilinear_matrix(output_size, size)
    return upsample @ scattered @ upsample.T


def reduced_targets(
    maps: NDArray[np.float64], output_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """R (n, n), the targets Q^T T Q (H, n, n), and the squared parts of T no head reaches (H,).

    `maps` are the targets T, (H, s, s), of heads whose outputs are n = `output_size` a side.
    """
    orthonormal, triangle = np.linalg.qr(bilinear_matrix(output_size, maps.shape[-1]))
    reachable = orthonormal.T @ maps @ orthonormal
    return triangle, reachable, np.square(maps).sum((1, 2)) - np.square(reachable).sum((1, 2))


class MapLoss(nn.Module):
    """Mean squared error of upsampled maps against position maps, one number per head.

    `output_size` n is the side of the heads' outputs; `maps` has one target (s, s) per head.
    """

    triangle: Tensor  # (n, n), R
    targets: Tensor  # (H, n, n), Q^T T Q
    unreachable: Tensor  # (H,), mean squared part of T outside the range of A

    def __init__(self, output_size: int, maps: NDArray[np.float64]) -> None:
        super().__init__()
        self.pixels = maps.shape[-1] ** 2
        triangle, reachable, unreachable = reduced_targets(maps, output_size)
        self.register_buffer("triangle", torch.from_numpy(triangle).float())
        self.register_buffer("targets", torch.from_numpy(reachable).float())
        self.register_buffer("unreachable", torch.from_numpy(unreachable / self.pixels).float())

    def forward(self, outputs: Tensor) -> Tensor:
        """Losses (H,) of outputs (B, H, n, n), averaged over images and pixels."""
        residual = self.triangle @ outputs @ self.triangle.T - self.targets
        return residual.square().sum((0, 2, 3)) / (len(outputs) * self.pixels) + self.unreachable
