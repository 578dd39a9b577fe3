"""The exactness audit: how much a pooled channel changes over the places of a patch.

Where no border is left, a patch gives the same pooled vector at every place whose distance from
the others is a multiple of all strides. What changes is the border, or a window that hangs over
it, and no list of what was replaced proves as much.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from data.images.samples import sample_image
from data.tools.terminal import say
from data.vocabulary import IMAGE_SIZE
from extract.backbones.backbone import Backbone
from extract.backbones.normalization import normalize
from extract.backbones.taps import as_map, run_taps

PATCH = 32  # pixels a side: a multiple of every stride of the usual backbones
ROUNDING = 1e-12  # of float64, in sums over a map
CLEAR = 1e-2  # a change that is none of rounding, in float32 either


def place_changes(
    backbone: Backbone,
    *,
    normalization: str,
    image_size: int = IMAGE_SIZE,
    precision: torch.dtype = torch.float64,
) -> dict[str, float]:
    """For every level the largest relative change of a mean-pooled channel over five places.

    A sample image of 32 pixels lies in a corner of a black canvas of `image_size` pixels, in
    another, ..., and in the middle, always a multiple of 32 pixels away. A channel's change is the
    range of its mean over the places, relative to the mean of its magnitude; a channel that is
    zero everywhere does not change. In float64, because channels that are nearly dead would show
    the rounding of float32; a change of less than `ROUNDING` is 0. The network is given back in its
    own precision. Empty where the canvas has no room for two places.
    """
    if image_size < 2 * PATCH:
        return {}
    module = backbone.module
    dtypes = [tensor.dtype for tensor in _tensors(module)]
    device = next((tensor.device for tensor in _tensors(module)), torch.device("cpu"))
    images = placed_patches(image_size).to(device, precision)
    levels = {node: level for level, node in backbone.taps.items()}
    changes: dict[str, float] = {}

    def take(node: str, output: Tensor) -> None:
        maps = as_map(output, channels_last=backbone.channels_last)
        means, magnitudes = maps.mean((2, 3)), maps.abs().mean((0, 2, 3))
        change = (means.amax(0) - means.amin(0)) / magnitudes
        largest = float(change[magnitudes > 0].max()) if magnitudes.any() else 0.0
        changes[levels[node]] = 0.0 if largest <= ROUNDING else largest

    try:
        module.to(precision)
        with torch.inference_mode(), torch.autocast(images.device.type, enabled=False):
            run_taps(module, list(levels), normalize(images, normalization), take)
    finally:
        for tensor, dtype in zip(_tensors(module), dtypes, strict=True):
            tensor.data = tensor.data.to(dtype)
    return {level: changes[level] for level in backbone.taps}


def audited_changes(
    backbone: Backbone, *, normalization: str, image_size: int = IMAGE_SIZE
) -> dict[str, float]:
    """What a cache keeps of `place_changes`: three digits, the same whatever the last bits.

    Float64, which takes several times as long, is asked where float32 shows no border in some
    level. Empty, with a line on stderr, for a network that does not run in it.
    """

    def changes_in(precision: torch.dtype) -> dict[str, float]:
        return place_changes(
            backbone, normalization=normalization, image_size=image_size, precision=precision
        )

    try:
        changes = changes_in(torch.float32)
        if not all(change > CLEAR for change in changes.values()):
            changes = changes_in(torch.float64)
    except (RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        say(f"no exactness audit: {backbone.name} does not run in another precision ({reason})")
        return {}
    return {level: float(f"{change:.3g}") for level, change in changes.items()}


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def placed_patches(image_size: int) -> Tensor:
    """The images of the audit, (5, 3, S, S) float64 in [0, 1]."""
    patch = sample_image(0, 0, PATCH).transpose(2, 0, 1) / 255.0
    last = image_size // PATCH - 1
    cells = [*itertools.product((0, last), repeat=2), (last // 2, last // 2)]
    images = torch.zeros(len(cells), 3, image_size, image_size, dtype=torch.float64)
    for image, (row, column) in zip(images, cells, strict=True):
        top, left = row * PATCH, column * PATCH
        image[:, top : top + PATCH, left : left + PATCH] = torch.from_numpy(patch)
    return images
