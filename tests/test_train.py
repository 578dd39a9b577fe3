"""The training stage: same again, resumed, widened, refused."""

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from caches import make_cache
from click.testing import CliRunner

from data.targets import position_map
from data.tools.errors import UserError
from probe.cli import main
from probe.config import ProbeConfig
from probe.results import SCORE_COLUMNS, read_head
from probe.sgd import fit as fit_module
from probe.sgd.fit import split_rows
from probe.train import load_head, train_probes

COMMAND = "from probe.cli import main; main()"
QUICK = {"epochs": 3, "batch_size": 8, "precision": "fp32"}


def grid(folder: Path, **changes) -> ProbeConfig:
    config = ProbeConfig(
        cache_dir=folder / "features",
        results_dir=folder / "results",
        levels=("all", "f1"),
        pattern=("H", "G"),
        **QUICK,
    )
    return replace(config, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_cache(tmp_path / "features")
    return tmp_path


def test_sweep_writes_one_row_per_head_and_image_set(folder: Path):
    make_cache(folder / "features", padding="none")
    path = train_probes(grid(folder, sweep=True, levels=(), pattern=(), epochs=1))
    scores = pd.read_csv(path)
    assert list(scores.columns) == SCORE_COLUMNS
    assert scores.groupby("run")["head"].nunique().to_dict() == {
        "vgg16-random-zeros": 27,
        "vgg16-random-none": 3,
        "pixels": 23,
    }
    assert set(scores["images"]) == {"test", "black", "white", "noise"}
    assert not scores.duplicated(["run", "head", "images"]).any()
    per_image = pd.read_csv(folder / "results" / "pixels" / "image_scores.csv")
    mean = per_image.groupby(["head", "images"])[["spc", "mae"]].mean().reset_index()
    joined = scores[scores["run"] == "pixels"].merge(mean, on=["head", "images"])
    np.testing.assert_allclose(joined["spc_x"], joined["spc_y"], atol=1e-5)
    np.testing.assert_allclose(joined["mae_x"], joined["mae_y"], atol=1e-5)


def test_planted_position_is_read_out(folder: Path):
    path = train_probes(grid(folder, epochs=15, batch_size=4))
    scores = pd.read_csv(path).set_index(["levels", "pattern", "images"])["spc"]
    assert (scores.xs("test", level="images") > 0.9).all()


@pytest.mark.arithmetic
def test_same_command_same_scores(folder: Path):
    first = train_probes(grid(folder)).read_bytes()
    second = train_probes(grid(folder, results_dir=folder / "again")).read_bytes()
    assert first == second


@pytest.mark.parametrize(
    ("protocol", "length"),
    [("paper", {}), ("tuned", {}), ("paper", {"epochs": None, "steps": 7})],
)
def test_interrupted_pass_resumes_to_the_same_scores(
    folder: Path, monkeypatch, protocol: str, length: dict[str, int | None]
):
    config = grid(folder, protocol=protocol, **length)
    whole = train_probes(replace(config, results_dir=folder / "whole")).read_bytes()
    real, calls = fit_module.mean_losses, []

    def stop_in_second_epoch(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "mean_losses", stop_in_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            train_probes(config)
    assert not (folder / "results" / "scores.csv").exists()
    counted = []
    monkeypatch.setattr(fit_module, "mean_losses", lambda *a: counted.append(a) or real(*a))
    assert train_probes(config).read_bytes() == whole
    assert len(counted) == 2  # the first epoch was not trained again


def test_steps_end_a_pass_in_the_middle_of_an_epoch(folder: Path, monkeypatch):
    real, rates = torch.optim.SGD.step, []

    def counted(optimizer, *arguments):
        rates.append(optimizer.param_groups[0]["lr"])
        return real(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", counted)
    asked = {"epochs": None, "steps": 7}  # 24 images in batches of 8: two epochs and one step
    scores = pd.read_csv(train_probes(grid(folder, levels=("f1",), **asked)))
    assert rates == pytest.approx([0.1] * 5 + [0.01] * 2)
    assert set(scores["epochs"]) == {3}
    run = json.loads((folder / "results" / "vgg16-random-zeros" / "run.json").read_text())
    assert (run["protocol"]["epochs"], run["protocol"]["steps"]) == (None, 7)
    with pytest.raises(UserError, match=r"epochs: null there, 3 here; steps: 7 there, null here"):
        train_probes(grid(folder, levels=("f1",)))


@pytest.mark.arithmetic
def test_as_many_steps_as_epochs_have_give_the_same_scores(folder: Path):
    epochs = train_probes(grid(folder)).read_bytes()
    steps = grid(folder, epochs=None, steps=9, results_dir=folder / "steps")
    assert train_probes(steps).read_bytes() == epochs


@pytest.mark.arithmetic
@pytest.mark.parametrize("protocol", ["paper", "tuned"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_streaming_gives_the_scores_of_preloading(
    folder: Path, monkeypatch, precision: str, protocol: str
):
    monkeypatch.setattr("probe.batches.WINDOW_BYTES", 10 * 26 * 784 * 2)  # several windows
    config = grid(folder, precision=precision, protocol=protocol)
    kept = train_probes(replace(config, preload="ram"))
    streamed = replace(config, preload="none", results_dir=folder / "streamed")
    assert train_probes(streamed).read_bytes() == kept.read_bytes()


def test_tuned_keeps_the_rate_with_the_lowest_heldout_loss(folder: Path):
    path = train_probes(grid(folder, protocol="tuned", levels=("all",), epochs=4))
    scores = pd.read_csv(path)
    assert set(scores["protocol"]) == {"tuned"}
    assert set(scores["run"]) == {"vgg16-random-zeros-tuned"}
    for head in scores["head"].unique():
        _, facts, _ = read_head(folder / "results", "vgg16-random-zeros-tuned", head)
        best = facts["learning_rates"][int(np.argmin(facts["heldout_losses"]))]
        assert set(scores.query("head == @head")["learning_rate"]) == {best}
        assert len(facts["learning_rates"]) == 5


def test_widened_sweep_trains_only_what_is_new(folder: Path):
    before = pd.read_csv(train_probes(grid(folder)))
    weights = folder / "results" / "vgg16-random-zeros" / "heads.h5"
    name = "H-f1-k3-d1-p0-s0"
    old = load_head(folder / "results", "vgg16-random-zeros", name)
    after = pd.read_csv(train_probes(grid(folder, pattern=("H", "G", "V"))))
    merged = before.merge(after, how="left", on=list(before.columns))
    assert len(merged) == len(before)
    assert len(after) == len(before) * 3 // 2
    assert weights.exists()
    new = load_head(folder / "results", "vgg16-random-zeros", name)
    assert torch.equal(old[0].weight, new[0].weight)


def test_widened_after_an_interruption_finishes_the_first_pass_as_begun(folder: Path, monkeypatch):
    whole = pd.read_csv(train_probes(grid(folder, results_dir=folder / "whole")))
    real = fit_module.mean_losses
    with monkeypatch.context() as patch:
        calls = []

        def stop(*arguments):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(*arguments)

        patch.setattr(fit_module, "mean_losses", stop)
        with pytest.raises(KeyboardInterrupt):
            train_probes(grid(folder))
    wide = pd.read_csv(train_probes(grid(folder, pattern=("H", "G", "V"))))
    kept = wide[wide["pattern"] != "V"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, whole)


@pytest.mark.parametrize(
    ("protocol", "run"), [("paper", "vgg16-random-zeros"), ("tuned", "vgg16-random-zeros-tuned")]
)
def test_saved_head_scores_what_the_table_says(folder: Path, protocol: str, run: str):
    path = train_probes(grid(folder, protocol=protocol))
    name = "H-f1+f2+f3+f4+f5-k3-d1-p0-s0"
    head = load_head(folder / "results", run, name)
    cache = make_cache(folder / "same")
    rows = cache.rows("test")
    levels = [cache.read(level, rows) for level in ("f1", "f2", "f3", "f4", "f5")]
    features = torch.from_numpy(np.concatenate(levels, axis=1)).float()
    with torch.no_grad():
        maps = torch.nn.functional.interpolate(head(features), (224, 224), mode="bilinear")
    error = (maps[:, 0].double() - torch.from_numpy(position_map("H"))).abs().mean().item()
    scores = pd.read_csv(path).query("head == @name and images == 'test'")
    assert scores["mae"].item() == pytest.approx(error, abs=1e-5)


@pytest.mark.arithmetic
def test_caches_in_parallel_give_the_same_scores(folder: Path):
    make_cache(folder / "features", padding="none")
    one = train_probes(grid(folder))
    two = train_probes(grid(folder, jobs=2, results_dir=folder / "parallel"))
    assert one.read_bytes() == two.read_bytes()


def test_killed_sweep_resumes_to_the_same_scores(folder: Path):
    whole = train_probes(grid(folder, epochs=40, results_dir=folder / "whole")).read_bytes()
    options = ["--cache-dir", f"{folder}/features", "--results-dir", f"{folder}/results"]
    options += ["--levels", "all", "--levels", "f1", "--pattern", "H", "--pattern", "G"]
    options += ["--epochs", "40", "--batch-size", "8", "--precision", "fp32"]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *options], stderr=subprocess.PIPE)
    checkpoint = folder / "results" / "vgg16-random-zeros" / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (folder / "results" / "scores.csv").exists(), "killed too late to test anything"
    assert checkpoint.exists()
    assert subprocess.run([sys.executable, "-c", COMMAND, *options]).returncode == 0
    assert (folder / "results" / "scores.csv").read_bytes() == whole


def test_other_settings_are_refused_with_the_difference(folder: Path):
    train_probes(grid(folder))
    with pytest.raises(UserError, match=r"epochs: 3 there, 4 here.*--results-dir.*--overwrite"):
        train_probes(grid(folder, epochs=4))
    scores = pd.read_csv(train_probes(grid(folder, epochs=4, overwrite=True)))
    assert set(scores["epochs"]) == {4}


def test_caches_of_different_images_are_refused(folder: Path):
    make_cache(folder / "features", padding="none", images_seed=1)
    with pytest.raises(UserError, match="different images"):
        train_probes(grid(folder, sweep=True, levels=(), pattern=()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--levels", "f9"],
            "no level is called .f9.: use one of f5, f4, f3, f2, f1, several",
        ),
        (["--kernel-size", "4"], "--kernel-size 4.*1, 3, 5, 7"),
        (["--backbone", "alexnet"], "no cache of backbone 'alexnet'.*vgg16"),
        (["--protocol", "reproduction"], "extract-features --protocol reproduction"),
        (["--seeds", "0"], "--seeds 0"),
        (["--jobs", "0"], "--jobs 0 .* 1"),
        (["--threads", "0"], "--threads 0 .* 1"),
        (["--num-workers", "-1"], "--num-workers -1 .* 0"),
        (["--scheduler", "tcp://here:1"], "--scheduler tcp://here:1 .*--backend dask"),
        (["--sweep", "--kernel-size", "5"], "no head is left"),
        (["--device", "tpu"], "'tpu'.*auto, cpu"),
    ],
)
def test_bad_options_end_with_one_line(folder: Path, options: list[str], message: str):
    places = ["--cache-dir", f"{folder}/features", "--results-dir", f"{folder}/results"]
    outcome = CliRunner().invoke(main, [*places, *options])
    assert outcome.exit_code == 1
    assert outcome.stderr.count("\n") == 1
    assert re.search(message, outcome.stderr)


def test_usage_errors_list_the_good_values():
    outcome = CliRunner().invoke(main, ["--pattern", "X"])
    assert outcome.exit_code == 2
    assert "'X' is unknown: use one of H, V, G, HS, VS" in outcome.stderr


def test_no_cache_names_the_command_to_run(tmp_path: Path):
    with pytest.raises(UserError, match="run extract-features first"):
        train_probes(ProbeConfig(cache_dir=tmp_path, results_dir=tmp_path / "results"))


def test_unwritable_results_folder(folder: Path):
    (folder / "results").write_text("a file")
    with pytest.raises(UserError, match="choose another --results-dir"):
        train_probes(grid(folder))


def test_incomplete_cache_is_refused(folder: Path):
    (folder / "features" / "vgg16-random-zeros" / "cache.h5").unlink()
    with pytest.raises(UserError, match="extract-features"):
        train_probes(grid(folder))


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(folder: Path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_module, "mean_losses", interrupt)
    options = ["--cache-dir", f"{folder}/features", "--results-dir", f"{folder}/results"]
    outcome = CliRunner().invoke(main, options)
    assert outcome.exit_code == 130
    assert "run the command again" in outcome.stderr


def test_heldout_share_takes_every_kth_training_row():
    split = split_rows(np.arange(16), np.array([99]), 1 / 8)
    assert split.heldout.tolist() == [7, 15]
    assert sorted([*split.train, *split.heldout]) == list(range(16))
    assert split_rows(np.arange(3), np.array([99]), 0.0).heldout.tolist() == [99]


def test_help_needs_no_torch():
    code = "import sys; from probe.cli import main; main(['--help'], standalone_mode=False); "
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--sweep" in done.stdout


def test_provenance_is_kept(folder: Path):
    train_probes(grid(folder))
    run = json.loads((folder / "results" / "vgg16-random-zeros" / "run.json").read_text())
    assert run["cache"]["backbone"] == "vgg16"
    assert run["protocol"]["epochs"] == 3
    assert run["about"]["torch"] == torch.__version__


def test_a_sweep_says_its_steps_before_it_starts_and_what_to_do_about_too_few(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    train_probes(grid(folder, levels=("f1",), pattern=("H",)))  # 24 images in batches of 8
    said = capsys.readouterr().err
    line = next(line for line in said.splitlines() if " steps" in line)
    assert "; 9 steps, where 1000 are needed" in line
    for remedy in ("--solver exact", "--protocol tuned", "--steps 1000"):
        assert remedy in line
    assert said.index(line) < said.index("training: ")
    plenty = grid(folder, levels=("f1",), pattern=("V",), batch_size=1, epochs=42)
    train_probes(replace(plenty, results_dir=folder / "more"))
    line = next(line for line in capsys.readouterr().err.splitlines() if " steps" in line)
    assert line.endswith("; 1008 steps")
