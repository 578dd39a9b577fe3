"""The border: what the windows of a network see beyond the edge of a map, in every operation.

A network meets its border in convolutions, in max and average pools (those that pad, and those
whose last window hangs over: `ceil_mode`) and in explicit padding, as modules or as functions. So
the border is not changed in the modules but where they all end, in the functions of PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from data.vocabulary import CONTINUED

Edges = tuple[int, int, int, int]  # left, right, top, bottom, as `functional.pad` has them
Pair = int | tuple[int, ...] | list[int]

_NO_EDGES: Edges = (0, 0, 0, 0)


@dataclass(frozen=True)
class Window:
    """One operation of a network as built, on maps of one size; rows first in every pair."""

    kind: str  # "convolution", "pool" or "padding"
    node: str  # the innermost module that ran it
    size: tuple[int, int]  # cells of the map it reads
    kernel: tuple[int, int]  # cells from the first to the last tap: dilation is counted
    stride: tuple[int, int]
    edges: Edges  # cells that it pads, or hangs over

    @property
    def uneven(self) -> tuple[int, int]:
        """(n + 2p - k) mod s, rows and columns: cells at the far edges that no window reaches."""
        left, right, top, bottom = self.edges
        padding = (top + bottom, left + right)
        rows, columns = (
            (n + p - k) % s
            for n, p, k, s in zip(self.size, padding, self.kernel, self.stride, strict=True)
        )
        return rows, columns


@dataclass
class Border(TorchFunctionMode):
    """While it is entered, operations see what `padding` says beyond the edge of their maps.

    - "zeros": what the network was built with.
    - "reflect", "replicate", "circular": the map continued, in all operations.
    - "none": nothing is padded; windows of pools stay inside, or hang over with nothing there.
    - "full": a convolution pads kernel - 1 on every side, so that every one of its weights sees
      every cell (F-Conv of Kayhan and van Gemert 2020); pools see only what is there.
    - "partial": a convolution over zeros is scaled up by the share of its window that lies inside
      (Liu et al. 2018, eq. 1, without holes); average pools do not count their padding.

    `windows` gathers, where it is a list, what ran. The nodes are known inside `names`.
    """

    padding: str
    windows: list[Window] | None = None
    nodes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        arguments: tuple[Any, ...] = (),
        keywords: dict[str, Any] | None = None,
    ) -> Any:
        ours = _OURS.get(function, function)
        if ours is function:
            return function(*arguments, **(keywords or {}))
        return ours(self, *arguments, **(keywords or {}))

    def note(self, kind: str, maps: Tensor, kernel: Edges, edges: Edges) -> None:
        """Gather a window: `kernel` is its rows, columns, and strides down and across."""
        if self.windows is not None:
            rows, columns, down, across = kernel
            size = (maps.shape[-2], maps.shape[-1])
            node = self.nodes[-1] if self.nodes else ""
            self.windows.append(Window(kind, node, size, (rows, columns), (down, across), edges))

    def names(self, module: nn.Module) -> list[Any]:
        """Follow which module of `module` runs; handles to remove."""
        handles: list[Any] = []
        for name, layer in module.named_modules():
            enter = lambda *_, name=name: self.nodes.append(name)  # noqa: E731
            handles.append(layer.register_forward_pre_hook(enter))
            handles.append(layer.register_forward_hook(lambda *_: (self.nodes.pop(), None)[1]))
        return handles


class BorderedForward:
    """The forward of a module with a border of its own: `module.forward = BorderedForward(...)`."""

    def __init__(self, module: nn.Module, padding: str) -> None:
        self._module = module
        self.padding = padding

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """What the class of the module computes, inside the border."""
        with Border(self.padding):
            return type(self._module).forward(self._module, *arguments, **keywords)


def border_of(module: nn.Module) -> str:
    """The padding that `module` runs with; "zeros" is what it was built with."""
    forward = module.forward
    return forward.padding if isinstance(forward, BorderedForward) else "zeros"


def extended(maps: Tensor, edges: Edges, padding: str) -> Tensor:
    """Maps (B, C, h, w) with `edges` more cells, of which "reflect", ... says what they hold."""
    return functional.pad(maps, edges, mode=padding) if any(edges) else maps


def _conv2d(
    border: Border,
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    reach = [(k - 1) * d for k, d in zip(weight.shape[2:], _pair(dilation), strict=True)]
    edges = _convolution_edges(padding, reach)
    border.note("convolution", maps, (reach[0] + 1, reach[1] + 1, *_pair(stride)), edges)

    def convolved(maps: Tensor, padding: Pair | str = 0) -> Tensor:
        return torch.conv2d(maps, weight, bias, stride, padding, dilation, groups)

    if border.padding == "none":
        return convolved(maps)
    if border.padding == "full":
        return convolved(maps, reach)
    if border.padding in CONTINUED:
        return convolved(extended(maps, edges, border.padding))
    if border.padding == "partial" and any(edges):
        inside, window = (
            maps.new_ones(1, 1, *maps.shape[2:]),
            maps.new_ones(1, 1, *weight.shape[2:]),
        )
        valid = torch.conv2d(inside, window, None, stride, padding, dilation)
        shift = 0 if bias is None else bias[:, None, None]
        return (convolved(maps, padding) - shift) * (window.numel() / valid) + shift
    return convolved(maps, padding)


def _max_pool2d(
    border: Border,
    maps: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    reach = [(k - 1) * d + 1 for k, d in zip(_pair(kernel_size), _pair(dilation), strict=True)]
    edges = _pool_edges(maps, reach, stride or kernel_size, padding, ceil_mode)
    border.note("pool", maps, (reach[0], reach[1], *_pair(stride or kernel_size)), edges)
    if border.padding in CONTINUED:
        maps, padding, ceil_mode = extended(maps, edges, border.padding), 0, False
    elif border.padding == "none":
        padding = 0
    elif border.padding == "full":
        ceil_mode = True  # the last row counts as much as the first
    pool: Any = functional.max_pool2d
    return pool(maps, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool2d(
    border: Border,
    maps: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    window = _pair(kernel_size)
    edges = _pool_edges(maps, window, stride or kernel_size, padding, ceil_mode)
    border.note("pool", maps, (*window, *_pair(stride or kernel_size)), edges)
    if border.padding in CONTINUED:
        maps, padding, ceil_mode = extended(maps, edges, border.padding), 0, False
    elif border.padding == "none":
        padding = 0
    elif border.padding == "partial":
        count_include_pad = False
    elif border.padding == "full":
        ceil_mode = True
    return functional.avg_pool2d(
        maps, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _pad(
    border: Border,
    maps: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Tensor:
    left, right, top, bottom = (*pad, *_NO_EDGES)[:4]
    edges = (left, right, top, bottom)
    spatial = maps.ndim == 4 and len(pad) <= 4 and any(edges) and min(edges) >= 0
    if spatial:
        border.note("padding", maps, (1, 1, 1, 1), edges)
        if border.padding in ("none", "full"):  # a full convolution pads all that it sees
            return maps
        if border.padding in CONTINUED:
            return extended(maps, edges, border.padding)
    return functional.pad(maps, list(pad), mode, value)


_OURS: dict[Any, Callable[..., Any]] = {
    torch.conv2d: _conv2d,
    torch.max_pool2d: _max_pool2d,
    functional.max_pool2d: _max_pool2d,
    functional.avg_pool2d: _avg_pool2d,
    functional.pad: _pad,
}


def _pair(value: Pair) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    first, *rest = value
    return first, rest[0] if rest else first


def _convolution_edges(padding: Pair | str, reach: Sequence[int]) -> Edges:
    if padding == "valid":
        return _NO_EDGES
    if padding == "same":  # of an odd number of cells, the larger half goes right and below
        (rows, columns), (top, left) = reach, (cells // 2 for cells in reach)
        return left, columns - left, top, rows - top
    assert not isinstance(padding, str), padding
    rows, columns = _pair(padding)
    return columns, columns, rows, rows


def _pool_edges(
    maps: Tensor, reach: Sequence[int], stride: Pair, padding: Pair, ceil_mode: bool
) -> Edges:
    (top, left), far = _pair(padding), []
    for n, k, s, p in zip(maps.shape[-2:], reach, _pair(stride), (top, left), strict=True):
        beyond = p
        if ceil_mode:
            places = math.ceil((n + 2 * p - k) / s)
            places -= places * s >= n + p  # no window begins beyond the map and its padding
            beyond = max(p, places * s + k - n - p)
        far.append(beyond)
    return left, far[1], top, far[0]
