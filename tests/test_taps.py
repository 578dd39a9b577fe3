import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from data.protocols import PROTOCOLS, FeatureRecipe
from data.tools.errors import UserError
from extract.backbones.backbone import wrap_module
from extract.levels import LevelExtractor

pytestmark = pytest.mark.usefixtures("one_thread")

PAPER = PROTOCOLS["paper"].features


def random_images(size: int) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size))


def assert_same(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


class Odd(nn.Module):
    """Maps in every layout a tap may have, with a list for good measure."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Identity()
        self.tokens = nn.Identity()
        self.pair = nn.Module()
        self.unused = nn.Linear(2, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.convolution(images))
        self.last(maps.permute(0, 2, 3, 1))
        patches = maps.flatten(2).transpose(1, 2)
        registers = torch.full((len(images), 5, 8), 100.0)
        self.tokens(torch.cat([registers, patches], dim=1))
        raise RuntimeError("a classifier that fits other images")


def test_own_module_in_every_layout() -> None:
    torch.manual_seed(0)
    module = Odd()
    backbone = wrap_module(
        module, name="odd", taps=("convolution", "relu", "last", "tokens"), image_size=64
    )
    images = random_images(64)
    levels = LevelExtractor(backbone, PAPER)(images)
    raw = module.convolution(images).detach()
    for level, expected in {
        "f1": raw,
        "f2": raw.relu(),
        "f3": raw.relu(),
        "f4": raw.relu(),
    }.items():
        aligned = functional.interpolate(expected, (28, 28), mode="bilinear", align_corners=True)
        assert_same(levels[level], aligned)
    assert module.training
    assert module.convolution.weight.requires_grad
    assert (backbone.name, backbone.weights, len(backbone.weights_sha256)) == ("odd", "own", 64)


def test_node_that_never_runs_is_refused() -> None:
    with pytest.raises(UserError, match="classifier that fits other images"):
        wrap_module(Odd(), name="odd", taps=("relu", "unused"), image_size=64)


def test_map_of_28x28_is_a_copy() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1, stride=8), nn.ReLU(inplace=True))
    backbone = wrap_module(network, name="small", taps=("0", "1"))
    images = random_images(224)
    levels = LevelExtractor(backbone, PAPER)(images)
    raw = backbone.module[0](images)
    assert raw.shape[2:] == (28, 28)
    assert raw.min() < 0
    assert_same(levels["f1"], raw)
    assert_same(levels["f2"], raw.relu())


def test_input_level_is_never_the_images_themselves() -> None:
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 1))
    backbone = wrap_module(network, name="small", taps=("1",), image_size=28)
    images = random_images(28)
    level = LevelExtractor(backbone, PAPER)(images)["input"]
    assert_same(level, images)
    assert level.data_ptr() != images.data_ptr()


def test_reproduction_input_is_in_bytes_and_not_normalised() -> None:
    features: FeatureRecipe = PROTOCOLS["reproduction"].features
    network = nn.Sequential(nn.Conv2d(3, 4, 1))
    backbone = wrap_module(network, name="small", taps=("0",), image_size=28)
    images = random_images(28)
    assert_same(LevelExtractor(backbone, features)(images)["input"], images * 255)
    small = random_images(28).flip(3)
    assert_same(LevelExtractor(backbone, features)(images, small)["input"], small * 255)
