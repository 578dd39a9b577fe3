"""Padding surgery: what a frozen network sees beyond the border of its maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from data.tools.errors import UserError
from data.tools.settings import listed
from data.vocabulary import CONTINUED, PADDINGS
from extract.backbones.border import Border, BorderedForward, Window
from extract.backbones.taps import run_taps, zero_image

_GROUPS = {"convolution": "convolutions", "pool": "pools", "padding": "explicit_padding"}


@dataclass(frozen=True)
class Surgery:
    """What a network meets at its border, and what was changed there."""

    changes: dict[str, Any]  # JSON-able; {}: as built
    windows: tuple[Window, ...]  # of the network as built, in the order in which they run


def set_padding(
    module: nn.Module, padding: str, *, name: str, nodes: Sequence[str], image_size: int
) -> Surgery:
    """Change what every operation up to the last of `nodes`, the taps, sees beyond the border.

    `Border` says what the paddings mean. "zeros" leaves the network as built. Convolutions, max
    and average pools and explicit padding are changed alike, modules or functions: a circular
    network whose pools do not wrap still shows its border.

    "none" and "full" change the sizes of maps, which only a plain chain of layers allows: where
    branches are added or concatenated, their sizes would differ (Islam et al. 2020, section 4).

    `UserError` where the change is not well defined: no convolution pads, branches join, something
    else pads with zeros, or a map is smaller than its reflection.
    """
    if padding not in PADDINGS:
        raise UserError(f"unknown padding {padding!r}: use {listed(padding, PADDINGS)}")
    images = zero_image(module, image_size)
    watch = _watched(module, nodes, images, "zeros")
    windows = tuple(watch.windows)
    if padding == "zeros":
        return Surgery({}, windows)
    changed = {
        group: [w.node for w in windows if w.kind == kind and any(w.edges)]
        for kind, group in _GROUPS.items()
    }
    if not changed["convolutions"]:
        raise UserError(f"padding {padding!r}: no convolution of {name} pads; use zeros")
    if padding in ("none", "full") and watch.joins:
        raise UserError(
            f"padding {padding!r} is not defined for {name}: it adds or concatenates maps of "
            f"parallel branches ({watch.joins} times), and so padded their sizes differ; "
            f"use {', '.join(CONTINUED)}, partial or zeros, or a plain chain such as vgg16"
        )
    try:
        watch = _watched(module, nodes, images, padding)
    except RuntimeError as error:
        raise UserError(
            f"padding {padding!r} does not work for {name} on {image_size}x{image_size} images "
            f"({str(error).splitlines()[0]}); use larger images or other padding"
        ) from error
    if watch.zeros:
        raise UserError(
            f"padding {padding!r} is not defined for {name}: {', '.join(sorted(watch.zeros))} "
            "would still pad with zeros; use zeros"
        )
    module.forward = BorderedForward(module, padding)
    return Surgery({"padding": padding, **changed}, windows)


class _Watch(TorchDispatchMode):
    """Counts, while a network runs, what joins branches and what pads with zeros."""

    def __init__(self, padding: str) -> None:
        super().__init__()
        self.joins = 0
        self.zeros: set[str] = set()
        self.windows: list[Window] = []
        self._convolutions_pad = padding in ("full", "partial")  # and mean it

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: Any = None
    ) -> Any:
        kind = operation.overloadpacket.__name__
        if kind in ("add", "add_", "cat"):
            tensors = arguments[0] if kind == "cat" else arguments[:2]
            maps = [t for t in tensors if isinstance(t, Tensor) and t.ndim > 2]
            self.joins += len(maps) > 1
        if kind == "convolution" and not self._convolutions_pad:
            transposed, padding = arguments[6], arguments[4]
            if any(padding) and not transposed:
                self.zeros.add("other convolutions")
        if kind == "avg_pool2d" and _averages_zeros(arguments):
            self.zeros.add("average pools")
        if kind == "im2col" and any(arguments[3]):
            self.zeros.add("unfolding")
        if kind == "constant_pad_nd" and any(arguments[1]):
            self.zeros.add("explicit padding")
        return operation(*arguments, **(keywords or {}))


def _averages_zeros(arguments: tuple[Any, ...]) -> bool:
    # aten.avg_pool2d(maps, size, stride, padding, ceil_mode, count_include_pad, divisor), where
    # trailing defaults are left out: no padding, and padding counts.
    padding, counts = (*arguments[3:4], (0,))[0], (*arguments[5:6], True)[0]
    return bool(counts) and any(padding)


@torch.no_grad()
def _watched(module: nn.Module, nodes: Sequence[str], images: Tensor, padding: str) -> _Watch:
    watch = _Watch(padding)
    border = Border(padding, watch.windows)
    handles = border.names(module)
    try:
        with watch, border:
            run_taps(module, nodes, images, lambda _node, _output: None)
    finally:
        for handle in handles:
            handle.remove()
    return watch
