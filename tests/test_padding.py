import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from data.images.samples import sample_image
from data.protocols import PROTOCOLS
from data.tools.errors import UserError
from data.vocabulary import PADDINGS
from extract.backbones.audit import audited_changes, place_changes
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
    if padding == "partial":
        return partial_convolution(images, layer)
    if padding == "full":
        reach = [kernel - 1 for kernel in layer.kernel_size]
        return functional.conv2d(images, layer.weight, layer.bias, layer.stride, reach)
    if padding not in ("none", "zeros"):
        rows, columns = layer.padding
        edges = (columns, columns, rows, rows)
        images = functional.pad(images, edges, mode=padding)
    edge = layer.padding if padding == "zeros" else 0
    return functional.conv2d(images, layer.weight, layer.bias, layer.stride, edge)


def partial_convolution(images: Tensor, layer: nn.Conv2d) -> Tensor:
    """Window by window: the weighted sum over zeros, as if the mean of what is seen went on."""
    (rows, columns), (step, _), (edge, _) = layer.kernel_size, layer.stride, layer.padding
    weight = layer.weight.flatten(1)
    seen = functional.unfold(images, layer.kernel_size, padding=layer.padding, stride=step)
    sums = (weight @ seen).unflatten(2, (-1, math.isqrt(seen.shape[2])))
    size = images.shape[2]
    inside = [
        sum(0 <= start * step - edge + tap < size for tap in range(rows))
        for start in range(sums.shape[2])
    ]
    counts = torch.tensor(inside).float()
    assert layer.bias is not None
    assert rows == columns
    scale = rows * columns / torch.outer(counts, counts)
    return sums * scale + layer.bias[:, None, None]


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
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = padding == "full"
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
        x = functional.max_pool2d(functional.pad(stem, (1,) * 4, mode=padding), 3, 2)
        y = functional.relu(block.bn1(padded_convolution(x, block.conv1, padding)))
        y = functional.relu(block.bn2(padded_convolution(y, block.conv2, padding)) + x)
    backbone = padded("resnet18", padding, taps=("relu", "layer1.0"))
    levels = LevelExtractor(backbone, PAPER)(images)
    for level, expected in {"f1": stem, "f2": y}.items():
        torch.testing.assert_close(levels[level], align(expected, "bilinear"), rtol=1e-4, atol=1e-5)
    assert backbone.padding_changes == {
        "padding": padding,
        "convolutions": ["conv1", "layer1.0.conv1", "layer1.0.conv2"],  # as far as the taps
        "pools": ["maxpool"],
        "explicit_padding": [],
    }


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
        ("resnet18", "full", 64, "'full' is not defined for resnet18.*branches.*sizes differ"),
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


def test_functions_are_reached_as_modules_are() -> None:
    """InceptionV3 pools by a function, with zeros that count."""
    changes = padded("inception_v3", "reflect", image_size=128).padding_changes
    assert "Mixed_5b" in changes["pools"]


class Unusual(nn.Module):
    """Everything that meets a border, as functions: nothing here is a module that could be set."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding="same")
        self.second = nn.Conv2d(4, 4, 3, bias=False)
        self.tap = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.pad(self.first(images), (1, 1, 1, 1))
        maps = functional.avg_pool2d(self.second(maps), 3, stride=1, padding=1)
        maps = functional.max_pool2d(maps, 3, stride=2, ceil_mode=True)
        return self.tap(functional.avg_pool2d(maps, 3, 1, 1, count_include_pad=False))


def by_hand(network: Unusual, images: Tensor, padding: str) -> Tensor:
    """The same, every border padded beforehand; the max pool of 32 cells hangs over by one."""

    def pad(maps: Tensor, *edges: int) -> Tensor:
        return functional.pad(maps, edges, mode=padding)

    maps = functional.conv2d(pad(images, 1, 1, 1, 1), network.first.weight, network.first.bias)
    maps = functional.conv2d(pad(maps, 1, 1, 1, 1), network.second.weight)
    maps = functional.avg_pool2d(pad(maps, 1, 1, 1, 1), 3, 1)
    maps = functional.max_pool2d(pad(maps, 0, 1, 0, 1), 3, 2)
    return functional.avg_pool2d(pad(maps, 1, 1, 1, 1), 3, 1)


@pytest.mark.parametrize("padding", MODES)
def test_every_operation_that_meets_the_border_is_reached(padding: str) -> None:
    network = Unusual().eval()
    backbone = wrap_module(network, name="own", taps=("tap",), padding=padding, image_size=32)
    images = random_images(32)
    with torch.no_grad():
        torch.testing.assert_close(backbone.module(images), by_hand(network, images, padding))
        assert not torch.allclose(network(images), backbone.module(images))  # a copy was changed
    assert backbone.padding_changes["explicit_padding"] == [""]  # the network's own forward
    pickled = pickle.loads(pickle.dumps(backbone))  # as for the workers of a cluster
    with torch.no_grad():
        assert torch.equal(pickled.module(images), backbone.module(images))


def test_zeros_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(UserError, match="explicit padding would still pad with zeros"):
        wrap_module(Unusual(), name="own", taps=("tap",), padding="partial", image_size=32)


@pytest.mark.parametrize(
    "name",
    [
        "vgg11",
        "resnet18",
        "googlenet",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mnasnet0_5",
        "efficientnet_b0",
        "shufflenet_v2_x0_5",
        "regnet_y_400mf",
        "convnext_tiny",
    ],
)
def test_no_border_is_left_under_circular(name: str) -> None:
    size = 96 if name == "convnext_tiny" else 64  # its last kernels see three cells beyond
    changes = {
        padding: place_changes(
            padded(name, padding, image_size=size), normalization="none", image_size=size
        )
        for padding in ("circular", "zeros")
    }
    assert max(changes["circular"].values()) < 1e-10
    assert changes["zeros"]["f5"] > 0.3


def test_changes_are_those_of_plain_passes_over_the_places() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU())
    backbone = wrap_module(network, name="own", taps=("1",), image_size=96)
    patch = torch.from_numpy(sample_image(0, 0, 32)).permute(2, 0, 1) / 255
    pooled = []
    for top, left in ((0, 0), (0, 64), (64, 0), (64, 64), (32, 32)):
        image = torch.zeros(1, 3, 96, 96)
        image[0, :, top : top + 32, left : left + 32] = patch
        pooled.append(backbone.module(image).mean((0, 2, 3)))
    means = torch.stack(pooled)
    expected = float(((means.amax(0) - means.amin(0)) / means.mean(0)).max())
    changes = audited_changes(backbone, normalization="none", image_size=96)
    assert changes == {"f1": pytest.approx(expected, rel=5e-3)}
    circular = wrap_module(network, name="own", taps=("1",), padding="circular", image_size=96)
    assert audited_changes(circular, normalization="none", image_size=96) == {"f1": 0.0}


def test_where_there_is_no_room_for_two_places_nothing_is_said() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2))
    backbone = wrap_module(layers, name="own", taps=("0",), image_size=63)
    assert place_changes(backbone, normalization="none", image_size=63) == {}


def test_an_audit_gives_the_network_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    class Mixed(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            if images.dtype != torch.float32:
                raise RuntimeError("float32 alone")
            return super().forward(images)

    network = nn.Sequential(Mixed(3, 4, 3, padding=1, padding_mode="circular"))
    network.register_buffer("exact", torch.ones(2, dtype=torch.float64))
    network.register_buffer("count", torch.tensor(3))
    backbone = wrap_module(network, name="own", taps=("0",), image_size=96)
    before = {name: (t.dtype, t.clone()) for name, t in backbone.module.state_dict().items()}
    assert audited_changes(backbone, normalization="none", image_size=96) == {}
    assert "(float32 alone)" in capsys.readouterr().err
    for name, tensor in backbone.module.state_dict().items():
        assert tensor.dtype == before[name][0]
        assert torch.equal(tensor, before[name][1])


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "inception_v3"])
def test_networks_that_cut_their_maps_keep_a_border(name: str) -> None:
    backbone = padded(name, "circular", image_size=96)
    changes = place_changes(backbone, normalization="none", image_size=96)
    assert changes["f5"] > 0.1
    assert next(backbone.module.parameters()).dtype == torch.float32  # given back as it was


@pytest.mark.parametrize("bias", [False, True])
def test_full_is_exact_without_biases(bias: bool) -> None:
    """With biases the background is no longer 0, and the next zeros show the border again."""
    layers = [nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*layers, nn.Conv2d(8, 8, 5, padding=2, bias=bias), nn.ReLU())
    options: dict[str, Any] = {"name": "own", "taps": ("1", "4"), "image_size": 64}
    backbone = wrap_module(network, padding="full", **options)
    changes = place_changes(backbone, normalization="none", image_size=64)
    assert (max(changes.values()) < 1e-10) == (not bias)
    zeros = wrap_module(network, **options)
    assert place_changes(zeros, normalization="none", image_size=64)["f1"] > 1e-3


def test_partial_pools_do_not_count_their_zeros() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.AvgPool2d(3, 1, padding=1))
    torch.nn.init.zeros_(network[0].weight)
    backbone = wrap_module(network, name="own", taps=("1",), padding="partial", image_size=28)
    maps = backbone.module(torch.zeros(1, 3, 28, 28))
    torch.testing.assert_close(maps, network[0].bias.detach()[:, None, None].expand_as(maps))


@pytest.mark.parametrize(
    ("size", "uneven"), [(224, {"conv1": 1, "maxpool": 1}), (225, {"conv1": 0, "maxpool": 0})]
)
def test_cells_that_strided_windows_leave_out(size: int, uneven: dict[str, int]) -> None:
    # (224 + 6 - 7) mod 2 = 1, then (112 + 2 - 3) mod 2 = 1; from 225: 0, then (113 + 2 - 3) mod 2
    windows = padded("resnet18", "zeros", image_size=size, taps=("layer1",)).windows
    found = {window.node: window.uneven for window in windows if window.stride != (1, 1)}
    assert found == {node: (rest, rest) for node, rest in uneven.items()}


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
