"""What the exactness audit says, in words: whether a border is left in a network's levels."""

from __future__ import annotations

from collections.abc import Mapping

EXACT = 1e-6  # a smaller relative change of a pooled channel is rounding


def describe_changes(changes: Mapping[str, float]) -> str:
    """In words: "exact", or the first level that changes over the places and the largest change."""
    changed = [level for level, change in changes.items() if not change <= EXACT]
    if not changed:
        return "exact"
    return f"changes by {max(changes.values()):.2g} from {changed[0]}"
