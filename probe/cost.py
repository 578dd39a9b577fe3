"""What a training would do and what it would cost, in words; nothing is written."""

from __future__ import annotations

from data.target_maps import know_target, load_targets, read_target
from probe.batches import CELLS, FLOAT16_BYTES
from probe.config import ProbeConfig
from probe.exact.matrices import find_matrices
from probe.heads.spec import HeadSpec
from probe.results import ResultsWriter
from probe.results.files import fault
from probe.train import Pass, Task, find_tasks


def plan_training(config: ProbeConfig) -> str:
    """The plan of `train_probes`: for every run the heads to train, those finished, and the cost.

    Raises `UserError` for all that `train_probes` refuses before its work.
    """
    load_targets(config.results_dir)
    for text in config.target:
        know_target(config.results_dir, *read_target(text))
    return "\n".join(_plan(task) for task in find_tasks(config))


def _plan(task: Task) -> str:
    pending = _pending(task)
    done = len(task.run.heads) - len(pending)
    lines = [f"{task.folder}: {len(pending)} heads to train, {done} finished"]
    lines += [f"  {line}" for line in _costs(task, pending)] if pending else []
    return "\n".join(lines)


def _pending(task: Task) -> list[HeadSpec]:
    config = task.config
    if config.overwrite or fault(task.folder):
        return list(task.run.heads)
    writer = ResultsWriter(task.folder, task.settings, threads=task.threads)
    finished = writer.finished_heads(control=config.control, curve=config.learning_curve)
    return [head for head in task.run.heads if head.name not in finished]


def _costs(task: Task, pending: list[HeadSpec]) -> list[str]:
    """A line for each pass over the cache."""
    run, config = task.run, task.config
    if config.solver != "exact":
        return [Pass.of(task, pending).cost]
    images = len(run.cache.rows("train"))
    matrices = find_matrices(pending, run, task.device, leave_out=config.sweep, sharing=config.jobs)
    return [
        f"{matrix.cost(images, 1, task.device)}; {_bytes_of(task, matrix.levels)} bytes to read"
        for matrix in matrices
    ]


def _bytes_of(task: Task, levels: tuple[str, ...]) -> int:
    channels = sum(task.run.cache.levels[level] for level in levels)
    return len(task.run.cache.records) * channels * CELLS * FLOAT16_BYTES
