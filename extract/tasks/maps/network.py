"""A backbone with a small decoder: from images to maps of their size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.tools.errors import UserError
from extract.backbones.backbone import Backbone, load_backbone
from extract.backbones.normalization import normalize
from extract.backbones.table import find_row
from extract.backbones.taps import run_taps, zero_image
from extract.tasks.maps.config import MapConfig
from extract.tasks.maps.placement import placement, placement_matrix

BACKBONE = "vgg16"
HIDDEN = 64  # channels in which the levels meet
CELL = 4  # pixels a side of a cell of the grid on which they meet


class MapNetwork(nn.Module):
    """Backbone and decoder: images (B, 3, S, S) float32 in [0, 1] to logits (B, outputs, S, S).

    Each level passes a 1x1 convolution and is laid on one grid of S / 4 cells a side, every value
    where it lies in the image (`placement`): without padding a level covers only the middle, and
    its outermost values are repeated outwards. The sum passes a ReLU and a last 1x1 convolution.
    The decoder sees no neighbours, so neither padding nor position enters through it.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        image_size: int,
        normalization: str = "none",
    ) -> None:
        super().__init__()
        self.started_from = {
            "weights": backbone.weights,
            "weights_sha256": backbone.weights_sha256,
        }
        self.backbone = backbone.module.train().requires_grad_(True)
        self.nodes = list(backbone.taps.values())
        self.normalization = normalization
        maps = self._taps(zero_image(self.backbone, image_size))
        pixels = (torch.arange(image_size // CELL) + 0.5) * CELL - 0.5
        for index, (node, level) in enumerate(zip(self.nodes, maps, strict=True)):
            matrix = placement_matrix(*placement(self.backbone, node), level.shape[-1], pixels)
            self.register_buffer(f"place{index}", matrix, persistent=False)
        self.read = nn.ModuleList(nn.Conv2d(level.shape[1], HIDDEN, 1) for level in maps)
        self.write = nn.Conv2d(HIDDEN, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images, float32."""
        return self.decode(self.levels(images), images.shape[-2:])

    def levels(self, images: Tensor) -> list[Tensor]:
        """The maps (B, C, h, w) that the decoder reads, of images (B, 3, S, S)."""
        return self._taps(normalize(images, self.normalization))

    def decode(self, levels: list[Tensor], size: torch.Size) -> Tensor:
        """Logits (B, outputs, *size) float32 of what `levels` gives; needs no backbone."""
        hidden = torch.zeros((), device=levels[0].device)
        for index, (read, level) in enumerate(zip(self.read, levels, strict=True)):
            place = self.get_buffer(f"place{index}")
            hidden = hidden + place @ read(level) @ place.T
        logits = self.write(functional.relu(hidden)).float()
        return functional.interpolate(logits, size, mode="bilinear")

    def _taps(self, images: Tensor) -> list[Tensor]:
        maps: dict[str, Tensor] = {}
        run_taps(self.backbone, self.nodes, images, maps.__setitem__)
        return [maps[node] for node in self.nodes]


def build_network(config: MapConfig, outputs: int) -> MapNetwork:
    """The network of `config`; its seed decides the weights, the global random state is left.

    Raises `UserError` for unknown levels, weights that cannot be had, or images too small.
    """
    known = {f"f{number}": node for number, node in enumerate(find_row(BACKBONE).taps, start=1)}
    levels = config.levels.split("+")
    for level in levels:
        if level not in known:
            raise UserError(f"unknown level {level!r}: join some of {', '.join(known)} with +")
    backbone = load_backbone(
        BACKBONE,
        weights=config.weights,
        padding=config.padding,
        taps=tuple(known[level] for level in levels),
        seed=config.seed,
        image_size=config.image_size,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)  # torch.manual_seed would reseed GPUs
        return MapNetwork(backbone, outputs, config.image_size, config.normalization)
