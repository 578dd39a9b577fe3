"""How a command ends: exit codes, and one line on stderr for whatever went wrong."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from data.tools.errors import UserError
from data.tools.terminal import complain, write_stderr


@contextmanager
def exit_codes(*, debug: bool, resume: str) -> Iterator[None]:
    """Turn what goes wrong inside into the exit codes and messages of every command.

    0 done; 1 a `UserError` or a failure of the system, one line on stderr and a traceback only
    with `debug`; 130 after Ctrl-C, followed by `resume`, the sentence that says how to go on.
    """
    try:
        yield
    except KeyboardInterrupt:
        complain("")
        complain(f"interrupted: {resume}")
        sys.exit(130)
    except click.ClickException:
        raise  # a usage error: click says it, and ends with 2
    except Exception as error:
        if debug:
            write_stderr(traceback.format_exc())
        complain(f"error: {in_one_line(error)}")
        sys.exit(1)


def in_one_line(error: Exception) -> str:
    """What went wrong; of what nobody expected, its type and how to see more, too."""
    text = " ".join(str(error).split())
    if isinstance(error, (UserError, OSError)):
        return text
    return f"{type(error).__name__}: {text} (unexpected; --debug shows where)"
