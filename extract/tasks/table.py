"""The table of tasks: what `train-backbone` can train for. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from extract.tasks.config import TaskConfig
from extract.tasks.maps.config import MapConfig
from extract.tasks.pooled.config import PooledConfig
from extract.tasks.red_green.config import RedGreenConfig
from extract.tasks.rook.config import RookConfig
from extract.tasks.targeting.config import TargetingConfig

if TYPE_CHECKING:
    from extract.tasks.task import Task


@dataclass(frozen=True)
class Row:
    """One task: its settings with their defaults, and its network, data, loss and scores.

    `builder` is "module:name" of a function from a configuration to a `Task`; it is imported when
    a training begins, so that the command line needs no torch.
    """

    config: type[TaskConfig]
    builder: str

    def build(self, config: TaskConfig) -> Task:
        """The task that `config` asks for; `UserError` for unsuitable options or data."""
        module, _, name = self.builder.partition(":")
        build: Callable[[Any], Task] = getattr(import_module(module), name)
        return build(config)


TASKS: dict[str, Row] = {
    "saliency": Row(MapConfig, "extract.tasks.maps.task:MapTask"),
    "segmentation": Row(MapConfig, "extract.tasks.maps.task:MapTask"),
    "rook": Row(RookConfig, "extract.tasks.rook.task:RookTask"),
    "red-green": Row(RedGreenConfig, "extract.tasks.red_green.task:RedGreenTask"),
    "targeting": Row(TargetingConfig, "extract.tasks.targeting.task:TargetingTask"),
    "location": Row(PooledConfig, "extract.tasks.pooled.task:PooledTask"),
    "classification": Row(PooledConfig, "extract.tasks.pooled.task:PooledTask"),
}
