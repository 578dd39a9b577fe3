"""Progress of long work: a bar on a terminal, timed lines with an ETA in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_INTERVAL_SECONDS = 15.0


def progress(
    items: Iterable[T], *, total: int, description: str, unit: str, step: int = 1
) -> Iterator[T]:
    """Yield `items` and show on stderr how far the work is.

    `total` counts units of work and each item stands for `step` of them (the last may be short).
    A terminal gets a tqdm bar; anything else gets one line every 15 s, and one at the end.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, desc=description, unit=unit, file=sys.stderr) as bar:
            for item in items:
                yield item
                bar.update(min(step, total - bar.n))
        return
    started = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done = min(done + step, total)
        now = time.monotonic()
        if done == total or now - last >= LOG_INTERVAL_SECONDS:
            last = now
            print(_line(description, unit, done, total, now - started), file=sys.stderr, flush=True)


def _line(description: str, unit: str, done: int, total: int, elapsed: float) -> str:
    rate = done / max(elapsed, 1e-9)
    remaining = (total - done) / max(rate, 1e-9)
    clock = time.strftime("%H:%M:%S")
    return (
        f"{clock} {description}: {done}/{total} {unit}, {rate:.1f} {unit}/s, "
        f"{elapsed:.0f} s elapsed, {remaining:.0f} s to go"
    )
