"""The paper's scale on one machine: 10,533 training and 850 test images, VGG16, streamed.

    python -m benchmarks.paper_scale --folder DIR [--train 10533] [--test 850] [--keep]

Writes generated JPEGs (the embedded sample generator, 320x240), extracts untrained VGG16 features,
trains and scores the heads of tables 1, 2b, 3 and 4 with the three commands, each in a process of
its own, and prints wall time, peak resident memory and disk per stage. Needs about 30 GB of disk
below DIR, checked first and removed afterwards. A run that was killed, or kept with --keep, goes
on where it stopped: the stages then report the time of what was left (and a share of the ceiling
that says nothing).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import joblib
from PIL import Image

from benchmarks.ceilings import best_forward
from benchmarks.timing import machine
from data.images.samples import sample_image
from data.tools.device import find_device

BYTES_PER_IMAGE = 2_400_000  # of a VGG16 cache, and its JPEG
COMMAND = "from {module} import main; main(prog_name='{name}')"


def write_images(folder: Path, count: int, seed: int) -> None:
    """`count` generated JPEGs, 320x240; nothing where the folder exists."""
    if folder.exists():
        return
    folder.mkdir(parents=True)

    def write(index: int) -> None:
        image = Image.fromarray(sample_image(index, seed, 320)[:240])
        image.save(folder / f"{index:05d}.jpg", quality=90)

    parallel = joblib.Parallel(n_jobs=-1, batch_size=64)
    parallel(joblib.delayed(write)(index) for index in range(count))


def run_stage(name: str, module: str, *options: str) -> float:
    """One command in a process of its own; prints its wall time, which it returns, and memory."""
    start = time.perf_counter()
    code = COMMAND.format(module=module, name=name)
    process = subprocess.Popen([sys.executable, "-c", code, *options])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{name} failed")
    seconds = time.perf_counter() - start
    cores = (usage.ru_utime + usage.ru_stime) / seconds
    print(
        f"{name}: {seconds / 60:.1f} min wall, {cores:.2f} cores busy, "
        f"{usage.ru_maxrss / 2**20:.2f} GiB peak resident memory",
        flush=True,
    )
    return seconds


def print_share(seconds: float, images: int) -> None:
    """How much of the extraction VGG16's convolutions one by one would take."""
    ceiling = images * best_forward(find_device("auto"))
    print(f"share of the ceiling of convolutions: {ceiling / seconds:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--train", type=int, default=10_533)
    parser.add_argument("--test", type=int, default=850)
    parser.add_argument("--keep", action="store_true", help="leave the files where they are")
    options = parser.parse_args()
    needed = (options.train + options.test) * BYTES_PER_IMAGE
    options.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(options.folder).free
    if free < 1.1 * needed:
        sys.exit(f"{needed / 1e9:.0f} GB needed below {options.folder}, {free / 1e9:.0f} GB free")
    work = options.folder / "paper-scale"
    print(machine(), flush=True)
    try:
        start = time.perf_counter()
        write_images(work / "train", options.train, 0)
        write_images(work / "test", options.test, 1)
        print(f"generating images: {(time.perf_counter() - start) / 60:.1f} min", flush=True)
        features, results = str(work / "features"), str(work / "results")
        folders = ["--train", str(work / "train"), "--test", str(work / "test")]
        vgg = ["--backbone", "vgg16", "--weights", "random", "--cache-dir", features]
        seconds = run_stage("extract-features", "extract.cli", *vgg, *folders)
        print_share(seconds, options.train + options.test)
        size = sum(path.stat().st_size for path in Path(features).rglob("*") if path.is_file())
        print(f"cache: {size / 1e9:.1f} GB", flush=True)
        places = ["--cache-dir", features, "--results-dir", results]
        run_stage("train-probes", "probe.cli", "--sweep", "--depth", "1", *places)
        tables = ["--results-dir", results, "--out", str(work / "tables")]
        run_stage("make-tables", "analysis.cli", *tables)
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
