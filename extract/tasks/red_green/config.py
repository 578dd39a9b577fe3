"""Everything the Red-Green networks can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from data.tools.settings import setting
from data.vocabulary import SMALL_PADDINGS
from extract.tasks.config import TaskConfig

BATCH = 200  # images a step


@dataclass(frozen=True)
class RedGreenConfig(TaskConfig):
    """Settings of the task red-green."""

    task: str = setting("What to train for.", choices=("red-green",))
    padding: str = setting(
        "What the convolutions see beyond the border.", "zeros", choices=SMALL_PADDINGS
    )
    epochs: int = setting("Passes over the training images, at most.", 50, at_least=1)
    limit: int | None = setting(
        "At most that many training images, and half as many of each test set.", None, at_least=2
    )

    family: ClassVar[str] = "red_green"

    @property
    def default_run(self) -> str:
        """Padding and seed, and what is not as published."""
        limited = f"-{self.limit}images" if self.limit else ""
        epochs = f"-{self.epochs}epochs" if self.epochs != 50 else ""
        return f"{self.padding}{limited}{epochs}-seed{self.seed}"
