"""The training stage: from feature caches to scores and trained heads."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn

from data.cache.identity import Identity
from data.protocols import TrainingRecipe
from data.tools.device import find_device, has_fast_bfloat16
from data.tools.errors import UserError
from data.tools.files import check_writable
from data.tools.parallel import run_tasks
from probe import results
from probe.batches import CELLS, FeatureBatches, resolve_preload
from probe.collect import collect
from probe.config import ProbeConfig
from probe.exact.solve import solve_heads
from probe.heads.spec import HeadSpec, build_head
from probe.plan import Run, plan_runs
from probe.sgd.bank import Bank, Entry
from probe.sgd.checkpoint import Checkpoint
from probe.sgd.estimate import estimate
from probe.sgd.fit import fit, split_rows
from probe.sgd.whitening import channel_covariance


def train_probes(config: ProbeConfig) -> Path:
    """Train and score every head the options ask for, from every cache; returns `scores.csv`.

    Heads whose results are complete are left alone; an interrupted pass goes on from its last
    epoch. Raises `UserError` for unsuitable options or caches, and when the results folder holds
    runs made with other settings.
    """
    folder = config.results_dir
    check_writable(folder, "--results-dir")
    runs = plan_runs(config)
    device = find_device(config.device)
    exact = config.solver == "exact"
    dtype = torch.float32 if exact else compute_dtype(config.precision, device)
    for run in runs:
        _check_settings(folder / run.name, _settings(run, dtype), config.overwrite)
    tasks = [(run, config, folder / run.name, device, dtype) for run in runs]
    for _ in run_tasks(
        _train_run, tasks, jobs=config.jobs, backend=config.backend, scheduler=config.scheduler
    ):
        pass
    return results.write_all_scores(folder)


def load_head(results_dir: Path, run: str, head: str) -> nn.Sequential:
    """A trained head as a plain module in evaluation mode, (B, C, 28, 28) to (B, 1, n, n)."""
    spec, facts, weights = results.read_head(results_dir, run, head)
    module = build_head(spec, facts["channels"], TrainingRecipe.from_json(facts["recipe"]))
    state = {key: torch.from_numpy(np.asarray(values)) for key, values in weights.items()}
    module.load_state_dict(state)
    return module.eval()


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The format of the large products: bf16 where the device multiplies it in hardware."""
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def _train_run(
    run: Run, config: ProbeConfig, folder: Path, device: torch.device, dtype: torch.dtype
) -> None:
    settings = _settings(run, dtype)
    checkpoint = Checkpoint(folder / results.CHECKPOINT, {**settings, "control": config.control})
    if config.overwrite:
        results.discard(folder)
    finished = results.finished_heads(folder, control=config.control, curve=config.learning_curve)
    pending = [head for head in run.heads if head.name not in finished]
    _log(f"{run.name}: {len(pending)} heads to train, {len(run.heads) - len(pending)} finished")
    if config.solver == "exact":
        described = {**settings, "about": _about(run, device)}
        solve_heads(run, pending, config, folder, device, described)
        return
    if not pending:
        return
    results.write_settings(folder, {**settings, "about": _about(run, device)})
    # An interrupted pass is finished as it was begun; heads asked for since come after it.
    begun = [head for head in checkpoint.heads() if head in pending]
    if len(begun) != len(checkpoint.heads()):
        begun = []
    for heads in (begun, [head for head in pending if head not in begun]):
        if heads:
            _train_pass(run, heads, config, folder, checkpoint, device, dtype)


def _train_pass(
    run: Run,
    heads: list[HeadSpec],
    config: ProbeConfig,
    folder: Path,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    recipe, cache = run.recipe, run.cache
    read = {level for head in heads for level in head.levels}
    levels = {name: channels for name, channels in cache.levels.items() if name in read}
    entries = [
        Entry(head, rate, control)
        for head in heads
        for control in ((False, True) if config.control else (False,))
        for rate in recipe.learning_rates
    ]
    bank = Bank(entries, levels, recipe).to(device)
    split = split_rows(cache.rows("train"), cache.rows("test"), recipe.heldout_share)
    needed = len(cache.records) * sum(levels.values()) * CELLS * dtype.itemsize
    preload = resolve_preload(config.preload, needed, device)
    batches = FeatureBatches(cache, tuple(levels), dtype, device, preload)
    cost = estimate(bank, batches, len(split.train), len(split.heldout), recipe)
    _log(f"{run.name}: {cost}")
    batches.keep(np.arange(len(cache.records)))
    if recipe.conditioned:
        bank.whiten(channel_covariance(batches, split.train, recipe.batch_size))
    losses = fit(bank, batches, split, recipe, checkpoint, f"{run.name}: training")
    results.write_heads(folder, collect(run, bank, batches, losses, config.num_workers))
    checkpoint.remove()


def _settings(run: Run, dtype: torch.dtype) -> dict[str, Any]:
    """Everything that may not differ between the heads of one run, JSON-able."""
    settings = {
        "schema": results.SCHEMA,
        "protocol": {"name": run.protocol, **asdict(run.recipe)},
        "precision": str(dtype).removeprefix("torch."),
        "cache": run.identity.to_json(),
    }
    return dict(results.as_json(settings))


def _check_settings(folder: Path, settings: dict[str, Any], overwrite: bool) -> None:
    existing = results.read_settings(folder)
    if existing is None or overwrite:
        return
    for part, value in settings.items():
        old = existing.get(part)
        if part == "cache":  # with the keys that older runs left out
            old = Identity.from_json(old).to_json()
        if old != value:
            raise UserError(
                f"{folder} was made with another {part} ({_difference(old, value)}): "
                "choose another --results-dir, or --overwrite it"
            )


def _difference(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return "; ".join(f"{key}: {_difference(old.get(key), new.get(key))}" for key in keys)
    return f"{_short(old)} there, {_short(new)} here"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


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
    }


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
