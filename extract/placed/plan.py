"""What an extraction of placed images would make, in words; nothing is written."""

from __future__ import annotations

from data.cache.pooled.members import POOLED, block_paths
from data.cache.pooled.writer import PooledWriter, values_bytes
from data.images.placed.source import PlacedSource
from extract.placed.config import PlacedConfig
from extract.placed.run import PlacedJob, placed_jobs
from extract.shards.plan import plan_extraction


def plan_placed(config: PlacedConfig) -> str:
    """The plan of `extract_placed`: every cache, its images, vectors and bytes, what is finished.

    The bytes are those of the arrays; a few kilobytes of the file's own come on top. Raises
    `UserError` for what `extract_placed` refuses before its work.
    """
    return "\n".join(_plan(job) for job in placed_jobs(config))


def _plan(job: PlacedJob) -> str:
    if job.config.aligned:
        return plan_extraction(job.aligned, PlacedSource(job.images))
    identity = job.identity
    layout, levels = job.images.layout, identity.levels
    folder = job.config.placed_folder(identity, layout)
    return "\n".join(
        [
            f"{folder}: {_state(PooledWriter(folder, identity), overwrite=job.config.overwrite)}",
            f"  images: {identity.n_patches} patches at {len(layout.cells)} places of "
            f"{layout.image_size}x{layout.image_size} pixels: {len(job.images)}",
            "  levels: " + ", ".join(f"{name} {count}" for name, count in levels.items()),
            f"  size: {values_bytes(identity)} bytes of pooled vectors",
        ]
    )


def _state(writer: PooledWriter, *, overwrite: bool) -> str:
    if overwrite or not writer.folder.exists():
        return "to be made"
    if (writer.folder / POOLED).exists() and writer.is_complete():
        return "complete: nothing to do"
    return f"unfinished, {len(block_paths(writer.folder))} blocks are there"
