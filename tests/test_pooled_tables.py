"""Tables S1 and S2 of networks that were trained: every published number beside CIFAR alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from results_builder import demo_results
from scipy import stats

from analysis.claims.pooling import compare_pooling
from analysis.claims.verdicts import decide
from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.placed.read import placed_tables
from analysis.read.published import task_tables
from analysis.read.results import without_scores
from analysis.tables.compare import compare
from data.tools.errors import UserError
from extract.tasks.cli import main as train_backbone
from extract.tasks.pooled.task import COLUMNS

RUN = {
    **{"task": "location", "network": "resnet18", "head": "gap", "downsample": "stride"},
    **{"padding": "zeros", "patches": "cifar10", "patch_size": 32, "patch_limit": "", "grid": 3},
    **{"classes": 9, "mirror": 1, "augshift": "", "optimizer": "adam", "learning_rate": 1e-3},
    **{"batch_size": 48, "metric": "accuracy_percent", "chance": 1 / 9, "n_train": 45000},
    **{"n_test": 10000, "epochs": 20, "best_epoch": 20},
}
WHOLE = {"task": "classification", "head": "linear", "grid": 1, "classes": 10, "chance": 0.1}
DIGITS = {"patches": "digits", "network": "small"}


def score(value: float, *seeds: int, **changes: Any) -> list[dict[str, Any]]:
    """The same value for every seed."""
    rows = [RUN | changes | {"value": value, "seed": seed} for seed in seeds or (0,)]
    return [row | {"run": "-".join(map(str, row.values()))} for row in rows]


def write(folder: Path, *rows: list[dict[str, Any]]) -> None:
    table = pd.DataFrame([row for part in rows for row in part])
    assert set(table) == {*COLUMNS, "run"}
    table[[*COLUMNS, "run"]].to_csv(folder / "pooled.csv", index=False)


def cells(folder: Path, table: str) -> pd.DataFrame:
    return compare(table, without_scores(folder), measured=pd.DataFrame())


def test_every_published_number_of_s1_stands_beside_its_run(tmp_path: Path):
    published = placed_tables().query("table == 'S1'")
    assert len(published) == 9
    runs = []
    for head, value in (("gap", 90.0), ("permute", 40.0)):
        for grid in (3, 7):
            place = {"head": head, "grid": grid}
            runs += score(value + grid, classes=grid**2, chance=1 / grid**2, **place)
            classes = {"task": "classification", "classes": 10, "chance": 0.1}
            runs += score(value - grid, **classes, **place)
    write(tmp_path, runs)
    found = cells(tmp_path, "S1")
    assert len(set(found["condition"])) == 1
    for row in published.itertuples():
        (cell,) = found[
            (found["network"] == row.network)
            & (found["reading"] == row.reading)
            & (found["column"] == row.column)
        ].itertuples()
        assert cell.published_accuracy_percent == row.value
        assert cell.kind == "trained for the task on CIFAR-10"
        if row.network.endswith("repository"):
            assert np.isnan(cell.accuracy_percent)  # of the network of the row above
            continue
        base, grid = {"gap": 90, "per": 40}[row.network[9:12]], int(row.column[-1])
        ours = base + (grid if row.column.startswith("location") else -grid)
        assert cell.accuracy_percent == ours
        assert cell.accuracy_percent_difference == pytest.approx(ours - row.value)
        chance = 1 / grid**2 if row.column.startswith("location") else 0.1
        for value, scored in (
            (ours, cell.above_chance_percent),
            (row.value, cell.published_above_chance_percent),
        ):
            assert scored == pytest.approx((value - 100 * chance) / (1 - chance))
    assert found["published_accuracy_percent"].notna().sum() == len(published)
    assert not (found["fill"] != "").any()


def test_every_published_number_of_s2_stands_beside_its_run(tmp_path: Path):
    published = task_tables().query("table == 'S2'")
    assert len(published) == 12
    variants = {
        "resnet18": {"downsample": "stride"},
        "resnet18-blurpool": {"downsample": "blur"},
        "resnet18-augshift": {"downsample": "stride", "augshift": "10"},
    }
    runs = []
    for patches, classes in (("cifar10", 10), ("cifar100", 100)):
        own = WHOLE | {"patches": patches, "classes": classes, "chance": 1 / classes}
        for number, changes in enumerate(variants.values()):
            runs += score(50 + number, **own | changes)
            for kind in ("crop", "zero", "roll"):
                runs += score(70 + number, **own | changes, metric=f"{kind}_consistency_percent")
        # AugShift's lambda is the one that is best on held-out patches, and above 0.
        for weight, value in (("0", 99), ("1", 80), ("10", 81)):
            metric = {"metric": "heldout_accuracy_percent", "augshift": weight}
            runs += score(value, **own | metric)
    write(tmp_path, runs)
    found = cells(tmp_path, "S2")
    assert len(set(found["condition"])) == 2
    for row in published.itertuples():
        number = list(variants).index(row.model)
        own = variants[row.model]
        top1 = row.metric == "top1_percent"
        (cell,) = found[
            (found["patches"] == row.train_set)
            & (found["model"] == "resnet18")
            & (found["downsample"] == own["downsample"])
            & (found["augshift"] == own.get("augshift", "-"))
            & (found["measure"] == ("top-1 %" if top1 else "consistency %"))
            & (found["shift"] == ("none" if top1 else "not named"))
        ].itertuples()
        assert cell.published_value == row.value
        assert f"trained on {row.train_set}," in cell.condition
        if top1:
            assert cell.value == 50 + number
            assert cell.value_difference == pytest.approx(50 + number - row.value)
        else:
            assert np.isnan(cell.value)  # which kind of shift it is, the source does not say
    assert found["published_value"].notna().sum() == len(published)
    assert not (found["fill"] != "").any()


def test_nothing_else_stands_beside_a_published_number(tmp_path: Path):
    others: list[dict[str, Any]] = [
        *(DIGITS, {"network": "small"}, {"head": "linear"}, {"padding": "circular"}),
        *({"downsample": "blur"}, {"patches": "cifar100"}, {"patches": "digits"}),
    ]
    rows = [score(33.0, **changes) for changes in others]
    rows += [score(33.0, task="classification", classes=9, chance=1 / 9)]
    whole = [
        *(DIGITS, {"network": "small"}, {"head": "gap"}, {"padding": "circular"}),
        *({"classes": 9}, {"patches": "shapes"}, {"downsample": "blur", "augshift": "1"}),
        *({"augshift": "0"},),
    ]
    rows += [score(33.0, **WHOLE | changes) for changes in whole]
    write(tmp_path, *rows)
    for table, value, count in (("S1", "accuracy_percent", 8), ("S2", "value", 8)):
        found = cells(tmp_path, table)
        ours = found[found[value].notna()]
        assert len(ours) == count
        assert ours[f"published_{value}"].isna().all()
        of_digits = found[found["condition"].str.contains("digits|shapes|cifar100")]
        assert len(of_digits)
        if table == "S1":
            assert of_digits["published_accuracy_percent"].isna().all()


def test_mirrored_training_stands_beside_training_on_images_as_they_are(tmp_path: Path):
    rows = []
    for mirror, percent in ((0, 50.0), (1, 40.0)):
        for seed in (0, 1):
            for axis, add in (("x", 0), ("y", 5)):
                changes = DIGITS | {"mirror": mirror, "metric": f"odd_{axis}_percent"}
                rows += score(percent + add + seed, seed, **changes)
    write(tmp_path, rows)
    found = cells(tmp_path, "M")
    assert len(set(found["condition"])) == 1
    values = found.set_index(["training", "axis"])["percent"]
    assert values["as they are", "left from right"] == 50.5
    assert values["mirrored at random", "up from down"] == 45.5
    assert set(found["n_seeds"]) == {2}


def test_seeds_have_students_interval(tmp_path: Path):
    values = [90.0, 96.0, 93.0]
    write(tmp_path, *(score(value, seed, **DIGITS) for seed, value in enumerate(values)))
    (cell,) = cells(tmp_path, "S1").itertuples()
    arm = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert (cell.accuracy_percent, cell.n_seeds, cell.accuracy_percent_sd) == (93, 3, 3)
    assert cell.accuracy_percent_low == pytest.approx(93 - arm)
    assert cell.accuracy_percent_high == pytest.approx(93 + arm)


def test_trained_networks_alone_make_their_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kappa = score(0.84, 0, 1, **WHOLE | DIGITS, metric="zero_kappa")
    write(tmp_path, score(95.0, 0, 1, **DIGITS), score(91.0, 0, 1, **WHOLE | DIGITS), kappa)
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "tables"))
    said = capsys.readouterr().out
    assert "Table S1." in said
    assert "Table S2." in said
    assert ".840" in said
    assert "78.8" not in said  # a number of CIFAR
    assert (tmp_path / "tables" / "report.html").exists()


def test_a_table_without_runs_names_the_commands_that_fill_it(tmp_path: Path):
    write(tmp_path, score(95.0, **DIGITS))
    commands = set(cells(tmp_path, "S2")["fill"]) - {""}
    assert len(commands) == 6
    assert all("--patches cifar10" in one for one in commands)


@pytest.mark.parametrize("file", ["pooled.csv", "tasks.csv"])
def test_what_only_position_maps_give_is_refused_by_name(tmp_path: Path, file: str):
    if file == "tasks.csv":
        trained = {"task": "segmentation", "model": "vgg16", "padding": "zeros", "seed": 0}
        trained |= {"test_set": "scenes", "metric": "miou_percent", "value": 55.5, "n_test": 9}
        trained |= {"run": "seg", "train_set": "scenes", "n_train": 20, "image_size": 96}
        trained |= {"levels": "f4", "epochs": 1, "normalization": "none", "mirror": 0}
        pd.DataFrame([trained | {"precision": "fp32"}]).to_csv(tmp_path / file, index=False)
    else:
        write(tmp_path, score(95.0, **DIGITS))
    config = TablesConfig(results_dir=tmp_path, out=tmp_path / "tables", format=("md",))
    make_tables(config)
    written = {path.name for path in (tmp_path / "tables").glob("table_*.md")}
    assert written == ({"table_5b.md"} if file == "tasks.csv" else {"table_S1.md"})
    for changes, named in (
        ({"table": ("1",)}, "--table 1: "),
        ({"compare": True}, "--compare: "),
        ({"contrast": "padding"}, "--contrast padding: "),
        ({"claims": True}, "has nothing that the papers' claims are about"),
    ):
        with pytest.raises(UserError, match=named):
            make_tables(replace(config, **changes))


def test_claims_are_decided_over_seeds_at_matched_numbers_of_classes(tmp_path: Path):
    """Of location, linear 1, .98 and permute .5, .4; of nine classes .9, .9 and .7, .8."""
    classes = {"task": "classification"}
    values = {
        ("linear", ()): (100, 98),
        ("permute", ()): (50, 40),
        ("linear", (("task", "classification"),)): (90, 90),
        ("permute", (("task", "classification"),)): (70, 80),
    }
    rows = [
        score(value, seed, **DIGITS, head=head, **dict(changes))
        for (head, changes), found in values.items()
        for seed, value in enumerate(found)
    ]
    # Of ten classes: not as hard to guess as nine cells.
    rows += [score(20.0, seed, **DIGITS, **classes, head="linear", classes=10) for seed in (0, 1)]
    rows += [score(11.0, 0, **DIGITS, head="linear", padding="circular")]
    write(tmp_path, *rows)
    found = compare_pooling(tmp_path).set_index("comparison")
    ordering = found.loc["location: linear minus permute"]
    arm = stats.t.ppf(0.975, 1) * np.std([0.5, 0.58], ddof=1) / np.sqrt(2)
    assert ordering["difference"] == pytest.approx(0.54)
    assert (ordering["low"], ordering["high"]) == pytest.approx((0.54 - arm, 0.54 + arm))
    cost = found.loc["cost for location minus cost for class"]
    assert cost["difference"] == pytest.approx(((0.5 - 0.2) + (0.58 - 0.1)) / 2)
    assert (cost["more"], cost["less"]) == pytest.approx((0.54, 0.15))
    border = found.loc["zeros minus circular padding"]
    assert border["reason"] == "fewer than two seeds in common"
    assert not found["fill"].any()
    verdicts = decide(compare_pooling(tmp_path)).set_index("claim")["verdict"]
    assert verdicts["trained-ordering-3"] == "holds"  # .54 +- .51
    assert verdicts["trained-location-more-3"] == "does not hold"  # .39 +- 1.1
    assert verdicts["trained-border-3"] == "not measured"


@pytest.mark.parametrize(
    ("column", "value"),
    [("padding", "zero"), ("patches", "mnist"), ("augshift", "some"), ("value", "x")],
)
def test_a_damaged_file_is_named_with_its_row(tmp_path: Path, column: str, value: Any):
    rows = score(95.0, 0, 1, **DIGITS)
    rows[1][column] = value
    write(tmp_path, rows)
    with pytest.raises(UserError, match=rf"pooled\.csv, row 3: {column} is .*train-backbone"):
        make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "tables"))


def test_what_a_claim_lacks_is_trained_by_the_recipe_of_the_others(tmp_path: Path):
    write(tmp_path, score(95.0, 0, 1, **DIGITS, head="linear"))
    command = (
        "train-backbone --task location --network small --head permute --grid 3 --padding zeros "
        "--patches digits --patch-size 32 --epochs 20 --batch-size 48 --optimizer adam "
        "--learning-rate 0.001 --mirror --seeds 3"
    )
    assert command in set(compare_pooling(tmp_path)["fill"])
    plan = CliRunner().invoke(train_backbone, [*command.split()[1:], "--dry-run"])
    assert plan.exit_code == 0, plan.stderr


def test_readouts_beside_trained_networks_lack_the_other_placed_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    demo_results(tmp_path)
    write(tmp_path, score(95.0, 0, 1, **DIGITS))
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "tables", format=("md",)))
    said = capsys.readouterr().out
    assert "Table S1." in said
    assert "Tables K4, D, C and L, " in said


def test_augshift_is_judged_by_kappa(tmp_path: Path):
    rows = []
    for weight, kappas in (("0", (0.5, 0.51, 0.52)), ("1", (0.6, 0.62, 0.61))):
        for seed, kappa in enumerate(kappas):
            for kind in ("crop", "zero", "roll"):
                changes = WHOLE | DIGITS | {"augshift": weight, "metric": f"{kind}_kappa"}
                rows += score(kappa, seed, **changes)
    write(tmp_path, rows)
    (claim,) = decide(compare_pooling(tmp_path)).itertuples()
    assert (claim.claim, claim.verdict, claim.n_networks) == ("augshift-1", "holds", 3)
    assert claim.difference == pytest.approx(0.1)
