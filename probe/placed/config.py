"""Everything the readings of placed studies can be told. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from data.cache.pooled.reader import POOLINGS
from data.tools.parallel import BACKENDS, check_cluster, check_scheduler
from data.tools.settings import setting
from probe.config import LevelConfig
from probe.placed.names import READING_NAMES, SOLVER_NAMES


@dataclass(frozen=True)
class PlacedProbeConfig(LevelConfig):
    """Settings of `train_placed`: options of `train-probes --placed`."""

    solver: str | None = setting(
        "exact (ridge) or softmax regression (default both).", None, choices=SOLVER_NAMES
    )
    reading: tuple[str, ...] = setting(
        "What a head may see of a vector (repeatable; default all).", (), choices=READING_NAMES
    )
    pooling: tuple[str, ...] = setting(
        "Mean or maximum of a map (repeatable; default both).", (), choices=POOLINGS
    )
    threads: int | None = setting("Threads of the arithmetic of each run.", None, at_least=1)
    jobs: int = setting("Caches read at a time on this machine (loky).", 1, at_least=1)
    backend: str = setting("joblib backend of the caches.", "loky", choices=BACKENDS)
    scheduler: str | None = setting(
        "Address of the Dask scheduler, tcp://HOST:PORT.", None, check=check_scheduler
    )
    overwrite: bool = setting("Solve again what the results folder holds already.", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cluster(self.backend, self.scheduler)

    @property
    def solvers(self) -> tuple[str, ...]:
        """The solvers asked for."""
        return (self.solver,) if self.solver else SOLVER_NAMES
