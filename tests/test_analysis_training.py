"""Which heads are under-trained, from known losses and steps, and that they decide no claim."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from results_builder import PIXELS, ResultsBuilder, demo_results

from analysis.claims.verdicts import (
    FAILS,
    HOLDS,
    NOT_MEASURED,
    UNDECIDED,
    compare_readings,
    decide,
)
from analysis.read.results import read_results
from data.protocols import PROTOCOLS, exactly_solved, steps_needed, steps_of
from probe.heads.spec import HeadSpec

ALL = ("f1", "f2", "f3", "f4", "f5")
SHORT = {"train": 64, "test": 64, "black": 1, "white": 1, "noise": 8}  # 15 epochs: 30 steps


def change(folder: Path, run: str, head: str | None, **columns) -> None:
    """Write values over the rows of a head (or of every head) of one run."""
    for path in (folder / run / "scores.csv", folder / "scores.csv"):
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
        rows = (table["run"] == run) & (table["head"] == head if head else True)
        for name, value in columns.items():
            table.loc[rows, name] = str(value)
        table.to_csv(path, index=False)


def statuses(folder: Path) -> dict[str, str]:
    heads = read_results(folder).scores.drop_duplicates(["run", "head"])
    return dict(zip(heads["head"], heads["status"], strict=True))


def test_steps_by_hand():
    paper, tuned = PROTOCOLS["paper"].training, PROTOCOLS["tuned"].training
    assert steps_of(paper, 10533) == 15 * 330  # 329.16 batches of 32
    assert steps_of(paper, 64) == 30
    assert steps_of(tuned, 64) == 15 * 7  # 8 of 64 are held out
    assert steps_of(replace(tuned, epochs=None, steps=99), 64) == 99
    exact = exactly_solved(PROTOCOLS["paper"]).training
    assert steps_needed(exact) == 0
    assert steps_needed(tuned) < steps_needed(paper) < 15 * 330


@pytest.mark.parametrize(
    ("larger", "smaller"),
    [
        (HeadSpec(ALL, 7, 1, 0, "H"), HeadSpec(ALL, 3, 1, 0, "H")),
        (HeadSpec(ALL, 3, 1, 0, "H"), HeadSpec(("f4", "f5"), 3, 1, 0, "H")),
        (HeadSpec(ALL, 3, 3, 0, "H"), HeadSpec(ALL, 3, 1, 0, "H")),
        (HeadSpec(ALL, 5, 2, 0, "H", 1), HeadSpec(("f2",), 1, 1, 0, "H")),
    ],
)
def test_a_head_worse_than_one_inside_it_is_under_trained(tmp_path: Path, larger, smaller):
    builder = ResultsBuilder(tmp_path).add(heads=[larger, smaller])
    run = "vgg16-random-zeros"
    change(builder.folder, run, larger.name, train_loss=0.0761)
    change(builder.folder, run, smaller.name, train_loss=0.0121)
    assert statuses(tmp_path) == {larger.name: "under-trained", smaller.name: "converged"}
    # The other way round it is what one expects.
    change(builder.folder, run, larger.name, train_loss=0.0121)
    change(builder.folder, run, smaller.name, train_loss=0.0761)
    assert set(statuses(tmp_path).values()) == {"converged"}


@pytest.mark.parametrize(
    "other",
    [
        HeadSpec(ALL, 3, 1, 0, "V"),  # another pattern
        HeadSpec(ALL, 3, 1, 1, "H"),  # sees zeros that the first does not
        HeadSpec(("f1",), 7, 1, 0, "H"),  # a larger kernel over fewer levels
        HeadSpec(ALL, 1, 3, 0, "H"),  # deeper, with a smaller kernel
        HeadSpec(ALL, 3, 1, 0, "H", 1),  # another seed of the same head
    ],
)
def test_heads_that_are_not_nested_say_nothing_of_each_other(tmp_path: Path, other):
    head = HeadSpec(ALL, 3, 1, 0, "H")
    ResultsBuilder(tmp_path).add(heads=[head, other])
    change(tmp_path, "vgg16-random-zeros", head.name, train_loss=0.08)
    change(tmp_path, "vgg16-random-zeros", other.name, train_loss=0.01)
    assert set(statuses(tmp_path).values()) == {"converged"}


def test_heads_of_other_runs_say_nothing(tmp_path: Path):
    large, small = HeadSpec(ALL, 7, 1, 0, "H"), HeadSpec(ALL, 3, 1, 0, "H")
    ResultsBuilder(tmp_path).add(heads=[large]).add(heads=[small], padding="none")
    change(tmp_path, "vgg16-random-zeros", large.name, train_loss=0.08)
    assert set(statuses(tmp_path).values()) == {"converged"}


@pytest.mark.parametrize(("gap", "status"), [(0.06, "under-trained"), (0.04, "converged")])
def test_linear_heads_far_from_their_optimum(tmp_path: Path, gap: float, status: str):
    head = HeadSpec(("f5",), 1, 1, 0, "H")
    ResultsBuilder(tmp_path).add(heads=[head])
    change(tmp_path, "vgg16-random-zeros", head.name, optimum_gap=gap)
    assert statuses(tmp_path) == {head.name: status}


def test_diverged_heads_stay_so_and_constant_ones_are_a_finding(tmp_path: Path):
    ResultsBuilder(tmp_path / "a").add(counts=SHORT, status="diverged")
    assert set(statuses(tmp_path / "a").values()) == {"diverged"}
    flat = lambda *_: (0.0, 0.25)  # noqa: E731
    ResultsBuilder(tmp_path / "b", score=flat).add(status="constant")
    claims = decide(compare_readings(read_results(tmp_path / "b"))).set_index("claim")
    assert claims.loc["position_is_there", "verdict"] == FAILS


def test_an_under_trained_sweep_decides_nothing_and_says_what_would(tmp_path: Path):
    builder = ResultsBuilder(tmp_path)
    for padding in ("zeros", "none"):
        builder.add(padding=padding, counts=SHORT)
    builder.add(PIXELS, counts=SHORT)
    claims = decide(compare_readings(read_results(tmp_path)))
    assert set(claims["verdict"]) == {UNDECIDED}
    assert claims["why"].str.contains("trained too little").all()
    commands = claims.set_index("claim")["fill"]
    assert commands["padding_removed"].startswith("train-probes --sweep --solver exact")
    needed = steps_needed(PROTOCOLS["tuned"].training)
    assert commands["more_layers"].startswith(
        f"train-probes --sweep --protocol tuned --steps {needed}"
    )


def test_the_same_sweep_with_enough_steps_decides(tmp_path: Path):
    demo_results(tmp_path)
    claims = decide(compare_readings(read_results(tmp_path)))
    assert set(claims["verdict"]) == {HOLDS}


def test_exact_heads_took_no_steps_and_are_trusted(tmp_path: Path):
    ResultsBuilder(tmp_path).add(counts=SHORT)
    path = tmp_path / "vgg16-random-zeros" / "run.json"
    settings = json.loads(path.read_text())
    settings["protocol"] |= {"optimizer": "exact", "learning_rates": [], "epochs": 1}
    path.write_text(json.dumps(settings))
    larger = f"H-{'+'.join(ALL)}-k7-d1-p0-s0"  # its ridge may leave it above a smaller one
    change(tmp_path, "vgg16-random-zeros", larger, train_loss=0.02)
    assert set(statuses(tmp_path).values()) == {"converged"}


def test_one_under_trained_readout_leaves_its_claim_undecided(tmp_path: Path):
    demo_results(tmp_path)
    name = f"H-{'+'.join(ALL)}-k7-d1-p0-s0"
    change(tmp_path, "vgg16-random-zeros", name, train_loss=0.0761)
    verdicts = decide(compare_readings(read_results(tmp_path))).set_index("claim")["verdict"]
    assert verdicts["larger_kernels"] == UNDECIDED
    assert set(verdicts.drop("larger_kernels")) == {HOLDS}
    # A comparison of trusted readouts that fails refutes the claim, whatever the others are.
    assert NOT_MEASURED not in set(verdicts)
