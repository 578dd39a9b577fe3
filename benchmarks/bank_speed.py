"""How much faster the bank is than training heads the usual ways.

    python -m benchmarks.bank_speed [--batch-size 32]

Made-up features and images of VGG16's shape, the heads of tables 1, 2b, 3 and 4 (the 38 heads of
depth 1 that the sweep trains from vgg16 and from the pixels). Prints ratios of medians, one run.
Then the heads of two and three convolutions (table 2a) alone: `--deep` prints no more than those.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from benchmarks.ceilings import best_forward, matrix_rate
from benchmarks.timing import VGG16, machine, median_seconds
from data.protocols import PROTOCOLS
from data.targets import position_map
from data.tools.device import find_device
from data.vocabulary import GRID, INPUT_LEVELS, PIXELS
from extract.backbones.backbone import load_backbone
from extract.levels import LevelExtractor
from probe.heads.dense import build_head
from probe.heads.paper import table_heads
from probe.heads.spec import HeadSpec
from probe.loss import MapLoss, scored_target
from probe.sgd.bank import Bank
from probe.sgd.entry import Entry
from probe.train import compute_dtype

PAPER = PROTOCOLS["paper"]
RATE = PAPER.training.learning_rates[0]
EPOCHS = 15  # the paper's
LEVELS = tuple(level for level in VGG16 if level not in INPUT_LEVELS)


def bench_heads(*, deep: bool = False) -> list[HeadSpec]:
    """The heads of tables 1, 2b, 3 and 4, all of depth 1; or the deep ones of table 2a."""
    heads = table_heads("vgg16", "zeros", LEVELS, [0]) + table_heads(PIXELS, "-", INPUT_LEVELS, [0])
    return [head for head in heads if (head.depth > 1) == deep]


def plain_step(head: nn.Module, features: Tensor, target: Tensor) -> None:
    """One step of one head: autograd, and the loss at 224x224 after upsampling."""
    optimizer = torch.optim.SGD(head.parameters(), RATE, momentum=0.9, weight_decay=1e-4)
    output = interpolate(head(features), (224, 224), mode="bilinear")
    (output - target).square().mean().backward()
    optimizer.step()


def target_of(spec: HeadSpec, device: torch.device) -> Tensor:
    signed = PAPER.training.signed_stripes
    return torch.from_numpy(position_map(spec.pattern, signed_stripes=signed)).float().to(device)


def low_resolution_step(head: nn.Module, features: Tensor, loss: MapLoss) -> None:
    """One step of one head with the exact loss of its 26x26 (or so) output."""
    optimizer = torch.optim.SGD(head.parameters(), RATE, momentum=0.9, weight_decay=1e-4)
    loss(head(features)).sum().backward()
    optimizer.step()


def seconds_alone(spec: HeadSpec, features: Tensor, low_resolution: bool) -> float:
    """A step of `spec` by itself, from features (B, C, 28, 28) in memory."""
    start = 0 if spec.levels == INPUT_LEVELS else sum(
        VGG16[level] for level in list(VGG16)[: list(VGG16).index(spec.levels[0])]
    )  # fmt: skip
    channels = sum(VGG16[level] for level in spec.levels)
    read = features[:, start : start + channels].contiguous()
    head = build_head(spec, channels, PAPER.training).to(features.device)
    if low_resolution:
        size = spec.output_size(GRID)
        maps = scored_target(spec.pattern, size, PAPER.training)[None]
        loss = MapLoss(size, maps).to(features.device)
        return median_seconds(lambda: low_resolution_step(head, read, loss), repeats=1)
    target = target_of(spec, features.device)
    return median_seconds(lambda: plain_step(head, read, target), repeats=1)


def seconds_authors(batch_size: int, device: torch.device) -> float:
    """The released loop for one head: backbone forward, alignment, one step, all in fp32."""
    backbone = load_backbone("vgg16", weights="random", padding="zeros", taps="paper", seed=0)
    backbone.module.to(device, memory_format=torch.contiguous_format)
    extractor = LevelExtractor(backbone, PAPER.features)
    images = torch.rand(batch_size, 3, 224, 224, device=device)
    spec = HeadSpec(LEVELS, 3, 1, 0, "H")
    head = build_head(spec, sum(VGG16[level] for level in LEVELS), PAPER.training).to(device)
    target = target_of(spec, device)

    def step() -> None:
        with torch.no_grad():
            levels = extractor(images)
        plain_step(head, torch.cat([levels[level] for level in LEVELS], dim=1), target)

    return median_seconds(step, repeats=3)


def seconds_extraction(batch_size: int, device: torch.device) -> float:
    """Our extraction of one batch: channels_last, the device's best precision."""
    backbone = load_backbone("vgg16", weights="random", padding="zeros", taps="paper", seed=0)
    backbone.module.to(device, memory_format=torch.channels_last)
    extractor = LevelExtractor(backbone, PAPER.features)
    images = torch.rand(batch_size, 3, 224, 224, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    dtype = compute_dtype("auto", device)

    def forward() -> None:
        enabled = dtype != torch.float32
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=enabled):
            for level in extractor(images).values():
                level.half().cpu()

    return median_seconds(forward, repeats=3)


def seconds_bank(bank: Bank, features: Tensor) -> float:
    optimizer = bank.optimizer()

    def step() -> None:
        losses = bank.losses(bank(features))
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()

    return median_seconds(step)


def seconds_products(bank: Bank, features: Tensor) -> float:
    """The bare products of one step on the same shapes: forward and weight gradient."""
    pairs = []
    for levels, members in bank.readings.items():
        rows = sum(len(bank.blocks[index].taps) for index in members)
        read = bank.features_of(features, levels)
        weight = torch.rand(rows, len(read), device=read.device).to(read.dtype)
        gradient = torch.rand(rows, read.shape[1], device=read.device).to(read.dtype)
        pairs.append((weight, read, gradient))
    return median_seconds(lambda: [(w @ x, g @ x.T) for w, x, g in pairs])


def report_deep(features: Tensor, dtype: torch.dtype) -> None:
    """Print what the deep heads take together, over their bare products; images (B, C, 28, 28)."""
    batch, device = len(features), features.device
    heads = bench_heads(deep=True)
    columns = features.transpose(0, 1).flatten(1).to(dtype)
    bank = Bank([Entry(head, RATE) for head in heads], VGG16, PAPER.training).to(device)
    ours, products = seconds_bank(bank, columns) / batch, seconds_products(bank, columns) / batch
    ceiling = 2 * bank.flops() / matrix_rate(device, dtype)
    print(
        f"{len(heads)} deep heads: {ours * 1e3:.2f} ms an image, bare products "
        f"{products * 1e3:.2f}: {ours / products:.2f} times; share of the ceiling of large "
        f"products {ceiling / ours:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--deep", action="store_true", help="the deep heads alone")
    options = parser.parse_args()
    device, batch = find_device(options.device), options.batch_size
    dtype = compute_dtype("auto", device)
    heads = bench_heads()
    print(f"{machine()}; batch {batch}, products in {dtype}")

    features = torch.rand(batch, sum(VGG16.values()), 28, 28, device=device)
    report_deep(features, dtype)
    if options.deep:
        return
    print(f"{len(heads)} heads of depth 1:")
    columns = features.transpose(0, 1).flatten(1).to(dtype)
    bank = Bank([Entry(head, RATE) for head in heads], VGG16, PAPER.training).to(device)
    ours = seconds_bank(bank, columns) / batch
    products = seconds_products(bank, columns) / batch
    extraction = seconds_extraction(batch, device) / batch
    authors = seconds_authors(batch, device) / batch
    alone = sum(seconds_alone(head, features, False) for head in heads) / batch
    alone_low = sum(seconds_alone(head, features, True) for head in heads) / batch
    full = seconds_bank(bank, columns.float()) / batch

    shared = ours + extraction / EPOCHS
    print(f"authors' way, one head:               {authors * 1e3:9.2f} ms an image")
    print(f"heads one at a time, features in RAM: {alone * 1e3:9.2f} ms an image")
    print(f"... with the low-resolution loss:     {alone_low * 1e3:9.2f} ms an image")
    print(f"... in one bank, fp32:                {full * 1e3:9.2f} ms an image")
    print(f"extraction:                           {extraction * 1e3:9.2f} ms an image")
    print(f"bank step, all heads:                 {ours * 1e3:9.2f} ms an image")
    print(f"its bare products:                    {products * 1e3:9.2f} ms an image")
    print(f"authors' way over ours, per image and head: {authors * len(heads) / shared:.0f}")
    print(f"heads one at a time over the bank:          {alone / ours:.0f}")
    print(f"bank over its bare products:                {ours / products:.2f}")
    # Read by two products, forward and weight gradient.
    ceiling = 2 * bank.flops() / matrix_rate(device, dtype)
    print(
        f"share of the ceiling of large products: bank {ceiling / ours:.2f}, bare products "
        f"{ceiling / products:.2f}"
    )
    print(
        f"share of the ceiling of convolutions: extraction {best_forward(device) / extraction:.2f}"
    )


if __name__ == "__main__":
    main()
