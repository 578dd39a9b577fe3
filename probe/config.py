"""Everything the training stage can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from data.protocols import PROTOCOLS
from data.target_maps import read_target
from data.targets import pattern_names
from data.tools.device import check_device
from data.tools.errors import UserError
from data.tools.parallel import BACKENDS, check_cluster, check_scheduler
from data.tools.settings import check_settings, command_line, listed, setting, spelled
from data.vocabulary import ALL_LEVELS, LEVELS, PADDINGS
from probe.heads.kind import probe_names
from probe.heads.spec import DENSE, DEPTHS, KERNEL_SIZES, PROBE_PADDINGS


@dataclass(frozen=True)
class CacheConfig:
    """What every stage that reads caches can be told: which ones, and where its results go."""

    cache_dir: Path = setting("Folder of the feature caches.", Path("features"))
    results_dir: Path = setting("Folder to write scores and trained heads to.", Path("results"))
    backbone: tuple[str, ...] = setting("Only caches of this backbone (repeatable).", ())
    padding: tuple[str, ...] = setting(
        "Only caches of this padding of the backbone (repeatable).", (), choices=PADDINGS
    )

    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {  # titles in the help of the command
        "Caches and results": ("cache_dir", "results_dir", "backbone", "padding", "overwrite"),
        "The heads": (
            *("sweep", "levels", "kernel_size", "depth", "probe_padding", "probe", "pattern"),
            *("target", "seeds", "control"),
        ),
        "The training": (
            *("protocol", "solver", "linear", "epochs", "steps", "batch_size", "learning_curve"),
        ),
        "The machine": (
            *("device", "precision", "preload", "threads", "num_workers"),
            *("jobs", "backend", "scheduler"),
        ),
        "Placed studies": (
            *("placed", "channels", "segmentation", "reading", "pooling"),
            *("rank", "ablate", "fill"),
        ),
    }

    def __post_init__(self) -> None:
        check_settings(self)

    def call(self, stage: str) -> str:
        """The call of `train-probes --STAGE` that has this configuration."""
        return command_line("train-probes", self, flags=(stage,), leave_out=("overwrite",))

    def wants(self, backbone: str, padding: str) -> bool:
        """Whether a cache of these is among those asked for."""
        return backbone in (self.backbone or (backbone,)) and padding in (
            self.padding or (padding,)
        )


@dataclass(frozen=True)
class LevelConfig(CacheConfig):
    """The same of a stage that reads one level at a time."""

    levels: tuple[str, ...] = setting(
        "Only these levels (repeatable; default all).", (), choices=LEVELS
    )


@dataclass(frozen=True)
class ProbeConfig(CacheConfig):
    """Settings of `train_probes`; each field is an option of `train-probes`."""

    sweep: bool = setting(
        "Train the heads that tables 1 to 4 need, narrowed by the options below; without it, "
        "every combination of the options below.",
        False,
    )
    protocol: str | None = setting(
        "Recipe to train with; by default the one each cache was made for.",
        None,
        choices=tuple(PROTOCOLS),
    )
    solver: str = setting(
        "sgd: the protocol's training; exact: the optimum of every linear head of depth 1, solved "
        "for in one pass.",
        "sgd",
        choices=("sgd", "exact"),
    )
    linear: bool = setting(
        "Train the heads of a protocol without their sigmoid.",
        False,
    )
    control: bool = setting(
        "Train every head on its scattered control target too, for its selectivity; the exact "
        "solver always does.",
        False,
    )
    learning_curve: bool = setting(
        "Exact solver: also score every head solved on the first 10, 20, 50, ... training images.",
        False,
    )
    epochs: int | None = setting(
        "Passes over the training images (default: the protocol's).", None, at_least=1
    )
    steps: int | None = setting(
        "Steps of the optimiser, instead of --epochs: as many passes as they take, the last one "
        "cut short.",
        None,
        at_least=1,
    )
    batch_size: int | None = setting("Images per step (default: the protocol's).", None, at_least=1)
    seeds: int = setting("Train every head from this many initial weights.", 1, at_least=1)
    levels: tuple[str, ...] = setting(
        "Levels a head reads: f5, f1+f2 or all (repeatable; default all).",
        (),
        check=lambda text: check_levels(text),
    )
    kernel_size: tuple[int, ...] = setting(
        "1, 3, 5 or 7 (repeatable; default 3).", (), choices=KERNEL_SIZES
    )
    depth: tuple[int, ...] = setting(
        "Convolutions in a head (repeatable; default 1).", (), choices=DEPTHS
    )
    probe_padding: tuple[int, ...] = setting(
        "Zeros around its input (repeatable; default 0).", (), choices=PROBE_PADDINGS
    )
    probe: tuple[str, ...] = setting(
        "Kind of readout (repeatable; default dense, the paper's maps; others are added from "
        "Python).",
        (),
        choices=probe_names,
    )
    pattern: tuple[str, ...] = setting(
        "Target position map (repeatable; default the paper's five).", (), choices=pattern_names
    )
    target: tuple[str, ...] = setting(
        "Target map of your own, NAME=FILE.npy: a square 2-D array (repeatable). Trained beside "
        "the patterns asked for, or alone.",
        (),
        check=read_target,
    )
    device: str = setting("auto, cpu or cuda[:N].", "auto", check=check_device)
    precision: str = setting(
        "Format of the large products; sums, losses and optimiser stay fp32.",
        "auto",
        choices=("auto", "fp32", "bf16"),
    )
    preload: str = setting(
        "Keep the features in memory, on the GPU, or stream them from disk.",
        "auto",
        choices=("auto", "none", "ram", "gpu"),
    )
    threads: int | None = setting(
        "Threads of the arithmetic of each run (default: torch's; a run goes on with those it was "
        "begun with). The last digits of a score depend on it, not on --jobs.",
        None,
        at_least=1,
    )
    num_workers: int = setting("Threads that score; 0 uses every core.", 0, at_least=0)
    jobs: int = setting("Caches trained from at a time on this machine (loky).", 1, at_least=1)
    backend: str = setting("joblib backend of the caches.", "loky", choices=BACKENDS)
    scheduler: str | None = setting(
        "Address of the Dask scheduler, tcp://HOST:PORT.", None, check=check_scheduler
    )
    overwrite: bool = setting("Train again what the results folder holds already.", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cluster(self.backend, self.scheduler)
        if self.epochs and self.steps:
            raise UserError(
                f"{spelled('epochs')} {self.epochs} and {spelled('steps')} {self.steps} both say "
                "when to stop: leave one out"
            )
        if self.solver == "exact":
            self._check_exact()
        elif self.learning_curve:
            raise UserError(
                f"{spelled('learning_curve')} needs nested solutions: add {spelled('solver')} exact"
            )

    @property
    def command(self) -> str:
        """The call that trains the same heads; maps of one's own by their whole path."""
        targets = (text.partition("=") for text in self.target)
        whole = tuple(f"{name}={Path(file).expanduser().absolute()}" for name, _, file in targets)
        return command_line("train-probes", replace(self, target=whole), leave_out=("overwrite",))

    def _check_exact(self) -> None:
        for name, asked, reason in (
            ("epochs", self.epochs, "it takes no steps"),
            ("steps", self.steps, "it takes none"),
            ("seeds", self.seeds > 1, "it starts from no weights"),
            ("precision", self.precision == "bf16", "its products are fp32, its sums fp64"),
            ("linear", self.linear, "its heads are linear"),
            ("preload", self.preload in ("ram", "gpu"), "it reads every image once"),
            ("probe", set(self.probe) - {DENSE}, "only dense maps have a closed form"),
            ("depth", set(self.depth) - {1}, "only a single convolution is linear"),
        ):
            if asked:
                raise UserError(
                    f"{spelled('solver')} exact has no use for {spelled(name)}: {reason}; leave "
                    "it out"
                )


def check_levels(text: str) -> None:
    """Raise `ValueError` unless `text` names levels: one, several joined by +, or all."""
    names = text.split("+")
    unknown = [name for name in names if name not in LEVELS]
    if text != ALL_LEVELS and unknown:
        raise ValueError(
            f"no level is called {unknown[0]!r}: use {listed(unknown[0], LEVELS)}, several joined "
            f"by +, or {ALL_LEVELS}"
        )
