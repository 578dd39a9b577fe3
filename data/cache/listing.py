"""What a folder of caches holds, and removing one of them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from data.cache.files.locks import LOCK, CacheLocks
from data.cache.files.manifest import read_identity
from data.cache.files.members import INDEX, MANIFEST, cache_files, remove_leftovers, shard_name
from data.cache.reader import FeatureCache
from data.cache.shards import shard_count
from data.tools.errors import UserError
from data.tools.listing import folder_lines


def cache_listing(cache_dir: Path) -> str:
    """A line for each feature cache below `cache_dir`: name, megabytes, state.

    Raises `UserError` where there is none.
    """
    folders = sorted(path.parent for path in cache_dir.glob(f"*/{MANIFEST}"))
    if not folders:
        raise UserError(f"no feature cache in {cache_dir}: run extract-features first")
    return folder_lines(folders, _bytes, cache_state)


def cache_state(folder: Path) -> str:
    """Complete, how far it is, or what is wrong with it."""
    try:
        images = read_identity(folder).images.total
        if (folder / INDEX).exists():
            FeatureCache(folder)
            return f"complete, {images} images"
    except (UserError, OSError) as error:
        return f"cannot be read: {error}"
    shards = shard_count(images)
    done = sum((folder / shard_name(shard)).exists() for shard in range(shards))
    return f"unfinished, {done} of {shards} shards of {images} images"


def remove_cache(folder: Path) -> str:
    """Delete the feature cache in `folder`, and the folder where nothing else is in it.

    Only files of our own names go, and only while no process works on them. Returns what was
    done, in a sentence; raises `UserError` where there is no cache of ours, or it is at work.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} is no feature cache (it has no {MANIFEST}): nothing was removed")
    shards = range(shard_count(read_identity(folder).images.total))
    size = _bytes(folder)
    with ExitStack() as held:
        locks = held.enter_context(CacheLocks(folder))
        held.enter_context(locks.whole())
        held.enter_context(locks.shards(shards))
        for path in cache_files(folder):  # the index first: what is left is never complete
            path.unlink()
        remove_leftovers(folder)
    others = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
    if others:
        return f"removed {size / 1e6:.1f} MB; kept {folder}, which holds {', '.join(others[:5])}"
    (folder / LOCK).unlink(missing_ok=True)
    folder.rmdir()
    return f"removed {folder}, {size / 1e6:.1f} MB"


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in cache_files(folder))
