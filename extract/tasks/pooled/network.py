"""Networks with global pooling, and the three heads that read what is pooled."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from data.tools.errors import UserError
from data.tools.settings import spelled
from extract.backbones.padding import set_padding
from extract.tasks.pooled.config import BLUR, GAP, PooledConfig

_TRIANGLE = (0.25, 0.5, 0.25)  # Tri-3 of Zhang (2019)


class Blur(nn.Module):
    """Maps (B, C, H, W), mirrored at the border, blurred by Tri-3, every second value kept."""

    def forward(self, maps: Tensor) -> Tensor:
        """Raises `UserError` for maps of one row or column, which have no mirror image."""
        channels, *sides = maps.shape[1:]
        if min(sides) < 2:
            raise UserError(
                f"{spelled('downsample')} blur: a map of {sides[0]}x{sides[1]} is too small for "
                f"the 3x3 blur with a mirrored border: raise {spelled('patch_size')}"
            )
        triangle = maps.new_tensor(_TRIANGLE)
        kernel = torch.outer(triangle, triangle).expand(channels, 1, 3, 3)
        padded = functional.pad(maps, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(padded, kernel, stride=2, groups=channels)


class PooledNetwork(nn.Module):
    """Images (B, 3, S, S) float32 to logits (B, K) and pooled vectors (B, C).

    The heads of Islam et al. (ICCV 2021): GAPNet has a 3x3 convolution with zero padding to K maps
    and pools those; PermuteNet pools, shuffles the channels, and has a linear layer.
    """

    def __init__(self, backbone: nn.Sequential, channels: int, outputs: int, head: str) -> None:
        super().__init__()
        self.backbone, self.channels = backbone, channels
        self.is_gap = head == GAP
        self.head = (
            nn.Conv2d(channels, outputs, 3, padding=1)
            if self.is_gap
            else nn.Linear(channels, outputs)
        )

    def forward(self, images: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """With the channels in `order` (C,), one for the whole batch, where one is given."""
        maps = self.backbone(images)
        vectors = maps.mean((2, 3))
        if self.is_gap:
            return self.head(maps).mean((2, 3)), vectors
        return self.head(vectors if order is None else vectors[:, order]), vectors


def build_network(config: PooledConfig, outputs: int) -> PooledNetwork:
    """With PyTorch's own initialisation of the seed; the global random state is left.

    All its operations see the padding that was asked for. Raises `UserError` where that cannot be,
    or images are too small for it.
    """
    make, channels = {"small": (_small, 128), "resnet18": (_resnet18, 512)}[config.network]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        network = PooledNetwork(make(config.downsample == BLUR), channels, outputs, config.head)
    name, side = config.network, config.smallest_side
    set_padding(network.eval(), config.padding, name=name, nodes=("head",), image_size=side)
    return network.train()


def _small(blur: bool) -> nn.Sequential:
    """Five 3x3 convolutions of 32, 32, 64, 64, 128 channels, halved after each pair."""
    layers: list[nn.Module] = []
    widths = (3, 32, 32, 64, 64, 128)
    for depth, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False), 1):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        if depth in (2, 4):
            # As many windows as cells, or a circular map would show its border. 0 is below all.
            pool_at_1 = [nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1)]
            layers += [*pool_at_1, Blur()] if blur else [nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


def _resnet18(blur: bool) -> nn.Sequential:
    """ResNet-18 without its max pooling, as in the authors' code.

    With a blur, every convolution of stride 2 has stride 1, and what follows its ReLU is blurred
    (Zhang 2019); the shortcut is blurred before its convolution.
    """
    network = resnet18()
    if blur:
        network.conv1.stride = (1, 1)
        for layer in (network.layer2, network.layer3, network.layer4):
            block = layer[0]
            block.conv1.stride = block.downsample[0].stride = (1, 1)
            block.conv2 = nn.Sequential(Blur(), block.conv2)
            block.downsample = nn.Sequential(Blur(), *block.downsample)
    stem = [network.conv1, network.bn1, network.relu, *([Blur()] if blur else [])]
    return nn.Sequential(*stem, network.layer1, network.layer2, network.layer3, network.layer4)
