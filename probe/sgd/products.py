"""Convolutions of many heads that read the same maps, each in the form that is fastest for it.

A convolution of one output channel leaves a matrix multiplier idle. So all kernel taps of many such
heads are rows of one matrix, one product serves them all, and k * k shifted maps are added up. One
of many output channels keeps it busy by itself, and does so without the detour.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from data.vocabulary import GRID


class TapProduct(torch.autograd.Function):
    """First convolutions of several blocks of heads that read the same features.

    `features` is (C, B * GRID * GRID) in the compute dtype; each weight is (rows, C) float32 with
    rows ordered (head and channel, dy, dx). Returns one (B, heads and channels, n, n) float32 map
    per block, without bias. Products run in the dtype of `features`; the shifted maps are summed
    in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, shapes: list[tuple[int, int]], *weights: Tensor
    ) -> tuple[Tensor, ...]:
        """See the class; `shapes` has the kernel size and the probe padding of each block."""
        ctx.save_for_backward(features)
        ctx.shapes, ctx.rows = shapes, [len(weight) for weight in weights]
        product = torch.cat([weight.to(features.dtype) for weight in weights]) @ features
        return tuple(
            _shift_add(_by_tap(block, kernel_size).float(), padding)
            for block, (kernel_size, padding) in zip(product.split(ctx.rows), shapes, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The weight gradients, float32; the features are frozen and get none."""
        (features,) = ctx.saved_tensors
        scattered = features.new_zeros(sum(ctx.rows), features.shape[1])
        blocks = scattered.split(ctx.rows)
        for block, gradient, (size, padding) in zip(blocks, gradients, ctx.shapes, strict=True):
            _scatter_shifts(_by_tap(block, size), gradient, padding)
        weight_gradients = (scattered @ features.T).float().split(ctx.rows)
        return (None, None, *weight_gradients)


def wide_product(maps: Tensor, weight: Tensor, kernel_size: int, padding: int) -> Tensor:
    """The same of one block of heads with many channels each, as a convolution.

    `maps` is what `as_maps` gives, (B, C, GRID, GRID) in the compute dtype, in which the sums are
    rounded, too; `weight` and what is returned are as in `TapProduct`.
    """
    kernels = weight.to(maps.dtype).view(-1, kernel_size, kernel_size, maps.shape[1])
    product = functional.conv2d(maps, kernels.permute(0, 3, 1, 2), padding=padding)
    return product.to(torch.float32, memory_format=torch.contiguous_format)


def as_maps(features: Tensor) -> Tensor:
    """Features (C, B * GRID * GRID) as (B, C, GRID, GRID), the channels of a cell side by side."""
    return features.T.contiguous().view(-1, GRID, GRID, len(features)).permute(0, 3, 1, 2)


def last_product(maps: Tensor, kernels: Tensor, padding: int) -> Tensor:
    """Last convolutions of H heads, one output channel each, without bias.

    `maps` is (B, H * width, n, n) and `kernels` (H, width, k, k), both float32; returns
    (B, H, n', n').
    """
    heads, width, size, _ = kernels.shape
    taps = kernels.flatten(2).transpose(1, 2) @ maps.reshape(len(maps), heads, width, -1)
    by_tap = taps.view(len(maps), heads, size, size, *maps.shape[2:]).permute(1, 2, 3, 0, 4, 5)
    return _ShiftedSum.apply(by_tap, padding)


class _ShiftedSum(torch.autograd.Function):
    """`_shift_add`, whose gradient is `_scatter_shifts`."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, padding: int) -> Tensor:
        ctx.shape, ctx.padding = maps.shape, padding
        return _shift_add(maps, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        maps = gradient.new_zeros(ctx.shape)
        _scatter_shifts(maps, gradient, ctx.padding)
        return maps, None


def _by_tap(taps: Tensor, kernel_size: int) -> Tensor:
    """Products (rows, B * GRID * GRID) as (channels, k, k, B, GRID, GRID)."""
    return taps.view(-1, kernel_size, kernel_size, taps.shape[1] // GRID**2, GRID, GRID)


def _shifts(
    grid: int, kernel_size: int, padding: int
) -> Iterator[tuple[int, int, slice, slice, slice, slice]]:
    """For every tap (dy, dx): where it lands, rows and columns, and where it comes from.

    A convolution's output at y sums input rows y + dy - padding, where those exist.
    """
    size = grid + 2 * padding - kernel_size + 1
    spans = []
    for tap in range(kernel_size):
        low, high = max(0, padding - tap), min(size, grid + padding - tap)
        spans.append((slice(low, high), slice(low + tap - padding, high + tap - padding)))
    for dy, (to_rows, from_rows) in enumerate(spans):
        for dx, (to_columns, from_columns) in enumerate(spans):
            yield dy, dx, to_rows, to_columns, from_rows, from_columns


def _shift_add(maps: Tensor, padding: int) -> Tensor:
    """(channels, k, k, B, n, n) float32 products to (B, channels, n', n') of the convolution."""
    channels, kernel_size, _, images, grid, _ = maps.shape
    size = grid + 2 * padding - kernel_size + 1
    outputs = maps.new_zeros(images, channels, size, size)
    by_channel = outputs.transpose(0, 1)
    for dy, dx, to_rows, to_columns, rows, columns in _shifts(grid, kernel_size, padding):
        by_channel[:, :, to_rows, to_columns] += maps[:, dy, dx, :, rows, columns]
    return outputs


def _scatter_shifts(maps: Tensor, gradient: Tensor, padding: int) -> None:
    """The transpose of `_shift_add`, written into zeroed `maps`."""
    gradient = gradient.transpose(0, 1).to(maps.dtype)
    grid, kernel_size = maps.shape[-1], maps.shape[1]
    for dy, dx, to_rows, to_columns, rows, columns in _shifts(grid, kernel_size, padding):
        maps[:, dy, dx, :, rows, columns] = gradient[:, :, to_rows, to_columns]
