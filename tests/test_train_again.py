"""A sweep interrupted, widened, damaged or shared by two commands ends as if it never had been."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from caches import make_cache

from data.protocols import PROTOCOLS
from data.targets import PATTERNS, control_seed, position_map
from data.tools.errors import UserError
from probe.batches import resolve_preload
from probe.config import ProbeConfig
from probe.exact import matrices
from probe.loss import scored_target
from probe.sgd import fit as fit_module
from probe.sgd.fit import split_rows
from probe.train import train_probes

RUN = "vgg16-random-zeros"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_cache(tmp_path / "features")
    return tmp_path


def grid(folder: Path, **changes) -> ProbeConfig:
    asked = ProbeConfig(
        cache_dir=folder / "features",
        results_dir=folder / "results",
        levels=("f1",),
        pattern=("H", "G"),
        epochs=2,
        batch_size=8,
        precision="fp32",
    )
    return replace(asked, **changes)


def interrupt(asked: ProbeConfig, monkeypatch: pytest.MonkeyPatch, epoch: int = 2) -> None:
    """Train until an epoch has nearly ended."""
    real, calls = fit_module.mean_losses, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == epoch:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "mean_losses", stop)
        with pytest.raises(KeyboardInterrupt):
            train_probes(asked)


@pytest.mark.arithmetic
def test_two_commands_leave_the_rows_of_one(folder: Path):
    one = train_probes(grid(folder, results_dir=folder / "one"))
    train_probes(grid(folder, pattern=("G",)))
    two = train_probes(grid(folder, pattern=("H",)))
    long = re.compile(r"(\d\.?){7,}")  # more than six digits
    for name in ("scores.csv", f"{RUN}/scores.csv", f"{RUN}/image_scores.csv", f"{RUN}/losses.csv"):
        for path in (one.parent / name, two.parent / name):
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            assert not any(long.match(text.lstrip("-0.")) for text in table.to_numpy().ravel())
        # A product of more rows may round otherwise on some processor, not here: within 0.002.
        first, second = pd.read_csv(one.parent / name), pd.read_csv(two.parent / name)
        pd.testing.assert_frame_equal(first, second, atol=2e-3)


@pytest.mark.arithmetic
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_are_the_runs_whatever_the_jobs_and_the_machine(folder: Path, precision: str):
    make_cache(folder / "features", padding="none")
    asked = grid(folder, precision=precision, threads=2)
    one = train_probes(asked)
    two = train_probes(replace(asked, jobs=2, results_dir=folder / "parallel"))
    assert one.read_bytes() == two.read_bytes()
    document = json.loads((folder / "results" / RUN / "run.json").read_text())
    assert document["threads"] == 2


@pytest.mark.arithmetic
def test_a_pass_is_finished_with_the_threads_it_was_begun_with(folder: Path, monkeypatch):
    whole = train_probes(grid(folder, results_dir=folder / "whole", threads=2)).read_bytes()
    interrupt(grid(folder, threads=2), monkeypatch)
    before = torch.get_num_threads()
    assert train_probes(grid(folder)).read_bytes() == whole
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
def test_a_damaged_checkpoint_is_worth_no_more_than_none(
    folder: Path, monkeypatch, capsys, damage: str
):
    whole = train_probes(grid(folder, results_dir=folder / "whole")).read_bytes()
    interrupt(grid(folder), monkeypatch)
    path = folder / "results" / RUN / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        for place in range(len(content) // 3, len(content) // 2):
            content[place] ^= 8
    path.write_bytes(
        {"cut": content[:-900], "flipped": content, "foreign": b"no archive", "empty": b""}[damage]
    )
    capsys.readouterr()
    assert train_probes(grid(folder)).read_bytes() == whole
    error = capsys.readouterr().err
    assert "checkpoint.pt is damaged: its pass begins again" in error
    assert "weights_only" not in error


@pytest.mark.parametrize("name", ["heads.h5", "image_scores.csv", "losses.csv", "run.json"])
def test_training_again_makes_up_for_a_lost_file(folder: Path, name: str):
    path = train_probes(grid(folder))
    before = path.read_bytes()
    (folder / "results" / RUN / name).unlink()
    assert train_probes(grid(folder)).read_bytes() == before
    assert (folder / "results" / RUN / name).exists()


def test_a_run_killed_before_its_first_epoch_blocks_nothing(folder: Path, monkeypatch):
    interrupt(grid(folder), monkeypatch, epoch=1)
    assert set(pd.read_csv(train_probes(grid(folder, epochs=1)))["epochs"]) == {1}


def test_two_commands_at_once_lose_nothing(folder: Path):
    code = "from probe.cli import main; main()"
    options = ["--levels", "f1", "--epochs", "2", "--batch-size", "8", "--precision", "fp32"]
    options += ["--cache-dir", f"{folder}/features", "--results-dir", f"{folder}/results"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *options, "--pattern", pattern], stderr=subprocess.PIPE
        )
        for pattern in ("H", "G")
    ]
    for process in processes:
        error = process.communicate()[1]
        assert process.returncode == 0, error.decode()
    for pattern in ("G", "H"):
        train_probes(grid(folder, results_dir=folder / "apart", pattern=(pattern,)))
    for name in ("scores.csv", f"{RUN}/image_scores.csv", f"{RUN}/losses.csv"):
        together = (folder / "results" / name).read_bytes()
        assert together == (folder / "apart" / name).read_bytes()


def test_the_control_of_a_pattern_does_not_depend_on_the_others(monkeypatch):
    recipe = PROTOCOLS["paper"].training
    for place, pattern in enumerate(("H", "V", "G", "HS", "VS")):
        assert control_seed(pattern) == place  # those of the first version stay
        cells = position_map(pattern, 26, signed_stripes=True).ravel()
        scattered = np.random.default_rng([0, place]).permutation(cells).reshape(26, 26)
        control = scored_target(pattern, 26, replace(recipe, resolution=None), control=True)
        np.testing.assert_allclose(control, scattered, atol=1e-12)
    before = scored_target("HS", 26, recipe, control=True)
    monkeypatch.setattr("data.targets.PATTERNS", ("corner", *PATTERNS))
    assert np.array_equal(before, scored_target("HS", 26, recipe, control=True))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_few_training_images_hold_some_out_all_the_same(count: int):
    split = split_rows(np.arange(count), np.array([99]), 1 / 8)
    assert split.heldout.tolist() == [count - 1]
    assert split.train.tolist() == list(range(count - 1))


def test_tuned_chooses_its_rate_with_few_images_and_refuses_one(tmp_path: Path):
    make_cache(tmp_path / "features", train=5)
    scores = pd.read_csv(train_probes(grid(tmp_path, protocol="tuned")))
    assert (scores["heldout_loss"] > 0).all()
    make_cache(tmp_path / "one" / "features", train=1)
    with pytest.raises(UserError, match=r"1 training image.*held out.*extract 2 or more"):
        train_probes(grid(tmp_path / "one", protocol="tuned"))


def test_preloading_leaves_room_for_the_other_jobs(monkeypatch):
    monkeypatch.setattr("probe.batches.free_memory", lambda: 1000)
    cpu = torch.device("cpu")
    assert resolve_preload("auto", 300, cpu) == "ram"
    assert resolve_preload("auto", 300, cpu, sharing=2) == "none"
    assert resolve_preload("auto", 249, cpu, sharing=2) == "ram"


def test_a_sweep_of_which_nothing_fits_says_so(folder: Path, monkeypatch):
    monkeypatch.setattr(matrices, "free_memory", lambda: 1)
    asked = grid(folder, solver="exact", sweep=True, epochs=None, batch_size=None, precision="auto")
    with pytest.raises(UserError, match=r"none of the heads of .*fits into the memory"):
        train_probes(replace(asked, levels=()))
