"""Padding surgery: what a frozen network's convolutions see beyond the border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from data.tools.errors import UserError
from data.vocabulary import PADDINGS
from extract.backbones.taps import run_taps, zero_image


def set_padding(
    module: nn.Module, padding: str, *, name: str, nodes: Sequence[str], image_size: int
) -> dict[str, Any]:
    """Change the padding of every convolution that pads; what was changed, JSON-able.

    - "zeros" leaves the network as built: nothing is changed, {}.
    - "reflect", "replicate", "circular" set the `padding_mode` of every `Conv2d` that pads.
    - "none" sets their padding to 0. Only a plain chain of layers allows it: where branches are
      added or concatenated, their sizes would differ (paper, section 4).

    Only the part up to the last of `nodes`, the taps, has to allow the change: the rest never runs.

    Max pools are left alone in every mode, and listed: they pad with minus infinity, which never
    wins, so they show the network no border value. `UserError` where the change is not well
    defined: no convolution pads, branches join, something else pads with zeros, or a map is
    smaller than its reflection.
    """
    if padding not in PADDINGS:
        raise UserError(f"unknown padding {padding!r}: use one of {', '.join(PADDINGS)}")
    if padding == "zeros":
        return {}
    convolutions = {
        node: layer
        for node, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d) and any(layer._reversed_padding_repeated_twice)
    }
    if not convolutions:
        raise UserError(f"padding {padding!r}: no convolution of {name} pads; use zeros")
    images = zero_image(module, image_size)
    if padding == "none":
        _refuse_joins(_watched(module, nodes, images), name)
    for convolution in convolutions.values():
        if padding == "none":
            convolution.padding = (0, 0)
            convolution._reversed_padding_repeated_twice = [0, 0, 0, 0]
        else:
            convolution.padding_mode = cast(Any, padding)
    try:
        watch = _watched(module, nodes, images)
    except RuntimeError as error:
        raise UserError(
            f"padding {padding!r} does not work for {name} on {image_size}x{image_size} images "
            f"({str(error).splitlines()[0]}); use larger images or other padding"
        ) from error
    _refuse_remaining_zeros(watch, padding, name)
    pools = [
        node
        for node, layer in module.named_modules()
        if isinstance(layer, nn.MaxPool2d) and layer.padding not in (0, (0, 0))
    ]
    return {
        "padding": padding,
        "convolutions": list(convolutions),
        "max_pools_unchanged": pools,
    }


def _refuse_joins(watch: _Watch, name: str) -> None:
    if watch.joins:
        raise UserError(
            f"padding 'none' is not defined for {name}: it adds or concatenates maps of parallel "
            f"branches ({watch.joins} times), and without padding their sizes differ; "
            "use zeros, reflect, replicate or circular, or a plain chain such as vgg16"
        )


def _refuse_remaining_zeros(watch: _Watch, padding: str, name: str) -> None:
    if watch.zeros:
        raise UserError(
            f"padding {padding!r} is not defined for {name}: besides its Conv2d layers, "
            f"{', '.join(sorted(watch.zeros))} would still pad with zeros; use zeros"
        )


class _Watch(TorchDispatchMode):
    """Counts, while a network runs, what joins branches and what pads with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.joins = 0
        self.zeros: set[str] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: Any = None
    ) -> Any:
        kind = operation.overloadpacket.__name__
        if kind in ("add", "add_", "cat"):
            tensors = arguments[0] if kind == "cat" else arguments[:2]
            maps = [t for t in tensors if isinstance(t, Tensor) and t.ndim > 2]
            self.joins += len(maps) > 1
        if kind == "convolution" and not arguments[6] and any(arguments[4]):
            self.zeros.add("other convolutions")
        if kind == "avg_pool2d" and _averages_zeros(arguments):
            self.zeros.add("average pools")
        if kind == "constant_pad_nd" and any(arguments[1]):
            self.zeros.add("explicit padding")
        return operation(*arguments, **(keywords or {}))


def _averages_zeros(arguments: tuple[Any, ...]) -> bool:
    # aten.avg_pool2d(maps, size, stride, padding, ceil_mode, count_include_pad, divisor), where
    # trailing defaults are left out: no padding, and padding counts.
    padding, counts = (*arguments[3:4], (0,))[0], (*arguments[5:6], True)[0]
    return bool(counts) and any(padding)


@torch.no_grad()
def _watched(module: nn.Module, nodes: Sequence[str], images: Tensor) -> _Watch:
    with _Watch() as watch:
        run_taps(module, nodes, images, lambda _node, _output: None)
    return watch
