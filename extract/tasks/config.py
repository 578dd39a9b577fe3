"""What every task of `train-backbone` can be told. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from data.tools.errors import UserError
from data.tools.settings import MAX_SEED, check_settings, command_line, setting, spelled

_READ = ("data", "test", "images", "weights", "patch_root")  # by tasks that have them
LAST = "-last"  # ends the stem of the last epoch's checkpoint


@dataclass(frozen=True)
class TaskConfig:
    """Settings that all tasks share; a task adds its own, each an option of `train-backbone`."""

    task: str = setting("What to train for.")
    out: Path | None = setting(
        "Checkpoint of the best epoch; that of the last epoch lies beside it, as NAME-last. "
        "By default in the run's folder of results; saliency and segmentation need a name.",
        None,
    )
    results_dir: Path = setting("Folder to write scores to.", Path("results"))
    seed: int = setting(
        "Of the weights, the order of the images and the generated set.",
        0,
        at_least=0,
        at_most=MAX_SEED,
    )
    seeds: int = setting(
        "Networks to train, of the seeds SEED, SEED + 1, ..., side by side where cores allow; "
        "the checkpoint of each after the first is NAME-seedN.",
        1,
        at_least=1,
        at_most=10_000,
    )
    overwrite: bool = setting("Begin again instead of going on from the last epoch.", False)

    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {  # titles in the help of the command
        "The task": (
            *("task", "padding", "weights", "levels", "data", "test", "classes", "limit"),
            *("images", "margin", "image_size", "normalization", "mirror"),
        ),
        "The training": ("epochs", "batch_size", "optimizer", "learning_rate", "seed", "seeds"),
        "The results": ("out", "results_dir", "overwrite"),
        "The machine": ("device", "precision", "num_workers"),
    }
    family: ClassVar[str]  # of its scores: results/FAMILY/RUN/, joined in results/FAMILY.csv

    def __post_init__(self) -> None:
        check_settings(self)
        if self.out is not None:
            _check_name(self.out)

    @property
    def default_run(self) -> str:
        """What a run is called where `out` does not say it."""
        return f"{self.task}-seed{self.seed}"

    @property
    def run(self) -> str:
        """What the run is called: its folder of results, and its column in the scores."""
        return self.out.stem if self.out else self.default_run

    @property
    def folder(self) -> Path:
        """Where the results of the run lie."""
        return self.results_dir / self.family / self.run

    @property
    def checkpoint(self) -> Path:
        """Where the best epoch is kept."""
        return self.out or self.folder / f"{self.run}.pt"

    @property
    def command(self) -> str:
        """The call that trains the same from any folder: what it reads by its whole path."""
        read = {f.name: _whole(getattr(self, f.name)) for f in fields(self) if f.name in _READ}
        return command_line("train-backbone", replace(self, **read), leave_out=("overwrite",))

    def each_run(self) -> list[TaskConfig]:
        """The configurations of the single runs."""
        seeds = range(self.seed, self.seed + self.seeds)
        return [replace(self, seed=seed, seeds=1, out=self._out(seed)) for seed in seeds]

    def _out(self, seed: int) -> Path | None:
        if self.out is None or seed == self.seed:
            return self.out
        return self.out.with_name(f"{self.out.stem}-seed{seed}{self.out.suffix}")


def _whole(value: Any) -> Any:
    """Paths of what is there, absolute; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(map(_whole, value))
    if isinstance(value, Path):
        return value.expanduser().absolute()
    path = Path(value or "").expanduser()
    return str(path.absolute()) if path.suffix and path.is_file() else value


def _check_name(out: Path) -> None:
    """`UserError` unless the stem of `out` can name a run: a folder, and a cell of a table."""
    remedy = "give a name like saliency.pt"
    if not out.stem.strip(".") or not out.name.isprintable() or out.is_dir():
        what = "a folder" if out.is_dir() else "no name for a checkpoint"
        raise UserError(f"{spelled('out')} {str(out)!r}: {what}; {remedy}")
    if out.stem.endswith(LAST):
        raise UserError(
            f"{spelled('out')} {str(out)!r}: NAME{LAST} is where the last epoch of NAME is kept; "
            f"{remedy}"
        )
