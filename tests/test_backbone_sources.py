"""Backbones from elsewhere: a source added from outside, and factories of one's own."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn.functional import interpolate

from data.cache.reader import FeatureCache
from data.tools.errors import UserError
from extract.backbones.backbone import load_backbone
from extract.backbones.sources import find
from extract.backbones.sources.architecture import Architecture
from extract.cli import main
from extract.run import extract_features
from tests.extraction import make_photos, small_config

NETS = """
from torch import nn
import torch

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2))

net.taps = ("1", "2")

def known():
    module = net()
    nn.init.constant_(module[0].weight, 0.5)
    return module

known.taps = net.taps

def nothing():
    return 3

value = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    return make_photos(tmp_path / "photos", train=2, test=1)


def load(name: str, **changes: str) -> object:
    return load_backbone(
        name, **{"weights": "own", "padding": "zeros", "taps": "paper"} | changes, seed=0
    )


def test_a_factory_of_ones_own_from_the_command_line(here: Path) -> None:
    options = ["--backbone=module:my_nets:known", "--weights=own", "--image-size=32"]
    options += [f"--train={here / 'train'}", f"--test={here / 'test'}", "--precision=fp32"]
    outcome = CliRunner().invoke(main, options)
    assert outcome.exit_code == 0, outcome.stderr
    folder = Path("features/module-my_nets-known-own-zeros-image-size-32")
    cache = FeatureCache(folder)
    assert cache.levels == {"input": 3, "f1": 4, "f2": 5}
    image = torch.from_numpy(cache["input"][0].astype(np.float32))[None]
    assert image.shape == (1, 3, 28, 28)
    module = load("module:my_nets:known").module  # type: ignore[attr-defined]
    assert (module[0].weight == 0.5).all()


def test_seeds_draw_the_weights_of_a_factory(here: Path) -> None:
    first, again = (load("module:my_nets:net", weights="random") for _ in range(2))
    assert first.weights_sha256 == again.weights_sha256  # type: ignore[attr-defined]
    assert first.weights_source == "seed 0"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("module:my_nets", {}, "write module:package.file:factory"),
        ("module:my_nets:none", {}, "cannot be had .*none"),
        ("module:no_nets:net", {}, "cannot be had .*no_nets"),
        ("module:my_nets:value", {}, "a int, not a factory"),
        ("module:my_nets:nothing", {}, "returns a int: return a nn.Module"),
        ("module:my_nets:net", {"weights": "imagenet"}, "use --weights own"),
        ("alexnet", {"weights": "own"}, "alexnet has no weights of its own"),
    ],
)
def test_what_is_no_factory(here: Path, name: str, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        load(name, **changes)


def test_a_source_from_outside_gives_backbones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "_sources", dict(find._sources))

    def build(name: str, seed: int, image_size: int) -> Architecture:
        same = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(same.weight)
        module = nn.Sequential(same, nn.AvgPool2d(int(name.removeprefix("pool:"))))
        return Architecture(module, {"paper": ("1",)}, False, lambda: ({}, "nowhere"))

    find.add_source("pool:", build)
    photos = make_photos(tmp_path / "photos", train=2, test=1)
    config = small_config(photos, tmp_path, backbone="pool:2", taps=None)
    cache = FeatureCache(extract_features(config))
    assert cache.folder.name == "pool-2-random-zeros-image-size-32"
    assert cache.levels == {"input": 3, "f1": 3}
    from data.images.decoding import decode_image

    pixels = decode_image((photos / "train" / "photo-000.png").read_bytes(), 32)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    pooled = nn.functional.avg_pool2d(image, 2)
    expected = interpolate(pooled, (28, 28), mode="bilinear", align_corners=True)
    np.testing.assert_allclose(cache["f1"][0], expected[0].numpy(), atol=1e-3)
