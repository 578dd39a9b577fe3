"""The one place that prints: results on stdout, everything else on stderr.

What is said on stderr never stops the work: it is dropped where nobody can read it (closed, full,
gone). A result that stdout does not take is an error, but the files are written by then. Names
are data: their control characters are shown as escapes, and what a terminal's encoding lacks too.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from data.tools.errors import UserError
from data.tools.printable import printable

_quiet = False


@contextmanager
def quietly(quiet: bool) -> Iterator[None]:
    """Inside, all threads leave out what they say of their work; errors are always said."""
    global _quiet
    before, _quiet = _quiet, quiet
    try:
        yield
    finally:
        _quiet = before


def is_quiet() -> bool:
    """Whether this process says nothing of its work."""
    return _quiet


def say(line: str) -> None:
    """One line of the work on stderr, if it can be had and is wanted. Never raises."""
    if not _quiet:
        complain(line)


def complain(line: str) -> None:
    """One line on stderr of what went wrong, if it can be had. Never raises."""
    write_stderr(printable(line) + "\n")


def show(text: str) -> None:
    """A result, of one or more lines, on stdout. A reader that has gone is no error.

    Raises `UserError` when stdout cannot be written, for example on a full disk.
    """
    if sys.stdout is None:
        return
    try:
        _write(sys.stdout, "".join(printable(line) + "\n" for line in text.split("\n")))
    except OSError as error:
        sys.stdout = _without_buffer(sys.stdout)
        if error.errno != errno.EPIPE:
            raise UserError(
                f"stdout cannot be written ({error.strerror}): free space, or print elsewhere"
            ) from None


def write_stderr(text: str) -> None:
    """`text` as it is on stderr, if it can be had. Never raises."""
    if sys.stderr is None:
        return
    try:
        _write(sys.stderr, text)
    except (OSError, ValueError):  # ValueError: the stream was closed
        sys.stderr = _without_buffer(sys.stderr)


def secure_streams() -> None:
    """Give a process that was started with closed streams silent ones.

    Otherwise the next file that is opened takes the number of stderr, and a library that warns
    writes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    sys.stdout = sys.stdout or _Silence()
    sys.stderr = sys.stderr or _Silence()


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _without_buffer(stream: TextIO) -> TextIO:
    """The same stream anew: what it could not write would be tried again when Python ends."""
    with suppress(OSError, ValueError):
        return open(
            stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, closefd=False
        )
    return _Silence()


class _Silence(io.StringIO):
    """A stream that forgets what it is told."""

    def write(self, text: str) -> int:
        return len(text)
