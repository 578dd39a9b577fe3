"""Everything the training stage can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.protocols import PROTOCOLS
from data.targets import PATTERNS
from data.tools.command import setting
from data.tools.parallel import BACKENDS


@dataclass(frozen=True)
class ProbeConfig:
    """Settings of `train_probes`; each field is an option of `train-probes`."""

    sweep: bool = setting(
        "Train the heads that tables 1 to 4 need, narrowed by the options below; without it, "
        "every combination of the options below.",
        False,
    )
    cache_dir: Path = setting("Folder of the feature caches.", Path("features"))
    results_dir: Path = setting("Folder to write scores and trained heads to.", Path("results"))
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
    epochs: int | None = setting("Passes over the training images (default: the protocol's).", None)
    batch_size: int | None = setting("Images per step (default: the protocol's).", None)
    seeds: int = setting("Train every head from this many initial weights.", 1)
    backbone: tuple[str, ...] = setting("Only caches of this backbone (repeatable).", ())
    levels: tuple[str, ...] = setting(
        "Levels a head reads: f5, f1+f2 or all (repeatable; default all).", ()
    )
    kernel_size: tuple[int, ...] = setting("1, 3, 5 or 7 (repeatable; default 3).", ())
    depth: tuple[int, ...] = setting("Convolutions in a head (repeatable; default 1).", ())
    probe_padding: tuple[int, ...] = setting("Zeros around its input (repeatable; default 0).", ())
    pattern: tuple[str, ...] = setting(
        "Target position map (repeatable; default all five).", (), choices=PATTERNS
    )
    device: str = setting("auto, cpu or cuda[:N].", "auto")
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
    )
    num_workers: int = setting("Threads that score; 0 uses every core.", 0)
    jobs: int = setting("Caches trained from at a time on this machine (loky).", 1)
    backend: str = setting("joblib backend of the caches.", "loky", choices=BACKENDS)
    scheduler: str | None = setting("Address of the Dask scheduler, tcp://HOST:PORT.", None)
    overwrite: bool = setting("Train again what the results folder holds already.", False)
