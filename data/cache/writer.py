"""A cache on its way: begun, filled shard by shard, completed, repaired, or made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from data.cache.files.locks import CacheLocks
from data.cache.files.manifest import (
    Manifest,
    describe_images,
    differences,
    is_manifest,
    read_identity,
    read_manifest,
)
from data.cache.files.members import (
    CALIBRATION,
    INDEX,
    MANIFEST,
    cache_files,
    remove_leftovers,
    shard_name,
)
from data.cache.identity import MAKING, NEVER_COMPARED, Calibration
from data.cache.index import DamagedShardError, shard_fault, write_index
from data.cache.reader import FeatureCache, OtherRecipeError
from data.cache.shards import shard_count, shard_rows
from data.images.source import ImageRecord
from data.tools.errors import UserError
from data.tools.files import FileStamp, file_stamp, read_bytes, write_bytes
from data.tools.terminal import say
from data.vocabulary import GRID

_FILE_OVERHEAD = 2**15  # bytes of a shard besides its features, at most
_WAYS_OUT = "give --overwrite to make it again, or another --cache-dir to keep both"

# Measures the statistics of an untrained network: what the manifest says of them, and their file.
Measure = Callable[[], tuple[Calibration, bytes]]
# Measures a network, given its statistics, for borders that are left: level -> change.
Audit = Callable[[], Mapping[str, float]]


class CacheWriter:
    """Owns what happens in a cache's folder; all of it concerns one manifest.

    As a context it holds the folder's lock file. It never writes, and needs no lock, to find that
    a cache is complete.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._owned: FileStamp = None  # of a manifest in the folder that was seen to be this one

    def __enter__(self) -> CacheWriter:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot create {self.folder} ({error}): give another --cache-dir"
            ) from error
        self._locks = CacheLocks(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._locks.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process sets up or completes the cache, and keep it so."""
        with self._locks.whole():
            yield

    @contextmanager
    def shards(self, shards: Sequence[int]) -> Iterator[None]:
        """Keep the shards to this process.

        Raises `UserError` when another process has one of them, or the folder is another cache's.
        """
        with ExitStack() as held:
            with self._locks.whole():  # or one that is refused could hold what its successor needs
                self.check_owner()
                held.enter_context(self._locks.shards(shards))
            yield

    def check_owner(self) -> None:
        """Raise `UserError` unless the folder is still that of this manifest.

        Between two shards another run may have made the cache again, or its folder may be gone.
        """
        stamp, found = None, None
        with suppress(UserError, OSError):
            stamp = file_stamp(self.folder / MANIFEST)
            if stamp is not None and stamp == self._owned:
                return  # a long one takes seconds to read, and there are many shards
            found = read_identity(self.folder).digest
        if found != self.manifest.digest:
            raise UserError(
                f"{self.folder} was deleted or begun anew by another run while this one was at "
                "work: nothing of this one was mixed in; run it again, or use another --cache-dir"
            )
        self._owned = stamp

    def check_images(self, now: Sequence[ImageRecord]) -> None:
        """Raise `UserError`, with the differences, unless these are the images of the cache."""
        identity = replace(self.manifest.identity, images=describe_images(now))
        found = differences(self.manifest, Manifest(identity, now))
        if found:
            raise UserError(_other_cache(self.folder, found))

    def is_complete(self) -> bool:
        """Whether the folder holds this cache, whole as far as opening it tells.

        Raises `UserError`, with every difference, when its cache was made from something else.
        """
        if not (self.folder / INDEX).exists():
            return False
        try:
            cache = FeatureCache(self.folder)
        except OtherRecipeError:
            raise
        except UserError as error:
            say(f"repairing: {error}")
            return False
        found = Manifest(cache.identity, cache.records, cache.bad)
        self._refuse_differences(found, ignore=MAKING)
        calibrated = cache.identity.calibration is not None
        if not (self.folder / MANIFEST).exists():
            return False
        return not calibrated or (self.folder / CALIBRATION).exists()

    def settle(self, measure: Measure | None, audit: Audit) -> None:
        """Agree with the unfinished cache in the folder, or begin one.

        `measure` is called for a network whose statistics have to be estimated, `audit` for what
        is measured of a network and kept with the cache. Raises `UserError`, with every difference,
        when work on another cache is in the folder, and when its disk has no room. Call it alone.
        """
        before = self._unfinished(calibrated=measure is not None)
        self.check_space(self.absent())
        if before is None:
            statistics = self._measure(measure, audit)
            self._refuse_foreign_shards()
            self._begin(statistics)
        else:
            self.manifest = before

    def replace(self, measure: Measure | None, audit: Audit) -> None:
        """Begin the cache in place of whatever cache is in the folder.

        Raises `UserError`, and deletes nothing, when a process is writing that one, when the new
        one cannot be begun or has no room, and when the manifest there is somebody else's. Only
        files of our own names are deleted. Call it alone.
        """
        self._refuse_foreign_manifest()
        files = cache_files(self.folder)
        self.check_space(self.all_shards, freed=sum(path.lstat().st_size for path in files))
        with self._locks.shards(self._shards_of_any()):
            statistics = self._measure(measure, audit)
            self._remove(files)
            self._begin(statistics)

    def still_to_make(self) -> list[int]:
        """The shards that an unfinished cache in the folder lacks; writes nothing, needs no lock.

        Raises `UserError` when they were made from something else.
        """
        if not (self.folder / MANIFEST).exists() or len(self.absent()) == len(self.all_shards):
            return list(self.all_shards)
        before = self._kept_manifest()
        self._refuse_differences(before)
        return [s for s in self.all_shards if shard_fault(self.folder, s, before) is not None]

    def missing(self, shards: Iterable[int]) -> list[int]:
        """Those of `shards` that are not there, or not right."""
        return [s for s in shards if shard_fault(self.folder, s, self.manifest) is not None]

    def absent(self) -> list[int]:
        """Shards that no file is there of, which is quicker to say than whether it is right."""
        names = {path.name for path in cache_files(self.folder)}
        return [shard for shard in self.all_shards if shard_name(shard) not in names]

    def complete(self, known: Mapping[int, str], own: Iterable[int]) -> bool:
        """Write the index when every shard is there; False when one of `own` has to be made again.

        `known`: shards whose SHA-256 is known; every other is read in full, and removed when it is
        damaged. Call it alone.
        """
        self.check_owner()
        if self.missing(own):
            return False
        missing = self.absent() or self.missing(self.all_shards)
        if missing:
            say(
                f"{len(missing)} of {len(self.all_shards)} shards are still missing: the job that "
                "ends last completes the cache"
            )
            return True
        if not self.is_complete():
            self.manifest = read_manifest(self.folder)  # no job has read all of it yet
            try:
                write_index(self.folder, self.manifest, known)
            except DamagedShardError as error:
                say(f"repairing: {error}")
                error.path.unlink()
                return False
        remove_leftovers(self.folder)
        return True

    def calibration(self) -> bytes | None:
        """The statistics kept with the cache, if they are there."""
        with suppress(FileNotFoundError):
            return read_bytes(self.folder / CALIBRATION)
        return None

    def keep_calibration(self, content: bytes) -> None:
        """Keep the statistics with the cache: new ones, or those that were lost."""
        write_bytes(self.folder / CALIBRATION, content)

    def abandon(self) -> None:
        """Leave nothing of this cache where it was begun and has no shard; call it alone."""
        with suppress(OSError, UserError):  # the folder may be gone, or another cache's by now
            self.check_owner()
            if not self._holds_work():
                self._remove(cache_files(self.folder))

    @property
    def all_shards(self) -> range:
        """All shards of the cache."""
        return range(shard_count(len(self.manifest.records)))

    def bytes_of(self, shards: Iterable[int]) -> int:
        """What the shards take on disk, uncompressed."""
        image = sum(self.manifest.levels.values()) * GRID * GRID * 2
        counts = [len(shard_rows(shard, len(self.manifest.records))) for shard in shards]
        return sum(counts) * image + len(counts) * _FILE_OVERHEAD

    def check_space(self, shards: Sequence[int], *, freed: int = 0) -> None:
        """Raise `UserError`, with both figures, unless the disk has room for `shards`."""
        needed, free = self.bytes_of(shards), shutil.disk_usage(self.folder).free + freed
        if needed > free:
            raise UserError(
                f"{self.folder} needs {needed / 1e9:.3g} GB more and its disk has "
                f"{free / 1e9:.3g} GB free: free some, give another --cache-dir, or take fewer "
                "images (--limit)"
            )

    def _unfinished(self, *, calibrated: bool) -> Manifest | None:
        """The manifest of this cache in the folder; None where nothing stands in its way.

        `calibrated`: whether a network of this kind has statistics of its own.
        """
        if not (self.folder / MANIFEST).exists():
            return None
        self._refuse_foreign_manifest()
        try:
            stamp = file_stamp(self.folder / MANIFEST)
            before = self._kept_manifest()
            # The statistics are measured once: whether they are the same is seen when read.
            self._refuse_differences(before)
            if calibrated != (before.identity.calibration is not None):
                raise UserError(f"{self.folder / MANIFEST} was edited: {_WAYS_OUT}")
        except UserError:
            if self._holds_work():
                raise
            return None  # a run that ended before its first shard: nothing would be mixed
        self._owned = stamp
        return before

    def _kept_manifest(self) -> Manifest:
        """That in the folder; what it lists is read only where its images are not these."""
        identity = read_identity(self.folder)
        if identity.images != self.manifest.identity.images:
            return read_manifest(self.folder)
        return replace(self.manifest, identity=identity)

    def _refuse_differences(self, before: Manifest, ignore: Sequence[str] = ()) -> None:
        ignored = (*NEVER_COMPARED, "calibration", *ignore)
        found = differences(before, self.manifest, ignore=ignored)
        if found:
            raise UserError(_other_cache(self.folder, found))

    def _refuse_foreign_manifest(self) -> None:
        """Raise `UserError` when the folder's manifest.json is somebody else's."""
        path = self.folder / MANIFEST
        if not path.exists():
            return
        with suppress(UserError):
            read_identity(self.folder)
            return
        try:
            ours = is_manifest(json.loads(read_bytes(path)))
        except ValueError:  # damaged, if it lies beside the rest of a cache
            ours = len(cache_files(self.folder)) > 1
        if not ours:
            raise UserError(
                f"{path} is not that of a feature cache: move it away, or give another --cache-dir"
            )

    def _holds_work(self) -> bool:
        """Whether a shard is in the folder, or a process is about to write one."""
        names = {path.name for path in cache_files(self.folder)}
        if names - {MANIFEST, CALIBRATION}:
            return True
        try:
            with self._locks.shards(self._shards_of_any()):
                return False
        except UserError:
            return True

    def _shards_of_any(self) -> range:
        """All shards that a process may be writing here: of this cache, or of the one before."""
        images = len(self.manifest.records)
        with suppress(UserError, OSError):  # none there, or damaged
            images = max(images, read_identity(self.folder).images.total)
        return range(shard_count(images))

    def _measure(self, measure: Measure | None, audit: Audit) -> bytes | None:
        """The statistics of an untrained network; what was measured is in the manifest."""
        content = None
        if measure is not None:
            calibration, content = measure()
            self.manifest = self.manifest.calibrated(calibration)
        self.manifest = self.manifest.audited(audit())
        return content

    def _refuse_foreign_shards(self) -> None:
        faults = [shard_fault(self.folder, shard, self.manifest) for shard in self.all_shards]
        if "made from something else" in faults:
            raise UserError(
                f"{self.folder} has no {MANIFEST}, and shards made from something else: {_WAYS_OUT}"
            )

    def _begin(self, statistics: bytes | None) -> None:
        if statistics is not None:
            self.keep_calibration(statistics)
        self.manifest.write(self.folder)

    def _remove(self, files: Iterable[Path]) -> None:
        try:
            for path in files:  # the index first: what is left is never taken for complete
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot delete {error.filename} ({error.strerror}): delete it yourself, or give "
                "another --cache-dir"
            ) from error
        remove_leftovers(self.folder)


def _other_cache(folder: Path, differences: Sequence[str]) -> str:
    return f"{folder} was made from something else [{'; '.join(differences)}]: {_WAYS_OUT}"
