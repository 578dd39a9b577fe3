"""Shards of a cache from images: decoding, computing and writing at the same time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from data.cache.shards import SHARD_IMAGES, ShardWriter
from data.cache.writer import CacheWriter
from data.images.image_set import ImageSet
from data.tools.errors import UserError
from data.tools.progress import progress
from extract.compute import HostLevels, LevelComputer
from extract.shards.loading import Batch, batch_rows, load_batches

T = TypeVar("T")

MOST_WAITING = 3  # batches between the device and the disk


@dataclass
class ShardReport:
    """What became of some shards, and where the time went, in seconds."""

    sha256: dict[int, str] = field(default_factory=dict)  # of every finished shard's file
    images: int = 0
    waited_for_images: float = 0.0
    waited_for_disk: float = 0.0

    def add(self, other: ShardReport) -> None:
        """Take in what another process did."""
        self.sha256 |= other.sha256
        self.images += other.images
        self.waited_for_images += other.waited_for_images
        self.waited_for_disk += other.waited_for_disk


def extract_shards(
    shards: Sequence[int],
    images: ImageSet,
    cache: CacheWriter,
    computer: LevelComputer,
    *,
    batch_size: int,
    num_workers: int,
    show_progress: bool = True,
) -> ShardReport:
    """Compute `shards` of the cache and write them.

    On any exception, Ctrl-C among them, finished shards stay and unfinished ones are removed.
    """
    report = ShardReport()
    parts = batch_rows(shards, len(images.records), batch_size)
    batches: Iterable[Batch] = load_batches(
        images,
        parts,
        num_workers=num_workers,
        pin_memory=computer.on_gpu,
        with_inputs=computer.reads_inputs,
    )
    if show_progress:
        batches = progress(
            batches,
            total=sum(map(len, parts)),
            description="extracting",
            unit="images",
            size=lambda batch: len(batch.rows),
        )
    with _ShardSink(cache, report) as sink:
        for batch in _timed(batches, report):
            sink.put(batch.rows, computer(batch.images, batch.inputs))
            report.images += len(batch.rows)
        sink.drain()
    return report


class _ShardSink:
    """Writes batches to shards behind the computation, in a thread of its own."""

    def __init__(self, cache: CacheWriter, report: ShardReport) -> None:
        self._cache = cache
        self._report = report
        self._writer: ShardWriter | None = None
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> _ShardSink:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
        if self._writer is not None:
            self._writer.discard()

    def put(self, rows: range, levels: HostLevels) -> None:
        """Write a batch soon; wait only when the disk is several batches behind."""
        self._waiting.append(self._thread.submit(self._write, rows, levels))
        self.drain(MOST_WAITING)

    def drain(self, most: int = 0) -> None:
        """Wait until at most `most` batches are unwritten. Raises what writing raised."""
        started = time.monotonic()
        while len(self._waiting) > most:
            self._waiting.popleft().result()
        self._report.waited_for_disk += time.monotonic() - started

    def _write(self, rows: range, levels: HostLevels) -> None:
        features, errors = levels.arrays()
        shard = rows.start // SHARD_IMAGES
        try:
            if self._writer is None:
                self._writer = ShardWriter(self._cache.folder, shard, self._cache.manifest)
            self._writer.write(features, errors)
            if rows.stop % SHARD_IMAGES == 0 or rows.stop == len(self._cache.manifest.records):
                self._cache.check_owner()
                self._report.sha256[shard] = self._writer.finish()
                self._writer = None
        except (OSError, RuntimeError) as error:  # HDF5 reports some full disks as RuntimeError
            raise UserError(
                f"shard {shard} could not be written to {self._cache.folder} ({error}): "
                "free space or mend the disk, then run the command again, without --overwrite, to "
                "resume"
            ) from error


def _timed(batches: Iterable[Batch], report: ShardReport) -> Iterator[Batch]:
    iterator = iter(batches)
    while True:
        started = time.monotonic()
        batch = next(iterator, None)
        report.waited_for_images += time.monotonic() - started
        if batch is None:
            return
        yield batch
