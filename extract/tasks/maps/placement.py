"""Where in the image the values of a level lie."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from extract.backbones.border import border_of


def placement(module: nn.Module, node: str) -> tuple[float, int]:
    """Pixel of a level's first value and pixels from one to the next, along both axes.

    The centre of the receptive field of value i is pixel `start + i * stride`. `module` is a plain
    chain of layers, registered in the order they run; `node` is one of them. With padding, VGG16's
    relu5_3 starts at 7.5; without, at 97.5: the first 97 pixels are the centre of nothing.
    """
    start, stride, border = 0.0, 1, border_of(module)
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            kernel, padding, step = (
                size if isinstance(size, int) else int(size[0])
                for size in (layer.kernel_size, layer.padding, layer.stride)
            )
            if border == "none":
                padding = 0
            elif border == "full" and isinstance(layer, nn.Conv2d):
                padding = kernel - 1
            start += ((kernel - 1) / 2 - padding) * stride
            stride *= step
        if name == node:
            return start, stride
    raise AssertionError(f"{node} is not in the module")


def placement_matrix(start: float, stride: int, cells: int, pixels: Tensor) -> Tensor:
    """The matrix, (len(pixels), cells) float32, that reads a level at the given pixels.

    Linear between the values of the level along one axis, and constant beyond its ends. For values
    that tile the image this is PyTorch's bilinear interpolation with align_corners=False.
    """
    position = ((pixels.double() - start) / stride).clamp(0, cells - 1)
    distance = (position[:, None] - torch.arange(cells)).abs()
    return (1 - distance).clamp(min=0).float()
