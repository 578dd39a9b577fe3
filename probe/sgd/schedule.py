"""When a pass over the features ends, and when its learning rate falls."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data.protocols import TrainingRecipe


@dataclass(frozen=True)
class Schedule:
    """The steps of one pass, counted from 0; an epoch takes one step per batch."""

    per_epoch: int
    total: int  # where it is no multiple of `per_epoch`, the last epoch is cut short
    decay: int | None  # the first step at a tenth of the rate; None: there is none

    @classmethod
    def of(cls, recipe: TrainingRecipe, images: int) -> Schedule:
        """That of a recipe over `images` training images, those held out left aside."""
        per_epoch = math.ceil(images / recipe.batch_size)
        if recipe.epochs is None:
            assert recipe.steps is not None
            total, unit = recipe.steps, 1
        else:  # the rate falls between two epochs
            total, unit = recipe.epochs * per_epoch, per_epoch
        share = recipe.decay_after
        return cls(per_epoch, total, None if share is None else round(total / unit * share) * unit)

    @property
    def epochs(self) -> int:
        """Passes over the training images, one cut short included."""
        return math.ceil(self.total / self.per_epoch)

    def steps(self, epoch: int) -> range:
        """The steps of one epoch, counted from 0."""
        start = epoch * self.per_epoch
        return range(start, min(start + self.per_epoch, self.total))

    def rate(self, step: int) -> float:
        """The share of the initial learning rate that `step` is taken at."""
        return 1.0 if self.decay is None or step < self.decay else 0.1
