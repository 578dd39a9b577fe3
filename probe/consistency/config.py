"""Everything the consistency of pooled vectors can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from data.cache.pooled.reader import POOLINGS
from data.tools.settings import setting
from probe.config import LevelConfig


@dataclass(frozen=True)
class ConsistencyConfig(LevelConfig):
    """Settings of `measure_consistency`: options of `train-probes --consistency`."""

    pooling: tuple[str, ...] = setting(
        "Mean or maximum of a map (repeatable; default both).", (), choices=POOLINGS
    )
