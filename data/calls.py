"""The calls that filled a results folder, of those stages whose results keep none themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from data.tools.errors import UserError
from data.tools.files import read_bytes, write_text
from data.tools.locks import locked

CALLS = "calls.json"


def keep_calls(results_dir: Path, calls: Iterable[str]) -> None:
    """Add command lines to those that are kept, in order; each once, and empty ones never."""
    with locked(results_dir / f".{CALLS}.lock"):
        kept = dict.fromkeys([*read_calls(results_dir), *filter(None, calls)])
        write_text(results_dir / CALLS, json.dumps(list(kept), indent=1) + "\n")


def read_calls(results_dir: Path) -> list[str]:
    """The command lines that are kept; `UserError` where they are damaged."""
    path = results_dir / CALLS
    try:
        calls = json.loads(read_bytes(path))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it") from None
    if not isinstance(calls, list) or not all(isinstance(call, str) for call in calls):
        raise UserError(f"{path} is damaged (it is no list of command lines): remove it")
    return calls
