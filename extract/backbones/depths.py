"""How deep in a network its taps lie, counted in layers with weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


class LayersRun:
    """Counts the layers with weights that have run, while it is entered.

    A layer is a call of a module that holds a parameter of two or more dimensions itself (a
    convolution, a linear layer, an attention), unless a layer inside it was counted in that call:
    a container with position embeddings is none.
    """

    def __init__(self, module: nn.Module) -> None:
        self.count = 0
        self._entered: list[int] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._layers = [
            layer
            for layer in module.modules()
            if any(parameter.ndim >= 2 for parameter in layer.parameters(recurse=False))
        ]

    def __enter__(self) -> LayersRun:
        for layer in self._layers:
            self._handles.append(layer.register_forward_pre_hook(self._enter))
            self._handles.append(layer.register_forward_hook(self._leave))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, _module: nn.Module, _inputs: object) -> None:
        self._entered.append(self.count)

    def _leave(self, _module: nn.Module, _inputs: object, _output: object) -> None:
        if self._entered.pop() == self.count:
            self.count += 1


@dataclass(frozen=True)
class Depths:
    """How deep in a network its taps lie, in layers with weights (see `LayersRun`)."""

    at_node: dict[str, int]  # layers that have run when a node's output is there
    whole: int | None  # layers of a whole pass; None where the network does not run to its end
