"""Kill extractions at random moments, resume them, and compare with an uninterrupted cache.

    python -m benchmarks.kill_extraction [--kills 100]

Each run is a process of its own that extracts a small untrained network (with BatchNorm, so the
calibration is hit too) over 209 images into four shards; SIGKILL comes at a random moment of the
time an uninterrupted run takes. After every kill: a folder with an index must be a whole cache, and
every shard under its final name must be, byte for byte, that of the uninterrupted cache. When a
cache is complete it is compared file by file and the next one is begun.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data.cache.files.members import INDEX
from data.cache.verify import find_damage
from data.tools.files import PART
from extract.backbones.backbone import Backbone, wrap_module
from extract.config import ExtractConfig
from extract.run import extract_features

SIZE = 16  # pixels a side
WIDTH = 48  # channels of each level: 7 MB a shard and level


def kill_extractions(scratch: Path, kills: int, seed: int = 0) -> list[str]:
    """Kill `kills` extractions; what was not as it must be."""
    generator = np.random.default_rng(seed)
    reference = scratch / "reference"
    started = time.monotonic()
    assert _run(reference).exitcode == 0
    seconds = time.monotonic() - started
    expected = _contents(_folder(reference))
    failures: list[str] = []
    moments = Counter[str]()
    done = caches = 0
    target = scratch / "killed"
    while done < kills:
        process = _run(target, kill_after=generator.uniform(0, seconds))
        if process.exitcode == 0:
            caches += 1
            if _contents(_folder(target)) != expected:
                failures.append(f"cache {caches} differs from the uninterrupted one")
            shutil.rmtree(target)
            continue
        done += 1
        moments[_state(_folder(target))] += 1
        failures += _check(_folder(target), expected)
    assert _run(target).exitcode == 0
    if _contents(_folder(target)) != expected:
        failures.append("the last cache differs from the uninterrupted one")
    print(f"kills: {kills}; caches completed in between and compared: {caches + 1}")
    print("when the kills hit:", ", ".join(f"{n} {state}" for state, n in moments.most_common()))
    return failures


def _run(cache_dir: Path, kill_after: float | None = None) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=_extract, args=(cache_dir,))
    process.start()
    process.join(kill_after)
    process.kill()
    process.join()
    return process  # type: ignore[return-value]


def _extract(cache_dir: Path) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (the process ends with it)
    config = ExtractConfig(
        backbone="small",
        cache_dir=cache_dir,
        image_size=SIZE,
        precision="fp32",
        device="cpu",
        limit=135,  # and 64 test samples, and 10 plain ones
        num_workers=1,
    )
    extract_features(config, _backbone())


def _backbone() -> Backbone:
    torch.manual_seed(0)
    widths = (3, WIDTH, WIDTH, WIDTH)
    stages = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in zip(widths, widths[1:], strict=False)
    ]
    module = nn.Sequential(*stages)
    backbone = wrap_module(module, name="small", taps=("0", "1", "2"), image_size=SIZE)
    backbone.has_untrained_batch_norm = True
    return backbone


def _folder(cache_dir: Path) -> Path:
    return cache_dir / f"small-own-zeros-image-size-{SIZE}"


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def _state(folder: Path) -> str:
    if not folder.exists():
        return "before the folder"
    if (folder / INDEX).exists():
        return "after the index"
    shards = len(list(folder.glob("shard-*.h5")))
    writing = " and one half written" if list(folder.glob(f"shard-*{PART}")) else ""
    return f"with {shards} shards{writing}"


def _check(folder: Path, expected: dict[str, bytes]) -> list[str]:
    if not folder.exists():
        return []
    failures = []
    if (folder / INDEX).exists() and find_damage(folder):
        failures.append("an index over a cache that is not whole")
    for path in folder.glob("*.h5"):
        if path.read_bytes() != expected[path.name]:
            failures.append(f"{path.name} is partial or differs")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a forked process has none of its parent's threads
    with tempfile.TemporaryDirectory() as scratch:
        failures = kill_extractions(Path(scratch), arguments.kills)
    print("\n".join(failures) or "no failure")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
