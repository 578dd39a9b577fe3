"""OpenVINO instead of torch: the same features, or a refusal."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data.cache.identity import Identity
from data.cache.reader import FeatureCache
from data.protocols import PROTOCOLS
from data.tools.errors import UserError
from data.vocabulary import ENGINES
from extract.backbones.backbone import load_backbone, wrap_module
from extract.compute import LevelComputer
from extract.engine import OpenVINO, check_engine
from extract.run import extract_features
from tests.extraction import small_config

RECIPE = PROTOCOLS["paper"].features


def levels_of(engine: str, images: torch.Tensor) -> dict[str, np.ndarray]:
    backbone = load_backbone("resnet18", weights="random", padding="circular", taps="paper", seed=0)
    computer = LevelComputer(
        backbone, RECIPE, device=torch.device("cpu"), precision="fp32", engine=engine, batch_size=2
    )
    return computer(images).arrays()[0]


def test_levels_equal_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    # Three images in batches of two: the second batch has another shape.
    images = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=generator)
    exact, found = (levels_of(engine, images) for engine in ENGINES)
    assert list(found) == list(exact)
    for level, maps in found.items():
        difference = np.abs(maps.astype(np.float32) - exact[level].astype(np.float32)).max()
        assert difference <= 2e-3 * np.abs(exact[level].astype(np.float32)).max(), level


def test_taps_before_an_in_place_relu():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3))
    own = wrap_module(layers, name="own", taps=("0", "2"))
    images = torch.rand(2, 3, 16, 16)
    found: dict[str, torch.Tensor] = {}
    OpenVINO(own, "fp32", "none")(images, lambda node, out: found.update({node: out.clone()}))
    first = nn.functional.conv2d(images, layers[0].weight, layers[0].bias)
    assert (first < 0).any()
    torch.testing.assert_close(found["0"], first, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["2"], layers(images), rtol=1e-4, atol=1e-4)


class Branching(nn.Conv2d):
    """What a trace cannot follow: its way depends on what is in the images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = super().forward(images)
        return maps if images.sum() == 0 else 2 * maps


def test_another_result_is_refused():
    torch.manual_seed(0)
    layers = nn.Sequential(Branching(3, 4, 3), nn.ReLU())
    engine = OpenVINO(wrap_module(layers, name="own", taps=("0",)), "fp32", "none")
    with pytest.raises(UserError, match=r"own's 0 otherwise than torch .* use --engine torch"):
        engine(torch.rand(2, 3, 32, 32), lambda node, output: None)


def test_absent_package_and_gpu_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="add --device cpu"):
        check_engine("openvino", torch.device("cuda"))
    monkeypatch.setitem(sys.modules, "openvino", None)
    check_engine("torch", torch.device("cpu"))
    with pytest.raises(UserError, match="pip install openvino"):
        check_engine("openvino", torch.device("cpu"))


def test_a_cache_says_what_ran_its_backbone(photos: Path, tmp_path: Path):
    config = small_config(photos, tmp_path, limit=4, engine="openvino")
    cache = FeatureCache(extract_features(config))
    assert cache.identity.engine == "openvino"
    assert cache.identity.versions["openvino"]
    with pytest.raises(UserError, match='engine: "openvino" in the cache, "torch" now'):
        extract_features(small_config(photos, tmp_path, limit=4))
    assert Identity.from_json(cache.identity.to_json()) == cache.identity
    # What torch ran is written as before there was a choice: its caches keep their digests.
    assert "engine" not in Identity().to_json()
    assert Identity().condition == Identity(engine="openvino").condition
