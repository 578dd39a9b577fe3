"""The folder of a cache before and after the work: may it be used, does it fit, is it whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from data.cache.identity import MAKING, PLACES
from data.cache.index import shard_fault, write_index
from data.cache.manifest import differences, read_manifest
from data.cache.members import INDEX, MANIFEST, cache_files, remove_leftovers
from data.cache.reader import FeatureCache
from data.tools.errors import UserError
from data.tools.locks import CacheLocks
from data.tools.terminal import say
from extract.job import Job

_WAYS_OUT = "give --overwrite to make it again, or another --cache-dir to keep both"


def settle(job: Job) -> bool:
    """Agree with what the folder holds, or begin it; True when it holds this cache, complete.

    Raises `UserError`, with every difference, when its cache was made from something else.
    """
    if not (job.folder / MANIFEST).exists():
        _begin(job)
        return False
    before = read_manifest(job.folder)
    complete = is_complete(job)
    # The statistics are measured once; whether they are the same is seen when they are read.
    ignored = (*PLACES, "calibration", *(MAKING if complete else ()))
    found = differences(before, job.manifest, ignore=ignored)
    if found:
        raise UserError(
            f"{job.folder} was made from something else [{'; '.join(found)}]: {_WAYS_OUT}"
        )
    job.manifest = before
    if not complete:
        job.calibrate()
    return complete


def is_complete(job: Job) -> bool:
    """Whether the folder holds a cache that can be opened."""
    if not (job.folder / INDEX).exists():
        return False
    try:
        FeatureCache(job.folder)
    except UserError as error:
        say(f"repairing: {error}")
        return False
    return True


def check_space(job: Job, shards: Sequence[int], *, freed: int = 0) -> None:
    """Raise `UserError`, with both figures, unless the disk has room for `shards`."""
    needed, free = job.bytes_of(shards), shutil.disk_usage(job.folder).free + freed
    if needed > free:
        raise UserError(
            f"{job.folder} needs {needed / 1e9:.3g} GB more and its disk has {free / 1e9:.3g} GB "
            "free: free some, give another --cache-dir, or take fewer images (--limit)"
        )


def delete_cache(job: Job, locks: CacheLocks) -> None:
    """Make room for the cache to be made again."""
    files = cache_files(job.folder)
    check_space(job, job.shards, freed=sum(path.stat().st_size for path in files))
    with locks.shards(job.shards):  # nobody may be writing it
        for path in files:  # the index first: what is left is never taken for complete
            path.unlink()
        remove_leftovers(job.folder)


def complete(job: Job, known: Mapping[int, str]) -> None:
    """Write the index when every shard is there. `known`: shards whose SHA-256 is known."""
    missing = job.missing(job.shards)
    if missing:
        say(
            f"{len(missing)} of {len(job.shards)} shards are still missing: the job that ends "
            "last completes the cache"
        )
    elif not is_complete(job):
        write_index(job.folder, job.manifest, known)
        remove_leftovers(job.folder)


def _begin(job: Job) -> None:
    if job.backbone.has_untrained_batch_norm:
        calibration = job.measure_statistics()
        job.manifest = job.manifest.calibrated(calibration)
    faults = [shard_fault(job.folder, shard, job.manifest) for shard in job.shards]
    if "made from something else" in faults:
        raise UserError(
            f"{job.folder} has no {MANIFEST}, and shards made from something else: {_WAYS_OUT}"
        )
    job.manifest.write(job.folder)
