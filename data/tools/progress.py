"""Progress of long work: a bar on a terminal, timed lines with an ETA in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from data.tools.terminal import is_quiet, say, write_stderr

T = TypeVar("T")

LOG_INTERVAL_SECONDS = 15.0


@contextmanager
def meter(*, total: int, description: str, unit: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the units of work just done; it shows on stderr how far all is.

    A terminal gets a tqdm bar; anything else gets one line every 15 s, and one at the end.
    """
    if sys.stderr is not None and sys.stderr.isatty() and not is_quiet():
        with tqdm(total=total, desc=description, unit=unit, file=_Stderr()) as bar:

            def move(units: int) -> None:
                bar.update(units)

            yield move
        return
    started = last = time.monotonic()
    done = 0

    def advance(units: int) -> None:
        nonlocal last, done
        before, done = done, done + units
        now = time.monotonic()
        if before < total <= done or now - last >= LOG_INTERVAL_SECONDS:
            last = now
            say(_line(description, unit, done, total, now - started))

    yield advance


def progress(
    items: Iterable[T],
    *,
    total: int,
    description: str,
    unit: str,
    size: Callable[[T], int] = lambda item: 1,
) -> Iterator[T]:
    """Yield `items` and show on stderr how far the work is, as `meter` does.

    `total` counts units of work; `size` says how many an item stands for, asked when it is done.
    """
    with meter(total=total, description=description, unit=unit) as advance:
        for item in items:
            yield item
            advance(size(item))


class _Stderr:
    """The stream a bar is drawn on: stderr, whatever becomes of it."""

    encoding = property(lambda self: getattr(sys.stderr, "encoding", None))

    def write(self, text: str) -> None:
        write_stderr(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def fileno(self) -> int:
        """For the width of the terminal."""
        return 2


def _line(description: str, unit: str, done: int, total: int, elapsed: float) -> str:
    rate = done / max(elapsed, 1e-9)
    remaining = (total - done) / max(rate, 1e-9)
    clock = time.strftime("%H:%M:%S")
    return (
        f"{clock} {description}: {done}/{total} {unit}, {rate:.1f} {unit}/s, "
        f"{elapsed:.0f} s elapsed, {remaining:.0f} s to go"
    )
