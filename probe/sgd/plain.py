"""Heads of kinds that are not stacked: each a plain module, by torch's own autograd."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data.protocols import TrainingRecipe
from data.vocabulary import GRID
from probe.heads.kind import find_probe
from probe.sgd.entry import Entry


class PlainBlock(nn.Module):
    """One head as its plain module, where `probe.sgd.bank.Block` stacks several dense ones.

    It learns in the coordinates of the raw features, also where a protocol whitens those of dense
    heads.
    """

    target: Tensor

    def __init__(self, entry: Entry, channels: int, recipe: TrainingRecipe) -> None:
        super().__init__()
        self.entries = [entry]
        self.channels = channels
        self.recipe = recipe
        self.probe = find_probe(entry.spec.probe)
        self.module = self.probe.build(entry.spec, channels, recipe)
        self.register_buffer("target", torch.from_numpy(entry.target(recipe)).float())

    def forward(self, features: Tensor) -> Tensor:
        """Features (C, B * 784) in the compute dtype to the head's outputs (B, 1, *S) float32."""
        maps = features.view(self.channels, -1, GRID, GRID).transpose(0, 1).float()
        outputs: Tensor = self.module(maps)
        return outputs

    def loss(self, outputs: Tensor) -> Tensor:
        """The loss (1,) of outputs (B, 1, *S)."""
        return self.probe.loss(outputs[:, 0], self.target)[None]

    def head(self, index: int) -> nn.Module:
        """The head as it is kept: on the CPU, in evaluation mode."""
        assert index == 0, "a plain block has one head"
        entry = self.entries[0]
        head = self.probe.build(entry.spec, self.channels, self.recipe)
        head.load_state_dict({key: value.cpu() for key, value in self.module.state_dict().items()})
        return head.eval()
