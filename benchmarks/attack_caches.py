"""Attack a cache folder in bulk: overwritten, deleted and begun anew, shared, on full disks.

    python -m benchmarks.attack_caches [--rounds 50]

A small untrained network with BatchNorm fills caches of two sets of made-up images. Each round does
every attack on a folder of its own, at a random moment.

1. A second run overwrites the cache with one of other images while the first is at work.
2. Two workers fill a cache, its folder is deleted and a cache of other images begun there; the
   workers go on with their queue, as orphans on a cluster would.
3. Three threads of one process fill a cache with one network, as in a Dask worker.
4. A run's files may not grow beyond a random size, as on a disk that is full; then it resumes.

After each: what is complete must be, byte for byte, what an undisturbed run of its images writes
(else it is mixed), what ended well must be there (else it is lost), and no process may end by a
signal that was not sent to it, nor with anything but 0 or a refusal (else it crashed).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.cache.files.manifest import read_manifest
from data.cache.shards import shard_count
from data.images.image_set import open_images
from data.tools.errors import UserError
from extract.backbones.backbone import Backbone, wrap_module
from extract.config import ExtractConfig
from extract.run import extract_features
from extract.shards.job import run_task
from tests.extraction import contents, make_photos, small_config

PROCESSES = multiprocessing.get_context("fork")
LONGEST = 120  # seconds of one process
Contents = dict[str, bytes]


class Bench:
    """Two sets of images, the caches that undisturbed runs make of them, and where to attack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        photos = [
            make_photos(folder / name, train=count) for name, count in (("a", 150), ("b", 90))
        ]
        self.configs = [small_config(place, folder, batch_size=4) for place in photos]
        started = time.monotonic()
        undisturbed = [
            extract(config, folder / f"whole-{n}") for n, config in enumerate(self.configs)
        ]
        self.seconds = (time.monotonic() - started) / 2
        self.manifests = [read_manifest(place) for place in undisturbed]
        self.whole = [contents(place) for place in undisturbed]

    def config(self, number: int, cache_dir: Path, **changes: Any) -> ExtractConfig:
        """Of the first or the second set of images."""
        return replace(self.configs[number], cache_dir=cache_dir, **changes)

    def begin(self, place: Path) -> Path:
        """The folder of a cache of the first images that has no shard yet."""
        folder = _cache(place)
        folder.mkdir(parents=True)
        for name in ("calibration.h5", "manifest.json"):
            (folder / name).write_bytes(self.whole[0][name])
        return folder

    def state(self, folder: Path) -> int | str:
        """Which undisturbed cache the folder holds; "unfinished", or "mixed" when it is neither."""
        if not (folder / "cache.h5").exists():
            return "unfinished"
        found = contents(folder)
        return self.whole.index(found) if found in self.whole else "mixed"


def network() -> Backbone:
    """Untrained, always the same."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)]
    return wrap_module(nn.Sequential(*layers), name="attacked", taps=("2", "3"), image_size=32)


def extract(config: ExtractConfig, cache_dir: Path | None = None) -> Path:
    """One run in this process."""
    return extract_features(replace(config, cache_dir=cache_dir or config.cache_dir), network())


def quietly(function: Callable[..., object], *arguments: object) -> None:
    """What a process of an attack does; ends with 1 after a `UserError`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what is refused is expected
    try:
        function(*arguments)
    except UserError:
        os._exit(1)
    except BaseException:
        os._exit(3)
    os._exit(0)


def overwritten(bench: Bench, place: Path, generator: random.Random) -> list[str]:
    """Attack 1."""
    first = _started(extract, bench.config(0, place))
    time.sleep(generator.uniform(0, 1.5 * bench.seconds))
    second = _started(extract, bench.config(1, place, overwrite=True))
    codes = [_ended(first), _ended(second)]
    faults = [f"crashed: {code}" for code in codes if code not in (0, 1)]
    state = bench.state(_cache(place))
    faults += ["mixed"] if state == "mixed" else []
    if codes[1] == 0 and state != 1:
        faults.append(f"lost: the second ended well, found {state}")
    if codes == [0, 1] and state != 0:
        faults.append(f"lost: the first ended well alone, found {state}")
    return faults + (["lost: both gave up"] if codes == [1, 1] else [])


def begun_anew(bench: Bench, place: Path, generator: random.Random) -> list[str]:
    """Attack 2."""
    config, folder = bench.config(0, place), bench.begin(place)
    shards = range(shard_count(len(bench.manifests[0].records)))
    orphans = [_started(_work, bench, config, folder, shards[part::2]) for part in range(2)]
    time.sleep(generator.uniform(0, bench.seconds))
    while folder.exists():
        with suppress(OSError):  # an orphan creates a file meanwhile
            shutil.rmtree(folder)
    second = _ended(_started(extract, bench.config(1, place)))
    codes = [_ended(orphan) for orphan in orphans]
    faults = [f"crashed: {code}" for code in (*codes, second) if code not in (0, 1)]
    if second == 1:  # an orphan held a shard: refused, and good once that has ended
        second = _ended(_started(extract, bench.config(1, place)))
    state = bench.state(folder)
    faults += ["mixed"] if state == "mixed" else []
    return faults + ([f"lost: {second}, {state}"] if (second, state) != (0, 1) else [])


def shared(bench: Bench, place: Path, _: random.Random) -> list[str]:
    """Attack 3."""
    config, folder = bench.config(0, place), bench.begin(place)
    code = _ended(_started(_work_in_threads, bench, config, folder))
    faults = [f"crashed: {code}"] if code else []
    code = _ended(_started(extract, config))  # writes the index
    state = bench.state(folder)
    return faults + ([f"mixed: {code}, {state}"] if (code, state) != (0, 0) else [])


def little_room(bench: Bench, place: Path, generator: random.Random) -> list[str]:
    """Attack 4."""
    config = bench.config(0, place)
    largest = max(map(len, bench.whole[0].values()))
    # Small files are as likely to be hit as large ones.
    room = int(10 ** generator.uniform(2, len(str(largest))))
    code = _ended(_started(_extract_in_little_room, config, room))
    faults = [f"crashed: {code} with files of {room} bytes"] if code not in (0, 1) else []
    if bench.state(_cache(place)) not in (("unfinished",) if code else (0,)):
        faults.append("mixed")
    faults += [f"left {path.name}" for path in _cache(place).glob("*.part")]
    code = _ended(_started(extract, config))
    state = bench.state(_cache(place))
    return faults + ([f"lost: {code}, {state}"] if (code, state) != (0, 0) else [])


def _work(bench: Bench, config: ExtractConfig, folder: Path, shards: range) -> None:
    """A worker and its queue: what is refused does not end it."""
    task = _task(bench, config, folder)
    for shard in shards:
        with suppress(UserError):
            run_task(*task, [shard])


def _work_in_threads(bench: Bench, config: ExtractConfig, folder: Path) -> None:
    task = _task(bench, config, folder)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda shard: run_task(*task, [shard]), range(3)))


def _task(bench: Bench, config: ExtractConfig, folder: Path) -> tuple[Any, ...]:
    """What a worker of the first cache is started with."""
    images = open_images(
        {"train": config.train, "test": config.test},
        limit=None,
        seed=0,
        num_workers=1,
        image_size=config.image_size,
    )
    return config, network(), images, folder, bench.manifests[0]


def _extract_in_little_room(config: ExtractConfig, room: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    extract(config)


def _cache(place: Path) -> Path:
    return place / "attacked-own-zeros-image-size-32"


def _started(work: Callable[..., object], *arguments: object) -> BaseProcess:
    process = PROCESSES.Process(target=quietly, args=(work, *arguments))
    process.start()
    return process


def _ended(process: BaseProcess) -> int:
    process.join(LONGEST)
    assert process.exitcode is not None, "a process waits for ever"
    return process.exitcode


def main() -> None:
    """Print how many rounds of each attack went wrong, and how."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a fork has none of the parent's threads
    generator = random.Random(0)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary))
        for attack in (overwritten, begun_anew, shared, little_room):
            found: list[str] = []
            for number in range(options.rounds):
                place = bench.folder / f"{attack.__name__}-{number}"
                found += attack(bench, place, generator)
                shutil.rmtree(place)
            kinds = Counter(line.split(":")[0].split()[0] for line in found)
            counts = ", ".join(
                f"{kinds[kind]} {kind}" for kind in ("mixed", "lost", "crashed", "left")
            )
            print(f"{attack.__name__}: {options.rounds} rounds, {counts}", flush=True)
            print("".join(f"  {line}\n" for line in found), end="", flush=True)
            wrong += len(found)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
