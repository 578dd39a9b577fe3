"""What train-backbone wrote beside its weights, as far as it can be believed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from data.vocabulary import TASKS

MOST_BYTES = 2**16  # it is copied into every file of a cache and a run
_LARGEST_SEED = 2**63 - 1


def clean_provenance(found: object) -> dict[str, Any]:
    """`found` as JSON has it; {} unless it names a task of ours and a seed.

    It comes from a file that anybody may have written, and becomes part of names and of every
    manifest: so keys are text, numbers are finite (or null), there are no tuples, and what is
    larger than 64 kB is cut down to task and seed.
    """
    if not isinstance(found, Mapping):
        return {}
    task, seed = found.get("task"), found.get("seed")
    if (
        not isinstance(task, str)
        or task not in TASKS
        or type(seed) is not int
        or not 0 <= seed <= _LARGEST_SEED
    ):
        return {}
    try:
        plain = {str(key): _plain(value) for key, value in found.items()}
        text = json.dumps(plain)
    except RecursionError:
        return {"task": task, "seed": seed, "left_out": "nested too deeply"}
    if len(text) > MOST_BYTES:
        return {"task": task, "seed": seed, "left_out": f"{len(text)} bytes"}
    return dict(json.loads(text))


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int) or value is None else type(value).__name__
