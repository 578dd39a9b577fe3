"""The training of a backbone: resumed to the bit, refused, and read by the extraction."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from task_folders import half_mask, write_pairs

from data.tools.errors import UserError
from extract.backbones.backbone import load_backbone
from extract.backbones.checkpoints.label import file_label
from extract.backbones.checkpoints.provenance import clean_provenance
from extract.tasks import train as train_module
from extract.tasks import trainer
from extract.tasks.maps import task as map_task
from extract.tasks.maps.config import MapConfig
from extract.tasks.maps.task import COLUMNS, learning_rate
from extract.tasks.saving import last_path
from extract.tasks.scores import write_scores
from extract.tasks.train import train_backbone

QUICK = {
    "levels": "f2",
    "image_size": 32,
    "limit": 20,
    "epochs": 3,
    "batch_size": 6,
    "precision": "fp32",
    "learning_rate": 1e-3,
}


def quick(folder: Path, task: str = "saliency", **changes) -> MapConfig:
    config = MapConfig(task, folder / f"{task}.pt", results_dir=folder / "results", **QUICK)
    return replace(config, **changes)


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert train_backbone(quick(folder)) == folder / "saliency.pt"
    return folder


class _KilledError(Exception):
    pass


def test_interrupted_and_resumed_ends_with_the_same_weights(trained, tmp_path, monkeypatch):
    config = quick(tmp_path)
    steps = 0

    def killed_in_the_second_epoch(*arguments):
        nonlocal steps
        steps += 1
        if steps == 5:  # three steps an epoch
            raise _KilledError
        return learning_rate(*arguments)

    monkeypatch.setattr(map_task, "learning_rate", killed_in_the_second_epoch)
    with pytest.raises(_KilledError):
        train_backbone(config)
    assert load(last_path(config.out))["provenance"]["epoch"] == 1
    monkeypatch.undo()
    torch.manual_seed(99)  # nothing may hang on the global state
    train_backbone(config)
    for name in ("saliency.pt", "saliency-last.pt"):
        whole, resumed = load(trained / name), load(tmp_path / name)
        for part in ("state_dict", "decoder"):
            assert whole[part].keys() == resumed[part].keys()
            assert all(torch.equal(whole[part][k], resumed[part][k]) for k in whole[part])
        assert whole["provenance"] == resumed["provenance"]
    history = [load(folder / "saliency-last.pt")["training"] for folder in (trained, tmp_path)]
    assert history[0]["history"] == history[1]["history"]
    tables = [(folder / "results" / "tasks.csv").read_text() for folder in (trained, tmp_path)]
    assert tables[0] == tables[1]


def test_training_changes_what_it_reads_and_nothing_beyond(trained):
    random = load_backbone("vgg16", weights="random", padding="zeros", taps="paper", seed=0)
    before = random.module.state_dict()
    after = load(trained / "saliency-last.pt")["state_dict"]
    assert not torch.equal(before["features.0.weight"], after["features.0.weight"])
    assert not torch.equal(before["features.7.weight"], after["features.7.weight"])  # conv2_2
    assert torch.equal(before["features.10.weight"], after["features.10.weight"])  # conv3_1


def test_the_extraction_reads_the_checkpoint_as_it_is(trained):
    path = trained / "saliency-last.pt"
    backbone = load_backbone("vgg16", weights=str(path), padding="zeros", taps="paper", seed=0)
    saved = load(path)
    assert backbone.weights == "saliency"  # as table 6 calls it, whatever the file's name
    assert backbone.weights_provenance == saved["provenance"]
    assert {key.split(".")[0] for key in saved["state_dict"]} == {"features"}
    for key, value in backbone.module.state_dict().items():
        assert torch.equal(value, saved["state_dict"][key])


def test_labels_tell_tasks_and_seeds_apart():
    path = Path("folder/mine.pt")
    for found, label in (
        ({"task": "saliency", "seed": 0}, "saliency"),
        ({"task": "segmentation", "seed": 2}, "segmentation-seed2"),
        ({"task": "saliency", "seed": 0, "mirror": False}, "saliency"),
        ({"task": "saliency", "seed": 0, "mirror": True}, "saliency-mirror"),
        ({"task": "saliency", "seed": 3, "mirror": True}, "saliency-mirror-seed3"),
        ({"task": "../../elsewhere", "seed": 0}, "mine"),
        ({"task": "saliency", "seed": "/../../x"}, "mine"),
        ({"task": "saliency", "seed": True}, "mine"),
        ({"task": ["saliency"], "seed": 1}, "mine"),
        ({"task": "saliency"}, "mine"),
        (["saliency"], "mine"),
    ):
        assert file_label(path, clean_provenance(found)) == label


def test_provenance_survives_json_whatever_it_was():
    forged = {"task": "saliency", "seed": 1, 3: (1, float("nan")), "tensor": torch.ones(2)}
    clean = clean_provenance(forged)
    assert clean == {"task": "saliency", "seed": 1, "3": [1, None], "tensor": "Tensor"}
    assert json.loads(json.dumps(clean, allow_nan=False)) == clean
    assert clean_provenance({**forged, "notes": "x" * 10**6}).keys() == {"task", "seed", "left_out"}
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert clean_provenance({**forged, "notes": deep})["left_out"] == "nested too deeply"


def test_provenance_says_what_it_was_trained_on(trained):
    provenance = load(trained / "saliency.pt")["provenance"]
    expected = {
        "task": "saliency",
        "data": "generated-train",
        "images": 20,
        "padding": "zeros",
        "epochs": 3,
        "levels": "f2",
        "image_size": 32,
        "weights": "random",
        "mirror": False,
        "seed": 0,
        "precision": "float32",
    }
    assert expected.items() <= provenance.items()
    assert 1 <= provenance["epoch"] <= 3
    json.dumps(provenance)  # plain values only


def test_the_best_epoch_is_kept_beside_the_last(trained):
    epochs = pd.read_csv(trained / "results" / "tasks" / "saliency" / "epochs.csv")
    assert list(epochs["epoch"]) == [1, 2, 3]
    best, last = load(trained / "saliency.pt"), load(trained / "saliency-last.pt")
    assert last["provenance"]["epoch"] == 3
    assert "training" not in best
    kept = best["provenance"]["validation"]["f_measure"]
    assert kept == pytest.approx(epochs["f_measure"].max(), rel=1e-5)


def test_scores_are_tidy(trained):
    table = pd.read_csv(trained / "results" / "tasks.csv")
    assert list(table.columns) == [*COLUMNS, "run"]
    assert set(table["metric"]) == {
        *("f_measure", "f_measure_maximum", "mae", "crop_slope_x", "crop_slope_y")
    }
    assert set(table["test_set"]) == {"generated-test"}
    assert set(table["n_train"]) == {18}


def named(folder: Path, run: str) -> MapConfig:
    (folder / "tasks" / run).mkdir(parents=True, exist_ok=True)
    return MapConfig("saliency", folder / f"{run}.pt", results_dir=folder)


def test_scores_of_a_run_are_replaced(tmp_path):
    for run, value in (("a", 0.5), ("b", 0.25), ("a", 0.75)):
        row = dict.fromkeys(COLUMNS, "x") | {"metric": "mae", "value": value}
        write_scores(named(tmp_path, run), pd.DataFrame([row]))
    table = pd.read_csv(tmp_path / "tasks.csv")
    assert dict(zip(table["run"], table["value"], strict=True)) == {"a": 0.75, "b": 0.25}


def test_another_setting_is_refused_and_overwritten_on_demand(trained, tmp_path):
    config = quick(tmp_path, seed=1, epochs=1)
    shutil.copy(trained / "saliency.pt", config.out)
    with pytest.raises(UserError, match="epochs: 3 there, 1 here; seed: 0 there, 1 here"):
        train_backbone(config)
    train_backbone(replace(config, overwrite=True))
    assert load(config.out)["provenance"]["seed"] == 1
    config.out.write_bytes(b"something else")
    with pytest.raises(UserError, match="no checkpoint of train-backbone"):
        train_backbone(config)


@pytest.fixture
def no_epoch(monkeypatch):
    """Fail where a first epoch would begin."""

    def began(*_arguments):
        raise AssertionError("an epoch began")

    monkeypatch.setattr(trainer, "_epoch", began)


@pytest.mark.usefixtures("no_epoch")
@pytest.mark.parametrize("option", ["out", "results_dir"])
def test_what_cannot_be_written_is_found_before_the_first_epoch(tmp_path, option):
    (tmp_path / "file").touch()  # no folder can be made below it, root or not
    place = {"out": tmp_path / "file" / "s.pt", "results_dir": tmp_path / "file" / "r"}[option]
    with pytest.raises(UserError, match=f"cannot write to .*--{option.replace('_', '-')}"):
        train_backbone(quick(tmp_path, **{option: place}))


@pytest.mark.usefixtures("no_epoch")
@pytest.mark.parametrize("name", ["saliency-last.pt", "results/tasks.csv"])
def test_a_folder_in_the_way_is_found_before_the_first_epoch(tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match="is a folder, and a file is to be written there"):
        train_backbone(quick(tmp_path))


@pytest.mark.parametrize("name", ["..pt", "...", "", "a\nb.pt", "s-last.pt", "here"])
def test_names_that_cannot_name_a_training_are_refused(tmp_path, name):
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match=r"out .*give a name like saliency\.pt"):
        MapConfig("saliency", tmp_path / name)


def test_without_a_test_set_the_held_out_images_are_scored(tmp_path, capsys):
    data = write_pairs(tmp_path / "own", "images", "masks")
    config = quick(tmp_path, data=data, epochs=1)
    assert train_backbone(config) == config.out
    assert load(config.out)["provenance"]["epoch"] == 1
    assert len(pd.read_csv(tmp_path / "results" / "tasks" / "saliency" / "epochs.csv")) == 1
    assert pd.read_csv(tmp_path / "results" / "tasks.csv").empty
    assert "no --test: only the held-out images" in capsys.readouterr().err


@pytest.mark.usefixtures("no_epoch")
def test_a_second_training_of_one_stem_does_not_erase_the_first(trained, tmp_path):
    shutil.copytree(trained / "results", tmp_path / "results")
    before = (tmp_path / "results" / "tasks.csv").read_bytes()
    config = quick(tmp_path, out=tmp_path / "elsewhere" / "saliency.pt", seed=1)
    with pytest.raises(
        UserError, match=r"tasks/saliency was trained with other settings .*seed: 0 there"
    ):
        train_backbone(config)
    assert (tmp_path / "results" / "tasks.csv").read_bytes() == before
    with pytest.raises(AssertionError):
        train_backbone(replace(config, overwrite=True))
    assert not (tmp_path / "results" / "tasks" / "saliency" / "scores.csv").exists()


@pytest.mark.usefixtures("no_epoch")
@pytest.mark.parametrize("shared", ["out", "results_dir"])
def test_two_trainings_at_once_keep_out_of_each_others_way(tmp_path, shared):
    config = quick(tmp_path)
    changes = {
        "out": {"results_dir": tmp_path / "others"},
        "results_dir": {"out": tmp_path / "elsewhere" / "saliency.pth"},
    }
    (tmp_path / "results" / "tasks" / "saliency").mkdir(parents=True)
    with (
        train_module._alone(config.out),
        train_module._alone(tmp_path / "results" / "tasks" / "saliency" / "training"),
        pytest.raises(UserError, match="another train-backbone is at work"),
    ):
        train_backbone(replace(config, **changes[shared]))


def test_scores_of_other_test_sets_stay(tmp_path):
    row = dict.fromkeys(COLUMNS, "x") | {"metric": "mae"}
    for rows in (
        [row | {"test_set": "one", "value": 0.123456789}],
        [row | {"test_set": "two", "value": 0.5}],
        [],
    ):
        write_scores(named(tmp_path, "a"), pd.DataFrame(rows, columns=COLUMNS))
    table = pd.read_csv(tmp_path / "tasks.csv")
    assert dict(zip(table["test_set"], table["value"], strict=True)) == {
        "one": 0.123457,
        "two": 0.5,
    }


@pytest.mark.usefixtures("no_epoch")
def test_a_test_set_of_other_classes_is_refused(tmp_path):
    scored = write_pairs(tmp_path / "scored", "images", "masks", count=2, value=1)
    with pytest.raises(UserError, match=r"scored has 2 classes and generated-train.*5"):
        train_backbone(quick(tmp_path, "segmentation", test=(scored,), classes=2))


def test_a_class_that_does_not_occur_is_null_and_the_training_goes_on(tmp_path):
    data = write_pairs(tmp_path / "own", "images", "masks", value=1)
    config = quick(tmp_path, "segmentation", data=data, classes=9, epochs=1)
    train_backbone(config)
    provenance = load(config.out)["provenance"]
    assert None in provenance["validation"].values()
    json.dumps(provenance, allow_nan=False)
    assert train_backbone(config) == config.out  # finished: resumed, and scored again


def test_masks_that_count_nowhere_are_refused(tmp_path):
    data = write_pairs(tmp_path / "own", "images", "masks", value=1)
    thin = half_mask(value=255)  # of one pixel that counts, which 32 pixels a side leave out
    thin[:] = 255
    thin[0, 2] = 1
    Image.fromarray(thin).save(data / "masks" / "picture09.png")
    with pytest.raises(UserError, match="no pixel of the held-out masks"):
        train_backbone(quick(tmp_path, "segmentation", data=data, classes=2))


@pytest.mark.parametrize("part", ["training", "decoder", "state_dict", "provenance"])
def test_a_checkpoint_without_a_part_is_refused(trained, tmp_path, part):
    content = load(trained / "saliency-last.pt")
    content[part] = [1]
    torch.save(content, tmp_path / "saliency-last.pt")
    with pytest.raises(UserError, match="no checkpoint of train-backbone, or a damaged one"):
        train_backbone(quick(tmp_path))


def test_segmentation_of_a_folder_from_a_checkpoint(trained, tmp_path):
    data = write_pairs(tmp_path / "own", "images", "masks", value=1)
    scored = write_pairs(tmp_path / "scored", "images", "masks", count=2, value=1)
    start = str(trained / "saliency.pt")
    config = quick(
        tmp_path, "segmentation", data=data, test=(scored,), classes=2, weights=start, epochs=1
    )
    train_backbone(config)
    table = pd.read_csv(tmp_path / "results" / "tasks.csv")
    assert set(table["train_set"]) == {"own"}
    assert set(table["test_set"]) == {"scored"}
    assert set(table["metric"]) == {"miou_percent", "iou_percent:0", "iou_percent:1"}


@pytest.mark.usefixtures("no_epoch")
def test_where_it_starts_is_known_by_content(trained, tmp_path):
    start = tmp_path / "start.pt"
    config = quick(tmp_path, weights=str(start))
    torch.save(load(trained / "saliency.pt"), start)
    with pytest.raises(AssertionError, match="an epoch began"):
        train_backbone(config)
    content = load(start)
    content["state_dict"]["features.0.bias"] += 1
    torch.save(content, start)
    with pytest.raises(UserError, match=r"other settings \(weights_sha256"):
        train_backbone(config)


def test_it_learns_what_needs_no_position(tmp_path):
    # The right half is white in every image: one level and few steps are enough.
    folder = write_pairs(tmp_path / "halves", "images", "masks", count=20)
    for path in (folder / "images").iterdir():
        Image.fromarray(half_mask()).save(path)
    train_backbone(quick(tmp_path, data=folder, test=(folder,), epochs=15, levels="f1"))
    table = pd.read_csv(tmp_path / "results" / "tasks.csv").set_index("metric")["value"]
    assert table["f_measure_maximum"] > 0.95
    assert table["mae"] < 0.35  # of guessing: 0.5


def test_training_on_mirrored_images_is_a_training_of_its_own(tmp_path):
    whole = quick(tmp_path / "whole", mirror=True)
    train_backbone(whole)
    assert load(whole.out)["provenance"]["mirror"] is True
    table = pd.read_csv(tmp_path / "whole" / "results" / "tasks.csv")
    assert set(table["mirror"]) == {True}
    plain = quick(tmp_path / "plain")
    train_backbone(plain)
    weights = [load(last_path(c.out))["state_dict"]["features.0.weight"] for c in (whole, plain)]
    assert not torch.equal(*weights)
    with pytest.raises(UserError, match="mirror: False there, True here"):
        train_backbone(replace(plain, mirror=True))


def test_seeds_side_by_side_are_the_single_ones(tmp_path):
    config = quick(tmp_path, levels="f1", epochs=1, seeds=2)
    assert train_backbone(config) == config.out
    alone = replace(config, seed=1, seeds=1, out=tmp_path / "alone.pt")
    train_backbone(alone)
    together = load(tmp_path / "saliency-seed1.pt")
    for part in ("state_dict", "decoder"):
        for key, value in load(alone.out)[part].items():
            torch.testing.assert_close(value, together[part][key], rtol=1e-4, atol=1e-6)
    table = pd.read_csv(tmp_path / "results" / "tasks.csv")
    assert set(table["run"]) == {"saliency", "saliency-seed1", "alone"}
    assert list(table.groupby("run")["seed"].unique().explode()) == [1, 0, 1]
