"""The training stage: from feature caches to scores and trained heads."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from data.images.source import shared_images
from data.protocols import TrainingRecipe, steps_needed
from data.target_maps import keep_target, load_targets, read_target
from data.tools.device import arithmetic_threads, find_device, has_fast_bfloat16
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.parallel import run_tasks
from data.tools.terminal import say
from data.vocabulary import UNDER_TRAINED
from probe import results
from probe.batches import CELLS, FeatureBatches, resolve_preload
from probe.config import ProbeConfig
from probe.evaluation import Ending, Trained, evaluate
from probe.exact.solve import solve_heads
from probe.heads.kind import find_probe
from probe.heads.spec import HeadSpec
from probe.plan import Run, plan_runs
from probe.sgd.bank import Bank
from probe.sgd.checkpoint import Checkpoint
from probe.sgd.convergence import convergence
from probe.sgd.entry import Entry
from probe.sgd.estimate import estimate
from probe.sgd.fit import Split, fit, split_rows
from probe.sgd.schedule import Schedule
from probe.sgd.whitening import channel_covariance


@dataclass(frozen=True)
class Task:
    """One run to train, and with what."""

    run: Run
    config: ProbeConfig
    device: torch.device
    dtype: torch.dtype  # of the large products
    threads: int  # of the arithmetic, unless the run was begun with another number

    @property
    def folder(self) -> Path:
        """Of the run's results."""
        return self.config.results_dir / self.run.name

    @property
    def settings(self) -> results.RunSettings:
        """Everything that may not differ between the heads of the run."""
        return results.RunSettings(
            protocol=self.run.protocol.name,
            recipe=self.run.recipe,
            precision=str(self.dtype).removeprefix("torch."),
            cache=self.run.identity,
            threads=self.config.threads,
            about=_about(self.run, self.device),
        )


def train_probes(config: ProbeConfig) -> Path:
    """Train and score every head the options ask for, from every cache; returns `scores.csv`.

    Heads whose results are complete are left alone; an interrupted pass goes on from its last
    epoch. Raises `UserError` for unsuitable options or caches, and when the results folder holds
    runs made with other settings.
    """
    check_writable(config.results_dir, "--results-dir")
    for text in config.target:
        keep_target(config.results_dir, *read_target(text))
    tasks = find_tasks(config)
    missing = list(
        run_tasks(
            _train_run,
            [(task,) for task in tasks],
            jobs=config.jobs,
            backend=config.backend,
            scheduler=config.scheduler,
        )
    )
    if all(missing):
        raise UserError(
            f"none of the heads of {', '.join(task.run.name for task in tasks)} fits into the "
            "memory: read fewer --levels, or use a --device with more memory"
        )
    return results.write_all_scores(config.results_dir)


def find_tasks(config: ProbeConfig) -> list[Task]:
    """The runs to train, and with what; writes nothing. Raises as `train_probes`."""
    device = find_device(config.device)
    exact = config.solver == "exact"
    dtype = torch.float32 if exact else compute_dtype(config.precision, device)
    # The same number however many caches are trained from at a time: the last digits of a score
    # depend on it.
    threads = config.threads or torch.get_num_threads()
    tasks = [Task(run, config, device, dtype, threads) for run in plan_runs(config)]
    if not config.overwrite:
        for task in tasks:
            results.refuse_other_settings(task.folder, task.settings)
    return tasks


def load_head(results_dir: Path, run: str, head: str) -> nn.Module:
    """A trained head as a plain module in evaluation mode.

    (B, C, 28, 28) float32 to (B, 1, n, n) of dense maps, to (B, 1, ...) of another kind.
    """
    spec, facts, weights = results.read_head(results_dir, run, head)
    recipe = TrainingRecipe.from_json(facts["recipe"])
    module = find_probe(spec.probe).build(spec, facts["channels"], recipe)
    state = {key: torch.from_numpy(np.asarray(values)) for key, values in weights.items()}
    module.load_state_dict(state)
    return module.eval()


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The format of the large products: bf16 where the device multiplies it in hardware."""
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def _train_run(task: Task) -> bool:
    """Train what the run lacks; whether it lacks all of it still, because nothing fits."""
    run, config = task.run, task.config
    load_targets(config.results_dir)  # in a process of its own nothing is known of them
    with results.ResultsWriter(
        task.folder, task.settings, threads=task.threads, overwrite=config.overwrite
    ) as writer:
        finished = writer.finished_heads(control=config.control, curve=config.learning_curve)
        pending = [head for head in run.heads if head.name not in finished]
        say(f"{run.name}: {len(pending)} heads to train, {len(run.heads) - len(pending)} finished")
        if pending:
            writer.note(config.command)
        with arithmetic_threads(writer.threads):
            if config.solver == "exact":
                return not solve_heads(run, pending, config, task.device)
            for heads, checkpoint in _passes(task, pending, writer):
                _train_pass(task, heads, checkpoint)
    return False


def _passes(
    task: Task, pending: list[HeadSpec], writer: results.ResultsWriter
) -> list[tuple[list[HeadSpec], Checkpoint]]:
    """The passes to make: interrupted ones as they were begun, then one for the other heads."""
    settings = {**writer.settings.content(), "control": task.config.control}
    checkpoints = [Checkpoint(path, settings) for path in writer.checkpoints]
    passes = []
    for checkpoint in checkpoints:
        begun = checkpoint.heads()
        if begun and set(begun) <= set(pending):
            passes.append((begun, checkpoint))
            pending = [head for head in pending if head not in begun]
        else:
            checkpoint.remove()
    return [*passes, (pending, checkpoints[0])] if pending else passes


@dataclass(frozen=True)
class Pass:
    """Heads that are trained together, and on what."""

    task: Task
    bank: Bank
    batches: FeatureBatches
    split: Split

    @classmethod
    def of(cls, task: Task, heads: list[HeadSpec]) -> Pass:
        """The pass that trains these heads of a run."""
        recipe, cache, config = task.run.recipe, task.run.cache, task.config
        read = {level for head in heads for level in head.levels}
        levels = {name: channels for name, channels in cache.levels.items() if name in read}
        entries = [
            Entry(head, rate, control)
            for head in heads
            for control in ((False, True) if config.control else (False,))
            for rate in recipe.learning_rates
        ]
        needed = len(cache.records) * sum(levels.values()) * CELLS * task.dtype.itemsize
        preload = resolve_preload(config.preload, needed, task.device, sharing=config.jobs)
        return cls(
            task,
            Bank(entries, levels, recipe).to(task.device),
            FeatureBatches(cache, tuple(levels), task.dtype, task.device, preload),
            split_rows(cache.rows("train"), cache.rows("test"), recipe.heldout_share),
        )

    @property
    def cost(self) -> str:
        """What it takes, in a line."""
        recipe, images = self.task.run.recipe, len(self.split.train)
        cost = estimate(self.bank, self.batches, images, len(self.split.heldout), recipe)
        return f"{self.task.run.name}: {cost}; {_steps(recipe, images)}"


def _train_pass(task: Task, heads: list[HeadSpec], checkpoint: Checkpoint) -> None:
    run, work = task.run, Pass.of(task, heads)
    bank, batches = work.bank, work.batches
    say(work.cost)
    batches.keep(np.arange(len(run.cache.records)))
    if run.recipe.conditioned:
        bank.whiten(channel_covariance(batches, work.split.train, run.recipe.batch_size))
    losses = fit(bank, batches, work.split, checkpoint, f"{run.name}: training")
    trained = Trained(run, bank, batches, losses, _endings(bank, losses))
    results.write_heads(task.folder, evaluate(trained, task.config.num_workers))
    checkpoint.remove()


def _steps(recipe: TrainingRecipe, images: int) -> str:
    """How many steps `images` training images give, and what to do where they are too few."""
    steps, needed = Schedule.of(recipe, images).total, steps_needed(recipe)
    text = f"{steps} steps"
    if steps >= needed:
        return text
    other = "" if recipe.conditioned else "--protocol tuned, "
    return (
        f"{text}, where {needed} are needed: the heads will count as {UNDER_TRAINED} and decide no "
        f"claim; use --solver exact, {other}--steps {needed} or a smaller --batch-size"
    )


def _endings(bank: Bank, losses: Tensor) -> list[Ending]:
    """How the training of every entry ended; `losses` is (epochs, 2, entries)."""
    histories = losses[:, 0].T.tolist()
    return [
        Ending(convergence(history, float(entry.target(bank.recipe).var())), entry.learning_rate)
        for entry, history in zip(bank.entries, histories, strict=True)
    ]


def _about(run: Run, device: torch.device) -> dict[str, str]:
    """Where and with what a run is made: recorded, never compared."""
    return {
        "device": str(device),
        "cache_dir": str(run.cache.folder.parent),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "processor": platform.processor() or platform.machine(),
        "shared_images": "; ".join(shared_images(run.cache.records)),
    }
