"""Figure 4 of Kayhan and van Gemert (CVPR 2020), random frozen ResNet-18, ingredient by ingredient.

    python -m benchmarks.figure4 [--patches 60] [--seed 0] [--border 64 --border 128 ...]

Their code (QI_location.py): normalised images of 224 pixels resized to 56, on a canvas of zeros of
120 pixels, at the top left or 64 pixels further down and right; the border is the padding of the
first convolution; the max pool is 2 wide; BatchNorms have the statistics of the placed images; the
maximum of every channel is read. Each line changes one of these. A third of the patches tests.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from data.images.samples import sample_image

PATCH, BATCH, RIDGE = 56, 8, 1e-3
MEAN, DEVIATION = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def whole_images(count: int, *, normalised: bool) -> Tensor:
    """Samples, (N, 3, 224, 224)."""
    pixels = np.stack([sample_image(index, 0, 224) for index in range(count)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    if not normalised:
        return images
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (images - mean) / deviation


def placed(whole: Tensor, distance: int) -> Tensor:
    """Both places of every patch on zeros, (2 N, 3, S, S), first all top left ones."""
    patches = functional.interpolate(whole, size=PATCH, mode="bilinear")
    images = torch.zeros(2, len(patches), 3, distance + PATCH, distance + PATCH)
    images[0, ..., :PATCH, :PATCH] = patches
    images[1, ..., distance:, distance:] = patches
    return images.flatten(0, 1)


def network(seed: int, pool: int) -> nn.Module:
    """Up to the last map; untrained."""
    torch.manual_seed(seed)
    whole = resnet18(weights=None)
    whole.maxpool.kernel_size = pool
    return nn.Sequential(*list(whole.children())[:-2]).requires_grad_(False)


def calibrate(net: nn.Module, images: Tensor) -> None:
    """Give the BatchNorms the mean statistics of batches of `images`."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    net.train()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    for batch in order.split(BATCH):
        net(images[batch])
    net.eval()


def accuracy(vectors: Tensor, train: int) -> float:
    """Of ridge regression on the place, in percent, on the patches after the first `train`."""
    rows = vectors.double().unflatten(0, (2, -1))  # (2, N, C)
    seen = rows[:, :train].flatten(0, 1)
    mean, deviation = seen.mean(0), seen.std(0, correction=0).clamp(min=1e-12)
    seen = (seen - mean) / deviation
    place = torch.tensor([-1.0, 1.0]).double().repeat_interleave(train)
    kernel = seen @ seen.T + RIDGE * len(seen) * torch.eye(len(seen)).double()
    scores = ((rows[:, train:] - mean) / deviation) @ (seen.T @ torch.linalg.solve(kernel, place))
    return 100 * float(torch.stack([scores[0] < 0, scores[1] > 0]).double().mean())


@torch.no_grad()
def measure(
    count: int,
    seed: int,
    border: int,
    *,
    distance: int = 64,
    pool: int = 2,
    normalised: bool = True,
    whole_statistics: bool = False,
) -> dict[str, float]:
    """Accuracy with the maximum and the mean of every channel."""
    whole = whole_images(count, normalised=normalised)
    images, train = placed(whole, distance), 2 * count // 3
    net = network(seed, pool)
    if whole_statistics:
        calibrate(net, whole[:16])
    first = net.get_submodule("0")
    if border and isinstance(first, nn.Conv2d):  # else the first convolution keeps its own
        first.padding = (border, border)
    if not whole_statistics:
        calibrate(net, images.unflatten(0, (2, -1))[:, :train].transpose(0, 1).flatten(0, 1)[:64])
    maps = [net(batch) for batch in images.split(BATCH)]
    pooled = {
        "max": torch.cat([each.amax((2, 3)) for each in maps]),
        "mean": torch.cat([each.mean((2, 3)) for each in maps]),
    }
    return {name: accuracy(vectors, train) for name, vectors in pooled.items()}


VARIANTS: dict[str, dict[str, Any]] = {
    "theirs": {},
    "56 pixels apart, as in the text": {"distance": 56},
    "statistics of whole images": {"whole_statistics": True},
    "max pool of 3": {"pool": 3},
    "images in [0, 1]": {"normalised": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--border", type=int, action="append")
    options = parser.parse_args()
    for border in options.border or (0, 16, 32, 64, 128):
        for name, changes in VARIANTS.items():
            found = measure(options.patches, options.seed, border, **changes)
            print(border, name, {pooling: f"{value:.1f}" for pooling, value in found.items()})


if __name__ == "__main__":
    main()
