"""Flip single bits anywhere in a small cache and see whether `--verify` finds each of them.

    python -m benchmarks.flip_bits [--flips 200] [--compression none|bitshuffle-lz4]

A file is drawn first and then one of its bits, so that small files (checksums, manifest, index)
are hit as often as features. After each flip the cache must be found damaged, and opening it and
reading all of it must either work or be refused: no crash, no other exception.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from data.cache.files.members import INDEX, cache_files
from data.cache.identity import Identity
from data.cache.reader import FeatureCache
from data.cache.verify import find_damage
from data.images.source import ImageRecord
from data.tools.errors import UserError
from tests.caches import write_cache

CHANNELS = {"input": 3, "f1": 4, "f2": 2}
IMAGES = 70  # two shards


def flip_bits(folder: Path, flips: int, seed: int = 0) -> list[str]:
    """Flip `flips` bits of the cache in `folder`, one at a time; what was not as it must be."""
    generator = np.random.default_rng(seed)
    files = cache_files(folder)
    failures, hits, refused = [], Counter[str](), 0
    for _ in range(flips):
        path = files[generator.integers(len(files))]
        whole = path.read_bytes()
        bit = int(generator.integers(8 * len(whole)))
        path.write_bytes(flipped(whole, bit))
        hits[path.name] += 1
        if not find_damage(folder):
            failures.append(f"{path.name} bit {bit}: not found")
        try:
            read_all(folder)
            if path.name == INDEX:
                failures.append(f"{path.name} bit {bit}: opened")
        except UserError:
            refused += 1
        path.write_bytes(whole)
    assert not find_damage(folder), "the cache is whole again"
    print(f"bits flipped: {flips} ({', '.join(f'{n} in {f}' for f, n in sorted(hits.items()))})")
    print(f"refused at opening: {refused}; found by verify: {flips - len(failures)}")
    return failures


def flipped(content: bytes, bit: int) -> bytes:
    """`content` with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def read_all(folder: Path) -> None:
    """Read every level of every image."""
    cache = FeatureCache(folder)
    for level in cache.levels:
        cache.read(level, np.arange(len(cache.records)))


def make_cache(folder: Path, compression: str = "none") -> FeatureCache:
    """A small cache of random features."""
    generator = np.random.default_rng(0)
    records = [ImageRecord(f"image-{n}.jpg", "train", f"{n:064x}") for n in range(IMAGES)]
    arrays = {
        level: generator.normal(size=(IMAGES, channels, 28, 28)).astype(np.float16)
        for level, channels in CHANNELS.items()
    }
    return write_cache(folder, Identity(compression=compression), records, arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--compression", default="none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "cache"
        make_cache(folder, arguments.compression)
        failures = flip_bits(folder, arguments.flips)
    print("\n".join(failures) or "no failure")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
