"""Every head that reads a cache, trained together.

All kernel taps of all dense heads of one convolution that read the same levels are the rows of one
matrix W. One product W X, with X the features of a batch, (C, B * 784), serves them all; each head
then adds up k * k shifted maps. The weight gradient is the transposed product. The first layers of
deeper heads are many channels wide: a convolution for each shape. What follows (BatchNorm, hidden
layers, sigmoid, loss) works on small maps, stacked over heads, in float32.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from data.protocols import TrainingRecipe
from data.vocabulary import GRID
from probe.heads.dense import build_head, layer_keys, layer_widths
from probe.heads.spec import DENSE
from probe.loss import MapLoss
from probe.sgd.entry import Entry
from probe.sgd.plain import PlainBlock
from probe.sgd.products import TapProduct, as_maps, last_product, wide_product
from probe.sgd.whitening import whitening


class Block(nn.Module):
    """Heads of one shape, stacked: same levels, kernel size, depth, padding and learning rate."""

    whitening: Tensor | None  # (C, C) float32

    def __init__(self, entries: list[Entry], channels: int, recipe: TrainingRecipe) -> None:
        super().__init__()
        spec = entries[0].spec
        self.entries = entries
        self.channels = channels
        self.recipe = recipe
        self.kernel_size, self.probe_padding = spec.kernel_size, spec.probe_padding
        heads, area = len(entries), spec.kernel_size**2
        widths = layer_widths(spec, channels, recipe)
        self.widths = widths
        # Rows of the first product: (head, channel, dy, dx), over the channels multiplied by
        # `whitening` (C, C), where there is one.
        self.taps = nn.Parameter(torch.empty(heads * widths[1] * area, channels))
        self.register_buffer("whitening", None)
        self.kernels = nn.ParameterList(
            torch.empty(heads * after, before, spec.kernel_size, spec.kernel_size)
            for before, after in zip(widths[1:], widths[2:], strict=False)
        )
        self.biases = nn.ParameterList(torch.empty(heads * width) for width in widths[1:])
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(heads * width) for width in widths[1:] if recipe.batch_norm
        )
        targets = np.stack([entry.target(recipe) for entry in entries])
        self.loss = MapLoss(spec.output_size(GRID), targets)
        for index, entry in enumerate(entries):
            self.load_head(index, build_head(entry.spec, channels, recipe))
        if recipe.conditioned and recipe.batch_norm and not recipe.sigmoid:
            self._start_at(targets)

    @torch.no_grad()
    def _start_at(self, targets: NDArray[np.float64]) -> None:
        """Let every head begin with the mean and the spread of its target, (H, s, s)."""
        last = cast(nn.BatchNorm2d, self.norms[-1])
        last.bias.copy_(torch.from_numpy(targets.mean((1, 2))))
        last.weight.copy_(torch.from_numpy(targets.std((1, 2))))

    @property
    def weight(self) -> Tensor:
        """The rows of the first product, over raw channels."""
        return self.taps if self.whitening is None else self.taps @ self.whitening

    def forward(self, maps: Tensor) -> Tensor:
        """First-layer products (B, H * width, n, n) to the heads' outputs (B, H, n', n')."""
        for depth in range(len(self.widths) - 1):
            if depth > 0:
                maps = self._convolved(maps.relu(), self.kernels[depth - 1])
            if self.recipe.batch_norm:
                # A bias ahead of BatchNorm has no effect and no gradient: it stays zero.
                maps = self.norms[depth](maps)
            else:
                maps = maps + self.biases[depth][:, None, None]
        return maps.sigmoid() if self.recipe.sigmoid else maps

    def _convolved(self, maps: Tensor, kernels: Tensor) -> Tensor:
        heads = len(self.entries)
        if len(kernels) == heads:
            return last_product(maps, kernels, self.probe_padding)
        return functional.conv2d(maps, kernels, padding=self.probe_padding, groups=heads)

    @property
    def is_wide(self) -> bool:
        """Whether the first convolution of a head has many channels."""
        return self.widths[1] > 1

    def _views(self) -> dict[str, Tensor]:
        """Every parameter and statistic, (H, ...), under its key in the plain head."""
        heads, size = len(self.entries), self.kernel_size
        taps = self.taps.detach().view(heads, self.widths[1], size, size, self.channels)
        weights = [taps.permute(0, 1, 4, 2, 3)]
        weights += [kernel.detach().view(heads, -1, *kernel.shape[1:]) for kernel in self.kernels]
        keys = layer_keys(len(self.biases), batch_norm=self.recipe.batch_norm)
        views = {}
        for depth, (weight, bias) in enumerate(zip(weights, self.biases, strict=True)):
            views[keys[depth].weight] = weight
            views[keys[depth].bias] = bias.detach().view(heads, -1)
            for part, key in keys[depth].norm.items():
                views[key] = getattr(self.norms[depth], part).detach().view(heads, -1)
        return views

    def load_head(self, index: int, head: nn.Sequential) -> None:
        """Set one head from its plain module."""
        state = head.state_dict()
        for key, view in self._views().items():
            view[index].copy_(state[key])

    def head(self, index: int) -> nn.Sequential:
        """One head as its plain module (`build_head`) of raw features, on the CPU."""
        head = build_head(self.entries[index].spec, self.channels, self.recipe)
        state = {key: view[index] for key, view in self._views().items()}
        if self.whitening is not None:
            first = layer_keys(1, batch_norm=self.recipe.batch_norm)[0].weight
            state[first] = torch.einsum("wcyx,cd->wdyx", state[first], self.whitening)
        head.load_state_dict(state, strict=False)  # all but BatchNorm's count of batches
        return head.eval()


class Bank(nn.Module):
    """All heads of one pass over a cache.

    `levels` gives the channels of every level a batch holds, in the order of its rows.
    """

    def __init__(
        self, entries: list[Entry], levels: Mapping[str, int], recipe: TrainingRecipe
    ) -> None:
        super().__init__()
        self.rows = _rows_of_levels(levels)
        grouped: dict[Any, list[Entry]] = defaultdict(list)
        for entry in entries:
            spec = entry.spec
            shape = (spec.levels, spec.kernel_size, spec.depth, spec.probe_padding)
            stack = shape if spec.probe == DENSE else entry  # other kinds are not stacked
            grouped[stack, entry.learning_rate].append(entry)
        self.recipe = recipe
        self.stacks = nn.ModuleList(_block(members, levels, recipe) for members in grouped.values())
        self.readings: dict[tuple[str, ...], list[int]] = defaultdict(list)  # of stacked heads
        for index, block in enumerate(self.blocks):
            if isinstance(block, Block):
                self.readings[block.entries[0].spec.levels].append(index)
        self.entries = [entry for members in grouped.values() for entry in members]

    def whiten(self, covariance: Tensor) -> None:
        """Let every head learn in whitened coordinates; `covariance` is of all rows, (C, C)."""
        for levels, members in self.readings.items():
            matrix = whitening(covariance, (self.rows[level] for level in levels))
            for index in members:
                self._stacked(index).whitening = matrix

    @property
    def blocks(self) -> list[Block | PlainBlock]:
        """The blocks, typed."""
        return cast("list[Block | PlainBlock]", list(self.stacks))

    def _stacked(self, index: int) -> Block:
        return cast(Block, self.stacks[index])

    def forward(self, features: Tensor) -> list[Tensor]:
        """Features (C, B * 784) to every block's outputs, float32; of maps, (B, H, n, n)."""
        outputs: list[Tensor] = [features] * len(self.stacks)
        for index, block in enumerate(self.blocks):
            if isinstance(block, PlainBlock):
                outputs[index] = block(self.features_of(features, block.entries[0].spec.levels))
        for levels, members in self.readings.items():
            read = self.features_of(features, levels)
            for index, product in self._first_products(read, members):
                outputs[index] = self._stacked(index)(product)
        return outputs

    def _first_products(self, read: Tensor, members: list[int]) -> Iterator[tuple[int, Tensor]]:
        """Of every block that reads these features, its number and its first products."""
        wide = [index for index in members if self._stacked(index).is_wide]
        narrow = [index for index in members if index not in wide]
        if narrow:
            blocks = [self._stacked(index) for index in narrow]
            shapes = [(block.kernel_size, block.probe_padding) for block in blocks]
            products = TapProduct.apply(read, shapes, *(block.weight for block in blocks))
            yield from zip(narrow, products, strict=True)
        maps = as_maps(read) if wide else read
        for index in wide:
            block = self._stacked(index)
            yield index, wide_product(maps, block.weight, block.kernel_size, block.probe_padding)

    def losses(self, outputs: list[Tensor]) -> Tensor:
        """The loss of every head, (heads,), in the order of `entries`."""
        pairs = zip(self.blocks, outputs, strict=True)
        return torch.cat([block.loss(output) for block, output in pairs])

    def heads(self) -> Iterator[tuple[Entry, nn.Module]]:
        """Every head as its plain module, in the order of `entries`."""
        for block in self.blocks:
            for index, entry in enumerate(block.entries):
                yield entry, block.head(index)

    def optimizer(self) -> torch.optim.Optimizer:
        """The protocol's optimiser, each block at its own learning rate."""
        recipe = self.recipe
        groups = [
            {"params": list(block.parameters()), "lr": block.entries[0].learning_rate}
            for block in self.blocks
        ]
        if recipe.optimizer == "adam":
            return torch.optim.Adam(groups, weight_decay=recipe.weight_decay)
        return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)

    def flops(self) -> int:
        """Floating-point operations of the stacked forward products, per image."""
        stacked = (block for block in self.blocks if isinstance(block, Block))
        return sum(2 * block.taps.numel() * GRID**2 for block in stacked)

    def features_of(self, features: Tensor, levels: tuple[str, ...]) -> Tensor:
        """The rows of some levels in a batch: a view where they are neighbours."""
        spans = [self.rows[level] for level in levels]
        if all(a.stop == b.start for a, b in zip(spans, spans[1:], strict=False)):
            return features[spans[0].start : spans[-1].stop]
        return torch.cat([features[span] for span in spans])


def _block(
    members: list[Entry], levels: Mapping[str, int], recipe: TrainingRecipe
) -> Block | PlainBlock:
    spec = members[0].spec
    channels = sum(levels[level] for level in spec.levels)
    if spec.probe == DENSE:
        return Block(members, channels, recipe)
    (entry,) = members
    return PlainBlock(entry, channels, recipe)


def _rows_of_levels(levels: Mapping[str, int]) -> dict[str, slice]:
    rows, start = {}, 0
    for level, channels in levels.items():
        rows[level] = slice(start, start + channels)
        start += channels
    return rows
