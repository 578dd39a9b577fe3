"""What is left of a readout without its foremost channels, beside the loss of random ones.

A head that loses channels it relies on fails whether or not they alone said the place: only
solving again tells, and only random channels of the same number say how much is much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.channels.draws import random_order
from data.tools.errors import UserError

DRAWS = 10  # random sets of channels of each size

Index = NDArray[np.int64]  # of channels
Floats = NDArray[np.float64]
KEPT, RESOLVED, ALONE = "kept", "re-solved", "alone"
HEADS = (KEPT, RESOLVED, ALONE)


class Readout(Protocol):
    """Something that reads tasks from channels, and can do without some of them."""

    channels: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """What is read, in the order of the scores."""

    def kept(self, removed: Index) -> Floats:
        """The score of every task, (tasks,), of the head of all channels without some of them."""

    def solved(self, channels: Index) -> Floats:
        """The score of every task, (tasks,), of a head solved from these channels alone."""


@dataclass(frozen=True)
class Ablation:
    """A score without, or from, the top channels, beside those of random channels."""

    task: str
    ablated: int  # channels
    head: str  # one of `HEADS`
    value: float
    random: float  # mean over `DRAWS`
    random_sd: float


def ablations(
    readout: Readout, ranking: Index, counts: tuple[int, ...], seed: int
) -> Iterator[Ablation]:
    """Every head without (or, alone, with) the first channels of `ranking`, for each count.

    Count 0 is the readout as it is. Raises `UserError` for a count that leaves no channel.
    """
    for count in counts:
        if count >= readout.channels:
            raise UserError(
                f"--ablate {count}: the level has {readout.channels} channels: remove fewer"
            )
        draws = [random_order(readout.channels, seed, draw) for draw in range(DRAWS)]
        for head in HEADS if count else (KEPT,):
            value = _score(readout, head, ranking, count)
            random = np.stack([_score(readout, head, order, count) for order in draws])
            deviation = random.std(0, ddof=1)
            for place, task in enumerate(readout.tasks):
                yield Ablation(
                    task,
                    count,
                    head,
                    float(value[place]),
                    float(random.mean(0)[place]),
                    float(deviation[place]),
                )


def _score(readout: Readout, head: str, order: Index, count: int) -> Floats:
    if head == KEPT:
        return readout.kept(order[:count])
    return readout.solved(order[count:] if head == RESOLVED else order[:count])
