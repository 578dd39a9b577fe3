"""A paper-scale sweep on one device, features made there, against the device's own ceilings.

    python -m benchmarks.gpu_sweep [--device cuda] [--images 10533] [--epochs 15]

All 50 heads that the sweep trains from VGG16 and from the pixels, depth 3 at full width among them
(tables 1 to 4). Prints the wall time, and what the same products and the same bytes cost at the
device's measured matrix rate and memory bandwidth: 24 GB of features must fit on the device.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from benchmarks.bank_speed import LEVELS, PAPER, RATE, seconds_products
from benchmarks.ceilings import copy_rate, matrix_rate
from benchmarks.timing import VGG16, machine
from data.tools.device import find_device
from data.vocabulary import INPUT_LEVELS, PIXELS
from probe.batches import CELLS, epoch_windows
from probe.heads.paper import table_heads
from probe.sgd.bank import Bank
from probe.sgd.entry import Entry
from probe.train import compute_dtype


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=int, default=10_533)
    parser.add_argument("--epochs", type=int, default=PAPER.training.epochs)
    parser.add_argument("--batch-size", type=int, default=PAPER.training.batch_size)
    options = parser.parse_args()
    device = find_device(options.device)
    dtype, batch = compute_dtype("auto", device), options.batch_size
    on_gpu = device.type == "cuda"
    channels = sum(VGG16.values())

    heads = table_heads("vgg16", "zeros", LEVELS, [0]) + table_heads(PIXELS, "-", INPUT_LEVELS, [0])
    bank = Bank([Entry(head, RATE) for head in heads], VGG16, PAPER.training).to(device)
    features = torch.empty(options.images, channels, CELLS, dtype=dtype, device=device)
    for image in features:  # in place, one at a time: no second copy
        image.uniform_()
    optimizer = bank.optimizer()

    def step(rows: np.ndarray) -> None:
        index = torch.from_numpy(rows).to(device)
        columns = features.index_select(0, index).transpose(0, 1).flatten(1)
        optimizer.zero_grad()
        bank.losses(bank(columns)).sum().backward()
        optimizer.step()

    order = np.arange(options.images)
    step(order[:batch])
    start = time.perf_counter()
    for epoch in range(options.epochs):
        for window in epoch_windows(order, channels * CELLS * 2, batch, 0, epoch):
            for first in range(0, len(window), batch):
                step(window[first : first + batch])
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start

    steps = options.epochs * -(-options.images // batch)
    columns = features[:batch].transpose(0, 1).flatten(1)
    products = seconds_products(bank, columns) * steps
    flops = 2 * bank.flops() * options.images * options.epochs
    rate = matrix_rate(device, dtype, 8192 if on_gpu else 2048)
    moved = 3 * options.images * channels * CELLS * dtype.itemsize * options.epochs
    speed = 2 * copy_rate(device)  # read and written
    print(f"{machine()}; {len(heads)} heads, {options.images} images, {options.epochs} epochs")
    print(f"sweep: {seconds:.1f} s wall, {flops / seconds / 1e12:.2f} TFLOP/s of large products")
    print(f"its bare products: {products:.1f} s, ratio {seconds / products:.2f}")
    print(f"matrix ceiling: {rate / 1e12:.1f} TFLOP/s, {flops / rate:.1f} s")
    print(f"memory ceiling: {speed / 1e9:.0f} GB/s, {moved / speed:.1f} s (gather, two products)")
    print(f"share of the larger ceiling: {max(flops / rate, moved / speed) / seconds:.2f}")
    if on_gpu:
        print(f"most memory allocated: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
