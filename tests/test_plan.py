"""Which runs a command asks for: by what the caches hold, wherever they lie."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from caches import make_cache

from analysis.config import TablesConfig
from analysis.make import make_tables
from data.tools.errors import UserError
from probe.config import ProbeConfig
from probe.plan import plan_runs
from probe.train import train_probes


def config(folder: Path, **changes) -> ProbeConfig:
    asked = ProbeConfig(
        cache_dir=folder / "features",
        results_dir=folder / "results",
        levels=("f1",),
        kernel_size=(1,),
        pattern=("H",),
        epochs=1,
        precision="fp32",
    )
    return replace(asked, **changes)


def names(asked: ProbeConfig) -> list[str]:
    return [run.name for run in plan_runs(asked)]


def incomplete(folder: Path, of: str) -> None:
    folder.mkdir(parents=True)
    shutil.copy(folder.parent / of / "manifest.json", folder)


def test_an_incomplete_cache_stops_no_other(tmp_path: Path, capsys):
    make_cache(tmp_path / "features")
    incomplete(tmp_path / "features" / "resnet152-random-zeros", "vgg16-random-zeros")
    for backbone in ((), ("vgg16",)):
        assert names(config(tmp_path, backbone=backbone)) == ["vgg16-random-zeros"]
        error = capsys.readouterr().err
        assert "left out: " in error
        assert "resnet152-random-zeros holds an incomplete cache" in error
        assert error.count("\n") == 1
    with pytest.raises(UserError, match=r"no cache of backbone 'resnet152'.*incomplete cache"):
        names(config(tmp_path, backbone=("resnet152",)))


def test_a_foreign_manifest_stops_nothing(tmp_path: Path):
    make_cache(tmp_path / "features")
    (tmp_path / "features" / "site").mkdir()
    (tmp_path / "features" / "site" / "manifest.json").write_text('{"name": "a web page"}')
    assert names(config(tmp_path)) == ["vgg16-random-zeros"]


@pytest.mark.parametrize("copied", ["copy", "pixels", "vgg16-random-zeros-exact", "link"])
def test_a_copy_is_trained_from_once_and_breaks_no_table(tmp_path: Path, capsys, copied: str):
    folder = make_cache(tmp_path / "features").folder
    if copied == "link":
        (folder.parent / copied).symlink_to(folder)
    else:
        shutil.copytree(folder, folder.parent / copied)
    path = train_probes(config(tmp_path, sweep=True, levels=(), depth=(1,)))
    assert f"{copied} is a copy of" in capsys.readouterr().err
    assert set(pd.read_csv(path)["run"]) == {"vgg16-random-zeros", "pixels"}
    make_tables(TablesConfig(results_dir=tmp_path / "results", out=tmp_path / "tables"))


@pytest.mark.parametrize("renamed", ["mine", "pixels", "vgg16-random-zeros-exact"])
def test_a_renamed_cache_shares_no_run_with_another(tmp_path: Path, renamed: str):
    make_cache(tmp_path / "features").folder.rename(tmp_path / "features" / renamed)
    (only,) = names(config(tmp_path))
    assert only.startswith("vgg16-random-zeros-")
    assert names(config(tmp_path, solver="exact", epochs=None)) == [f"{only}-exact"]


def test_a_renamed_cache_goes_on_with_its_results(tmp_path: Path):
    folder = make_cache(tmp_path / "features").folder
    path = train_probes(config(tmp_path))
    before = path.read_bytes()
    folder.rename(tmp_path / "features" / "mine")
    assert train_probes(config(tmp_path)).read_bytes() == before


@pytest.mark.parametrize("backbone", ["timm:resnet18", "a/b:c"])
def test_pixels_are_one_run_whatever_the_backbone(tmp_path: Path, backbone: str):
    make_cache(tmp_path / "features")
    folder = make_cache(tmp_path / "other", backbone="other").folder
    cache = make_cache(tmp_path / "features", backbone=backbone, name=folder.name)
    asked = config(tmp_path, sweep=True, levels=(), kernel_size=(3,), depth=(1,))
    path = train_probes(asked)
    scores = pd.read_csv(path)
    assert set(scores[scores["backbone"] == "pixels"]["run"]) == {"pixels"}
    assert backbone in set(scores["backbone"])
    assert cache.identity.backbone == backbone
    make_tables(TablesConfig(results_dir=tmp_path / "results", out=tmp_path / "tables"))


def test_two_checkpoints_of_one_name_stand_in_one_table(tmp_path: Path):
    for place, digest in (("one", "1" * 64), ("two", "2" * 64)):
        make_cache(tmp_path / place / "features", weights="checkpoint", weights_sha256=digest)
        asked = config(tmp_path / place, results_dir=tmp_path / "results")
        path = train_probes(asked)
        assert train_probes(asked) == path  # and again
    scores = pd.read_csv(path)
    assert set(scores["weights"]) == {"checkpoint", "checkpoint-222222"}
    assert set(scores["run"]) == {"vgg16-checkpoint-zeros", "vgg16-checkpoint-222222-zeros"}
    make_tables(TablesConfig(results_dir=tmp_path / "results", out=tmp_path / "tables"))


def test_the_same_images_by_another_path_go_on(tmp_path: Path):
    make_cache(tmp_path / "features")
    make_cache(tmp_path / "features", padding="none", sources={"train": "/x", "test": "/y"})
    asked = config(tmp_path, levels=("input",), kernel_size=(3,))
    train_probes(replace(asked, backbone=("vgg16",)))
    shutil.rmtree(tmp_path / "features" / "vgg16-random-zeros")
    assert "pixels" in names(asked)
    assert train_probes(asked).exists()


def test_a_cache_that_the_sweep_leaves_out_is_named(tmp_path: Path, capsys):
    make_cache(tmp_path / "features", backbone="vgg16")
    other = make_cache(tmp_path / "features", backbone="other").folder.name
    asked = config(tmp_path, sweep=True, levels=())  # 1x1 heads: the tables ask vgg16 alone
    assert [name.partition("-")[0] for name in names(asked)] == ["vgg16", "pixels"]
    said = capsys.readouterr().err
    assert f"on {other} is left by these options" in said
    assert "leave --sweep out" in said
    names(replace(asked, kernel_size=(3,)))
    names(replace(asked, levels=("input",), kernel_size=(3,)))
    assert not capsys.readouterr().err
