"""Networks of one 5x5 convolution, global max pooling and a linear layer: a seed each, in one bank.

The recipe is that of the notebook of Kayhan and van Gemert (CVPR 2020): PyTorch's own
initialisation after `torch.manual_seed(seed)`, cross-entropy, SGD 0.1 with momentum 0.9, batches
of one image in a fixed order, 100 epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.vocabulary import CONTINUED

KERNEL = 5
EPOCHS, LEARNING_RATE, MOMENTUM = 100, 0.1, 0.9


@dataclass(frozen=True)
class RookScores:
    """What became of every network, (seeds,) each."""

    accuracy: Tensor  # share of the two images that are told, float32
    dead: Tensor  # whether both pooled values are 0, bool
    equal: Tensor  # whether both pooled values are the same to the bit, bool
    loss: Tensor  # mean cross-entropy over the two images, float32


class RookBank(nn.Module):
    """`seeds` networks that train side by side: none reads another's parameters."""

    def __init__(self, padding: str, seeds: int) -> None:
        super().__init__()
        self.padding = padding
        drawn = [_initial(seed) for seed in range(seeds)]
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


def train(bank: RookBank, images: Tensor) -> RookScores:
    """Train every network of the bank to tell images (2, 1, h, w), and score it on them."""
    optimizer = torch.optim.SGD(bank.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # maps of 32x32 cost more to share out than to compute
    try:
        _train(bank, images, optimizer)
    finally:
        torch.set_num_threads(threads)
    return score(bank, images)


def _train(bank: RookBank, images: Tensor, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(EPOCHS):
        for label in (0, 1):
            logits = bank(images[label : label + 1])[:, 0]
            labels = torch.full((len(logits),), label)
            # The sum: each network has the gradient of its own loss.
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


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
