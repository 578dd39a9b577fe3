"""Networks of one 5x5 convolution, global max pooling and a linear layer: a bank of seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.vocabulary import CONTINUED

KERNEL = 5


@dataclass(frozen=True)
class RookScores:
    """What became of every network, (seeds,) each."""

    accuracy: Tensor  # share of the two images that are told, float32
    dead: Tensor  # whether both pooled values are 0, bool
    equal: Tensor  # whether both pooled values are the same to the bit, bool
    loss: Tensor  # mean cross-entropy over the two images, float32


class RookBank(nn.Module):
    """Networks of some seeds that train side by side: none reads another's parameters."""

    def __init__(self, padding: str, seeds: Sequence[int]) -> None:
        super().__init__()
        self.padding = padding
        drawn = [_initial(seed) for seed in seeds]
        self.kernels = nn.Parameter(torch.stack([kernel for kernel, _, _ in drawn]))  # (R, 25)
        self.weights = nn.Parameter(torch.stack([weight for _, weight, _ in drawn]))  # (R, 2)
        self.biases = nn.Parameter(torch.stack([bias for _, _, bias in drawn]))  # (R, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (R, B, 2) of images (B, 1, h, w) float32."""
        pooled = self.pooled(images)[:, :, None]
        return pooled * self.weights[:, None] + self.biases[:, None]

    def pooled(self, images: Tensor) -> Tensor:
        """Maxima (R, B) over the map of every network, after its ReLU."""
        windows = functional.unfold(extended(images, self.padding), KERNEL)  # (B, 25, L)
        # Tap by tap, so that equal windows give equal sums to the bit, wherever they lie.
        taps = zip(self.kernels.unbind(1), windows.unbind(1), strict=True)
        maps = sum(weight[:, None, None] * seen for weight, seen in taps)
        assert isinstance(maps, Tensor)
        return maps.relu().amax(2)


def _initial(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """What PyTorch draws for the two layers: kernel (25,), weights (2,) and biases (2,)."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        convolution, linear = nn.Conv2d(1, 1, KERNEL, bias=False), nn.Linear(1, 2)
    return (
        convolution.weight.detach().flatten(),
        linear.weight.detach()[:, 0],
        linear.bias.detach(),
    )


def extended(images: Tensor, padding: str) -> Tensor:
    """Images (B, 1, h, w) with what a 5x5 convolution sees beyond their border."""
    cells = {"none": 0, "full": KERNEL - 1}.get(padding, KERNEL // 2)
    mode = padding if padding in CONTINUED else "constant"
    return functional.pad(images, (cells,) * 4, mode=mode) if cells else images


@torch.no_grad()
def score(bank: RookBank, images: Tensor) -> RookScores:
    """How the networks tell the two images."""
    pooled, logits = bank.pooled(images), bank(images)
    labels = torch.tensor([0, 1]).expand(len(logits), 2)
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return RookScores(
        (logits.argmax(2) == labels).float().mean(1),
        (pooled == 0).all(1),
        pooled[:, 0] == pooled[:, 1],
        losses.reshape(labels.shape).mean(1),
    )
