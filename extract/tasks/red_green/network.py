"""The network of Red-Green: four convolutions, global max pooling and a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data.vocabulary import CONTINUED

KERNEL = 3
CHANNELS = (3, 32, 32, 64, 64)
STRIDES = (1, 2, 2, 2)
CLASSES = 2


class RedGreenNetwork(nn.Module):
    """Images (B, 3, 32, 32) float32 to logits (B, 2)."""

    def __init__(self, padding: str) -> None:
        super().__init__()
        # The authors' circular padding of 2 was halved by the torch of its day (pytorch #20981).
        cells = {"none": 0, "full": KERNEL - 1}.get(padding, KERNEL // 2)
        mode = padding if padding in CONTINUED else "zeros"
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(CHANNELS, CHANNELS[1:], STRIDES, strict=False):
            convolution = nn.Conv2d(
                inputs,
                outputs,
                KERNEL,
                stride,
                cells,
                bias=False,
                padding_mode=mode,  # type: ignore[arg-type]
            )
            layers += [convolution, nn.ReLU()]
        self.backbone = nn.Sequential(*layers)
        self.linear = nn.Linear(CHANNELS[-1], CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images."""
        logits: Tensor = self.linear(self.backbone(images).amax((2, 3)))
        return logits


def build_network(padding: str, seed: int) -> RedGreenNetwork:
    """With PyTorch's own initialisation of the seed; the global random state is left."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return RedGreenNetwork(padding)
