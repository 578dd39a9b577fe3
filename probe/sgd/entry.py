"""One head in a bank, and what it is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.protocols import TrainingRecipe
from probe.heads.kind import find_probe
from probe.heads.spec import HeadSpec


@dataclass(frozen=True, order=True)
class Entry:
    """One head in a bank: a `tuned` protocol tries a spec at several learning rates."""

    spec: HeadSpec
    learning_rate: float
    control: bool = False  # trained on the control task instead of the pattern

    def target(self, recipe: TrainingRecipe) -> NDArray[np.float64]:
        """What the head is trained on: of dense maps, a map (s, s)."""
        return find_probe(self.spec.probe).target(self.spec, recipe, self.control)
