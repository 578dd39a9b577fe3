"""What the exactness audit measured for every backbone of the table. No torch here."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

from data.exactness import describe_changes
from data.vocabulary import TAPPED_LEVELS

PATH = Path(__file__).parent / "exactness.csv"  # made by benchmarks/exactness.py
COLUMNS = ("backbone", "padding", "image_size", *TAPPED_LEVELS, "uneven", "refused")


@lru_cache(1)
def read_exactness() -> list[dict[str, str]]:
    """One row per backbone and padding: changes of f1 to f5, or why the padding is refused."""
    with open(PATH, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def exactness_note(backbone: str) -> str:
    """Whether `backbone` has no border left under circular padding, and what its strides skip."""
    rows = [row for row in read_exactness() if row["backbone"] == backbone]
    circular = next((row for row in rows if row["padding"] == "circular"), None)
    if circular is None:
        return ""
    changes = {level: float(circular[level] or 0) for level in TAPPED_LEVELS}
    note = "circular " + ("refused" if circular["refused"] else describe_changes(changes))
    uneven = [part for part in circular["uneven"].split("+") if part]
    return f"{note}, {len(uneven)} uneven strides" if uneven else note
