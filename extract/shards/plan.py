"""What an extraction would make and what it would cost, in words; nothing is written."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data.cache.shards import shard_bytes, shard_rows
from data.images.source import ImageSource
from data.vocabulary import GRID
from extract.config import ExtractConfig
from extract.shards.job import Job
from extract.shards.prepare import prepare


def plan_extraction(config: ExtractConfig, images: ImageSource | None = None) -> str:
    """The plan of `extract_features`: cache, images, levels, bytes, steps, what is finished.

    The bytes are those of the shards, exactly; the index and the manifest come on top. Raises
    `UserError` for all that `extract_features` refuses before its work, but for a full disk.
    """
    job = prepare(config, None, images, dry=True)
    cache = job.cache
    levels = cache.manifest.levels
    counts = Counter(record.images for record in cache.manifest.records)
    every = list(cache.all_shards)
    missing = every if config.overwrite else _missing(job)
    own = [shard for shard in missing if shard in every[config.shard_index :: config.num_shards]]
    left = sum(len(shard_rows(shard, len(cache.manifest.records))) for shard in own)
    most = "at most " if config.compression != "none" else ""
    identity = cache.manifest.identity
    return "\n".join(
        [
            f"{cache.folder}: {_state(len(every) - len(missing), len(every))}",
            f"  images: {_listed(counts)}: {counts.total()}",
            f"  levels: {_listed(levels)}: {sum(levels.values())} channels, {GRID}x{GRID} float16",
            f"  size: {most}{_bytes(job, every)} bytes in {len(every)} shards; to write: "
            f"{most}{_bytes(job, own)} bytes, free: {_free(cache.folder)} bytes",
            f"  work: {left} images in {-(-left // job.batch_size)} batches of at most "
            f"{job.batch_size}, on {job.device} in {identity.precision}",
        ]
    )


def _missing(job: Job) -> list[int]:
    return [] if job.cache.is_complete() else job.cache.still_to_make()


def _state(done: int, every: int) -> str:
    if done == every:
        return "complete: nothing to do"
    return f"unfinished, {done} of {every} shards are there" if done else "to be made"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _bytes(job: Job, shards: Sequence[int]) -> int:
    return sum(shard_bytes(job.cache.manifest, shard) for shard in shards)


def _free(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
