"""What this machine can do, in seconds: the bounds that the other benchmarks print their share of.

    python -m benchmarks.ceilings [--device auto] [--folder DIR]

Products in the shapes of the bank (forward and weight gradient of one reading of all of VGG16's
levels), VGG16's convolutions one by one, a copy in memory, and a file read raw from the page cache.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import nn
from torchvision.models import vgg16

from benchmarks.timing import VGG16, least_seconds, machine
from data.tools.device import find_device
from data.vocabulary import GRID

ROWS = 256  # kernel taps of the heads that read the same levels
BATCH = 32  # of the products; the paper's
IMAGES = 8  # of the convolutions
COPIED = READ = 2**28  # bytes
DTYPES = (torch.float32, torch.bfloat16)


def product_rate(device: torch.device, dtype: torch.dtype, rows: int = ROWS) -> float:
    """FLOP/s of (rows, C) @ (C, B x 784) and of its weight gradient."""
    channels, columns = sum(VGG16.values()), BATCH * GRID * GRID
    weight = torch.rand(rows, channels, device=device).to(dtype)
    features = torch.rand(channels, columns, device=device).to(dtype)
    gradient = torch.rand(rows, columns, device=device).to(dtype)
    seconds = least_seconds(lambda: (weight @ features, gradient @ features.T), repeats=3)
    return 4 * rows * channels * columns / seconds


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """FLOP/s of one large square product."""
    matrix = torch.rand(size, size, device=device).to(dtype)
    return 2 * size**3 / least_seconds(lambda: matrix @ matrix)


@torch.inference_mode()
def convolution_seconds(device: torch.device, dtype: torch.dtype) -> dict[str, tuple[float, float]]:
    """Of each convolution of VGG16 at 224 pixels, as far as relu5_3: seconds and FLOP an image."""
    size, found = 224, {}
    for name, layer in vgg16(weights=None).features.named_children():
        if isinstance(layer, nn.MaxPool2d):
            size //= 2
        if not isinstance(layer, nn.Conv2d):
            continue
        layer = layer.to(device, dtype, memory_format=torch.channels_last)
        maps = torch.rand(IMAGES, layer.in_channels, size, size, device=device).to(dtype)
        maps = maps.contiguous(memory_format=torch.channels_last)
        seconds = least_seconds(lambda: layer(maps), repeats=3)  # noqa: B023
        found[name] = (seconds / IMAGES, 2.0 * layer.weight.numel() * size * size)
    return found


def best_forward(device: torch.device) -> float:
    """Seconds an image of VGG16's convolutions alone, each in the faster of fp32 and bf16."""
    every = [convolution_seconds(device, dtype) for dtype in DTYPES]
    return sum(min(each[name][0] for each in every) for name in every[0])


def copy_rate(device: torch.device) -> float:
    """Bytes/s of a copy in the device's memory; each byte is read once and written once."""
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return COPIED / least_seconds(lambda: target.copy_(source))


def read_rate(folder: Path | None = None) -> float:
    """Bytes/s of a file in the page cache, read raw into memory that is used again."""
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        file.write(bytes(READ))
        buffer = bytearray(2**24)

        def read() -> None:
            file.seek(0)
            while file.readinto(buffer):  # type: ignore[attr-defined]
                pass

        return READ / least_seconds(read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, default=None, help="where to write the file read")
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    print(machine())
    for dtype in DTYPES:
        print(
            f"products of the bank, {dtype}: {product_rate(device, dtype) / 1e9:.0f} GFLOP/s; "
            f"large and square: {matrix_rate(device, dtype) / 1e9:.0f}"
        )
    for dtype in DTYPES:
        layers = convolution_seconds(device, dtype)
        for name, (seconds, flop) in layers.items():
            print(
                f"  features.{name}: {seconds * 1e3:.2f} ms an image, "
                f"{flop / seconds / 1e9:.0f} GFLOP/s"
            )
        total, work = (sum(column) for column in zip(*layers.values(), strict=True))
        print(
            f"convolutions of VGG16, {dtype}: {total * 1e3:.1f} ms an image, "
            f"{work / total / 1e9:.0f} GFLOP/s"
        )
    print(f"copy in memory: {copy_rate(device) / 1e9:.2f} GB/s")
    print(f"raw read, page cache warm: {read_rate(arguments.folder) / 1e9:.2f} GB/s")


if __name__ == "__main__":
    main()
