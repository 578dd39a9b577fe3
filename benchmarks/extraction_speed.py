"""Extraction against the plain loop, and against the bare forward pass on the device.

    python -m benchmarks.extraction_speed [--backbone vgg16] [--images 128] [--device auto]
                                          [--precision auto] [--batch-size N] [--folder DIR]

Untrained weights and JPEG files of embedded samples. One run measures, for the same images:

- plain: `model(x)` of torchvision's network as it comes, fp32, on decoded images in memory: what
  a first script does, without decoding and keeping nothing;
- bare: the same forward pass in our precision and channels_last as far as the last tap, on images
  that are on the device already;
- each stage of the extraction alone: decoding, levels to main memory, writing;
- the extraction: decoding, computing, checking and writing, overlapped.

It prints images/s of each, the ratios, and which stage alone is the slowest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision import models

from benchmarks.ceilings import best_forward
from benchmarks.timing import machine
from data.cache.files.manifest import Manifest, describe_images
from data.cache.shards import SHARD_IMAGES, ShardWriter, shard_count
from data.cache.writer import CacheWriter
from data.images.image_set import find_images
from data.images.samples import sample_image
from data.tools.allocator import keep_freed
from data.tools.device import find_device
from extract.backbones.taps import run_taps
from extract.compute import LevelComputer
from extract.config import ExtractConfig
from extract.identity import describe_extraction
from extract.levels import LevelExtractor
from extract.precision import DTYPES, resolve_precision
from extract.shards.job import Job, load_configured, resolve_workers
from extract.shards.loading import batch_rows, load_batches

DISTINCT = 32  # different images; the files repeat them


def make_photos(folder: Path, images: int) -> None:
    """JPEG files of 256x256 in folder/train, and one in folder/test."""
    for name in ("train", "test"):
        (folder / name).mkdir()
    samples = [Image.fromarray(sample_image(n, 0, 256)) for n in range(min(DISTINCT, images))]
    for number in range(images):
        samples[number % len(samples)].save(folder / "train" / f"{number:06d}.jpg", quality=90)
    samples[0].save(folder / "test" / "000000.jpg")


def make_job(config: ExtractConfig, folder: Path) -> Job:
    """The extraction, ready to compute."""
    device = find_device(config.device)
    backbone = load_configured(config)
    images = find_images(config.train, config.test, limit=None, seed=0, num_workers=2)
    identity = describe_extraction(
        config,
        backbone,
        LevelExtractor(backbone, config.features).channels(config.image_size),
        device=device,
        precision=resolve_precision(config.precision, device),
    )
    identity = replace(identity, images=describe_images(images.records))
    manifest = Manifest(identity, images.records, images.bad)
    job = Job(config, device, backbone, images, CacheWriter(folder, manifest))
    with job.cache as cache, cache.alone():
        job.settle()
    return job


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's work included."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.inference_mode()
def plain_loop(name: str, batches: list[Tensor], device: torch.device) -> Callable[[], None]:
    """`model(x)` over batches (B, 3, S, S) float32 in main memory."""
    model = models.get_model(name, weights=None).eval().to(device)

    @torch.inference_mode()
    def work() -> None:
        for batch in batches:
            model(batch.to(device))

    return work


def bare_forward(job: Job, batches: list[Tensor]) -> Callable[[], None]:
    """The network as far as its last tap, on images on the device."""
    precision = job.cache.manifest.identity.precision
    on_device = [b.to(job.device).contiguous(memory_format=torch.channels_last) for b in batches]
    module = job.backbone.module.to(job.device).to(memory_format=torch.channels_last)
    nodes = list(job.backbone.taps.values())

    @torch.inference_mode()
    def work() -> None:
        enabled = precision != "fp32"
        with torch.autocast(job.device.type, DTYPES[precision], enabled=enabled):
            for batch in on_device:
                run_taps(module, nodes, batch, lambda _node, _output: None)

    return work


def measure(job: Job) -> dict[str, float]:
    """Seconds of every variant and stage, over the same images."""
    count = len(job.cache.manifest.records)
    parts = batch_rows(job.cache.all_shards, count, job.batch_size)
    workers = resolve_workers(job.config)
    pixels = [batch.images for batch in load_batches(job.images, parts, num_workers=workers)]
    inputs = [images.permute(0, 3, 1, 2).float().div(255).contiguous() for images in pixels]
    computer = LevelComputer(
        job.backbone,
        job.config.features,
        device=job.device,
        precision=job.cache.manifest.identity.precision,
        engine=job.cache.manifest.identity.engine,
        batch_size=job.batch_size,
    )
    everything = job.cache.all_shards
    plain = plain_loop(job.config.backbone, inputs, job.device)
    bare = bare_forward(job, inputs)
    for warm_up in (plain_loop(job.config.backbone, inputs[:1], job.device), bare):
        warm_up()
    plain_seconds = seconds(plain, job.device)
    keep_freed()  # as extract-features does
    levels = computer(pixels[0])
    return {
        "plain fp32 loop": plain_seconds,
        "bare forward": seconds(bare, job.device),
        "decoding alone": seconds(
            lambda: list(load_batches(job.images, parts, num_workers=workers)), job.device
        ),
        "levels alone": seconds(lambda: [computer(p).arrays() for p in pixels], job.device),
        "writing alone": seconds(lambda: write_only(job, levels.arrays()), job.device),
        "extraction": seconds(lambda: job.compute(everything, show_progress=False), job.device),
    }


def write_only(job: Job, levels: tuple[dict, dict]) -> None:
    """Shards of the same bytes over and over."""
    features, errors = levels
    size = len(next(iter(features.values())))
    count = len(job.cache.manifest.records)
    for shard in range(shard_count(count)):
        writer = ShardWriter(job.cache.folder, shard, job.cache.manifest)
        left = min(SHARD_IMAGES, count - shard * SHARD_IMAGES)
        for start in range(0, left, size):
            stop = min(size, left - start)
            writer.write({level: maps[:stop] for level, maps in features.items()}, errors)
        writer.finish()
        writer.path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="where to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        photos = Path(scratch)
        make_photos(photos, arguments.images)
        config = ExtractConfig(
            backbone=arguments.backbone,
            weights="random",
            train=photos / "train",
            test=photos / "test",
            device=arguments.device,
            precision=arguments.precision,
            engine=arguments.engine,
            batch_size=arguments.batch_size,
        )
        job = make_job(config, photos / "cache")
        taken = measure(job)
        report(job, taken)


def report(job: Job, taken: dict[str, float]) -> None:
    """Print rates and ratios."""
    count = len(job.cache.manifest.records)
    identity = job.cache.manifest.identity
    print(machine())
    print(f"{count} images, {identity.backbone}, {identity.precision}, {job.device}")
    for name, duration in taken.items():
        print(f"  {name}: {count / duration:.1f} images/s")
    written = job.cache.bytes_of(job.cache.all_shards)
    print(f"  written: {written / taken['extraction'] / 1e6:.0f} MB/s")
    print(f"plain loop over extraction: {taken['plain fp32 loop'] / taken['extraction']:.2f}")
    print(f"bare forward over extraction: {taken['bare forward'] / taken['extraction']:.2f}")
    if identity.backbone == "vgg16":
        ceiling = count * best_forward(job.device)
        shares = [f"{name} {ceiling / taken[name]:.2f}" for name in ("bare forward", "extraction")]
        print(f"share of the ceiling, its convolutions one by one: {', '.join(shares)}")
    stages = ("decoding alone", "levels alone", "writing alone")
    print(f"slowest stage: {max(stages, key=lambda stage: taken[stage])}")


if __name__ == "__main__":
    main()
