from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from data.protocols import PROTOCOLS
from data.tools.errors import UserError
from data.vocabulary import PADDINGS
from extract.backbones.backbone import Backbone, load_backbone, wrap_module
from extract.levels import LevelExtractor, align

pytestmark = pytest.mark.usefixtures("one_thread")

PAPER = PROTOCOLS["paper"].features
MODES = ("reflect", "replicate", "circular")


def padded(name: str, padding: str, **options: Any) -> Backbone:
    given = {"weights": "random", "taps": "paper", "seed": 0, "image_size": 64} | options
    return load_backbone(name, padding=padding, **given)


def random_images(size: int) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size))


def padded_convolution(images: Tensor, layer: nn.Conv2d, padding: str) -> Tensor:
    """One convolution of a network as built, on an image padded beforehand."""
    assert layer.padding_mode == "zeros"
    if padding not in ("none", "zeros"):
        rows, columns = layer.padding
        edges = (columns, columns, rows, rows)
        images = functional.pad(images, edges, mode=padding)
    edge = layer.padding if padding == "zeros" else 0
    return functional.conv2d(images, layer.weight, layer.bias, layer.stride, edge)


@pytest.mark.parametrize("padding", PADDINGS)
def test_alexnet_equals_images_padded_by_hand(padding: str) -> None:
    images = random_images(192)
    torch.manual_seed(0)
    network = models.alexnet(weights=None).eval()
    expected = {}
    with torch.no_grad():
        x = images
        for index, layer in enumerate(network.features):
            is_convolution = isinstance(layer, nn.Conv2d)
            x = padded_convolution(x, layer, padding) if is_convolution else layer(x).clone()
            if isinstance(layer, nn.ReLU):
                expected[f"features.{index}"] = x
            if index == 11:
                break
    backbone = padded("alexnet", padding, image_size=192)
    levels = LevelExtractor(backbone, PAPER)(images)
    assert len(backbone.taps) == 5
    for level, node in backbone.taps.items():
        torch.testing.assert_close(levels[level], align(expected[node], "bilinear"))
    changed = [] if padding == "zeros" else [f"features.{index}" for index in (0, 3, 6, 8, 10)]
    assert backbone.padding_changes.get("convolutions", []) == changed


@pytest.mark.parametrize("padding", MODES)
def test_resnet18_stem_and_first_block_equal_images_padded_by_hand(padding: str) -> None:
    images = random_images(64)
    torch.manual_seed(0)
    network = models.resnet18(weights=None).eval()
    block = network.layer1[0]
    with torch.no_grad():
        stem = functional.relu(network.bn1(padded_convolution(images, network.conv1, padding)))
        x = functional.max_pool2d(stem, 3, 2, 1)
        y = functional.relu(block.bn1(padded_convolution(x, block.conv1, padding)))
        y = functional.relu(block.bn2(padded_convolution(y, block.conv2, padding)) + x)
    backbone = padded("resnet18", padding, taps=("relu", "layer1.0"))
    levels = LevelExtractor(backbone, PAPER)(images)
    for level, expected in {"f1": stem, "f2": y}.items():
        torch.testing.assert_close(levels[level], align(expected, "bilinear"), rtol=1e-4, atol=1e-5)
    # 20 convolutions, of which three 1x1 in shortcuts do not pad; the max pool does.
    assert len(backbone.padding_changes["convolutions"]) == 17
    assert backbone.padding_changes["max_pools_unchanged"] == ["maxpool"]
    assert backbone.padding_changes["padding"] == padding


def test_zeros_changes_nothing() -> None:
    assert padded("resnet18", "zeros").padding_changes == {}


def test_vgg16_without_padding_shrinks_as_convolutions_do() -> None:
    backbone = padded("vgg16", "none", image_size=224, taps=("features.29",))
    sides: list[int] = []
    backbone.module.features[29].register_forward_hook(lambda m, i, out: sides.append(out.shape[2]))
    LevelExtractor(backbone, PAPER)(torch.zeros(1, 3, 224, 224))
    # ((((224 - 4) / 2 - 4) / 2 - 6) / 2 - 6) / 2 - 6, rounded down at each pool
    assert sides == [2]


@pytest.mark.parametrize("padding", MODES)
def test_constant_images_stay_constant_without_borders(padding: str) -> None:
    """With zeros a border shows in a constant image; with these paddings none can."""
    images = torch.full((1, 3, 64, 64), 0.7)
    for mode in (padding, "zeros"):
        levels = LevelExtractor(padded("squeezenet1_1", mode), PAPER)(images)
        spread = max(float((m.amax((2, 3)) - m.amin((2, 3))).max()) for m in levels.values())
        assert (spread > 0.01) == (mode == "zeros"), mode


@pytest.mark.parametrize(
    ("name", "padding", "size", "message"),
    [
        ("resnet18", "none", 64, "'none' is not defined for resnet18.*branches.*sizes differ"),
        ("densenet121", "none", 64, "adds or concatenates"),
        ("squeezenet1_1", "none", 64, "adds or concatenates"),
        ("googlenet", "none", 64, "adds or concatenates"),
        ("shufflenet_v2_x0_5", "none", 64, "adds or concatenates"),
        ("convnext_tiny", "none", 64, "adds or concatenates"),
        ("vgg19", "none", 224, "'none' does not work for vgg19 on 224x224 images"),
        ("resnet18", "reflect", 32, "'reflect' does not work for resnet18 on 32x32.*Padding size"),
        ("inception_v3", "reflect", 128, "average pools would still pad with zeros"),
        ("maxvit_t", "circular", 224, "average pools would still pad with zeros"),
        ("vit_b_32", "replicate", 64, "no convolution of vit_b_32 pads"),
        ("swin_t", "reflect", 64, "no convolution of swin_t pads"),
        ("resnet18", "mirror", 64, "unknown padding 'mirror': use one of zeros, none"),
    ],
)
def test_padding_that_is_not_well_defined_is_refused(
    name: str, padding: str, size: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        padded(name, padding, image_size=size)


def test_stem_of_a_resnet_is_a_chain() -> None:
    changes = padded("resnet18", "none", taps=("relu",)).padding_changes
    assert "conv1" in changes["convolutions"]


class Pooled(nn.Sequential):
    """A convolution, and an average pool that pads."""

    def __init__(self, counts: bool) -> None:
        pool = nn.AvgPool2d(3, 1, padding=1, count_include_pad=counts)
        super().__init__(nn.Conv2d(3, 4, 3, padding=1), pool)


def test_average_pools_matter_only_when_they_count_their_zeros() -> None:
    options: dict[str, Any] = {"name": "own", "taps": ("1",), "image_size": 28}
    wrap_module(Pooled(counts=False), padding="reflect", **options)
    with pytest.raises(UserError, match="average pools would still pad with zeros"):
        wrap_module(Pooled(counts=True), padding="reflect", **options)


class Explicit(nn.Module):
    """Pads by itself before a convolution that does too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding="same")
        self.second = nn.Conv2d(4, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(functional.pad(self.first(images), (1, 1, 1, 1)))


def test_zeros_padded_by_hand_are_found() -> None:
    with pytest.raises(UserError, match="explicit padding would still pad with zeros"):
        wrap_module(Explicit(), name="own", taps=("second",), padding="reflect", image_size=28)


@pytest.mark.parametrize("padding", ["none", "reflect"])
def test_padding_same_is_changed_as_well(padding: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"))
    options: dict[str, Any] = {"name": "own", "taps": ("0",), "image_size": 28}
    backbone = wrap_module(network, padding=padding, **options)
    images = random_images(28)
    expected = functional.pad(images, (1,) * 4, mode="reflect") if padding == "reflect" else images
    expected = functional.conv2d(expected, network[0].weight, network[0].bias).detach()
    levels = LevelExtractor(backbone, PAPER)(images)
    torch.testing.assert_close(levels["f1"], align(expected, "bilinear"))
