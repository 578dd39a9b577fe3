"""How long a job over very many images takes to its first one.

    python -m benchmarks.start --folder DIR [--images 1000000]

Writes distinct grey PNG files of 16x16 pixels (a block of the disk each) in folders of 1,000, then
starts `extract_features` with a network of one layer at 32 pixels, each time in a process of its
own: the first job, which examines every file; jobs of one shard; a resumed run of all shards, which
is stopped at its first image. Prints wall time, processor time and peak memory up to the first
image, and what of them the imports alone take. Everything is removed afterwards.
"""

from __future__ import annotations

import argparse
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import NoReturn

from data.cache.shards import SHARD_IMAGES, shard_count
from data.tools.progress import progress

PER_FOLDER = 1000
OTHERS = 2 * SHARD_IMAGES  # at least as many images as come beside: samples, black, white, noise
SIDE = 16  # pixels
JOBS = {"first job, of one shard": 0, "job of one shard": 1, "the same of another": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where to write the files")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)  # in a process of its own
    arguments = parser.parse_args()
    if arguments.job is not None:
        run(arguments.folder, arguments.images, arguments.job)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_images(folder / "images", arguments.images)
        print(f"load average {os.getloadavg()[0]:.1f}; to the first image:")
        for what, job in {**JOBS, "resumed run of all shards": -1}.items():
            print(f"{what}: {started(folder, arguments.images, job)}", flush=True)


def write_images(folder: Path, count: int) -> None:
    starts = range(0, count, PER_FOLDER)
    for start in progress(starts, total=len(starts), description="writing", unit="folders"):
        inside = folder / f"{start // PER_FOLDER:04d}"
        inside.mkdir(parents=True)
        for number in range(start, min(start + PER_FOLDER, count)):
            (inside / f"image-{number:07d}.png").write_bytes(png(number))


def png(number: int) -> bytes:
    """A grey PNG file whose pixels are those of this number alone."""
    rows = [b"\0" + (number * 2**40 + row).to_bytes(SIDE, "little") for row in range(SIDE)]
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    chunks = b"IHDR" + header, b"IDAT" + zlib.compress(b"".join(rows), 0), b"IEND"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def started(folder: Path, images: int, job: int) -> str:
    """What a job says of its start."""
    command = [sys.executable, "-m", "benchmarks.start", "--folder", str(folder)]
    command += ["--images", str(images), "--job", str(job)]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def run(folder: Path, images: int, job: int) -> NoReturn:
    """Extract one shard, or (-1) begin with all of them, and say when the first image is loaded."""
    began = time.perf_counter()
    from torch import nn

    from data.images.image_set import ImageSet
    from extract.backbones.backbone import wrap_module
    from extract.config import ExtractConfig
    from extract.run import extract_features

    imported = spent(began)
    load = ImageSet.load

    def first(self: ImageSet, index: int):  # type: ignore[no-untyped-def]
        ImageSet.load = load  # type: ignore[method-assign]
        print(f"{spent(began)}; imports {imported}", flush=True)
        if job < 0:
            os._exit(0)
        return load(self, index)

    ImageSet.load = first  # type: ignore[method-assign]
    config = ExtractConfig(
        backbone="start",
        train=folder / "images",
        cache_dir=folder / "features",
        image_size=32,
        num_workers=1,
        device="cpu",
        precision="fp32",
        num_shards=1 if job < 0 else shard_count(images + OTHERS),
        shard_index=max(job, 0),
    )
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    extract_features(config, wrap_module(network, name="start", taps=("1",)))
    sys.exit()


def spent(began: float) -> str:
    """Wall time since `began`, and processor time and peak memory of this process."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # of KiB
    wall = time.perf_counter() - began
    return f"{wall:.1f} s, {time.process_time():.1f} s of a processor, {memory:.2f} GiB"


if __name__ == "__main__":
    main()
