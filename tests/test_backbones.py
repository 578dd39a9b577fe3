import builtins
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models import regnet

from data.protocols import PROTOCOLS
from data.tools.errors import UserError
from extract.backbones import backbone as backbones
from extract.backbones.backbone import Backbone, backbone_names, calibrate, load_backbone
from extract.backbones.checkpoints.heads import drop_heads
from extract.backbones.depths import Depths
from extract.backbones.table import BACKBONES, BackboneRow
from extract.levels import LevelExtractor

pytestmark = pytest.mark.usefixtures("one_thread")

PAPER = PROTOCOLS["paper"].features

# Small images keep the test short; these cannot do with 64x64.
SIZES = {"alexnet": 96, "inception_v3": 128, "maxvit_t": 224, "vit_h_14": 56}
# Over 600 million parameters: built without storage here, run by benchmarks/every_backbone.py.
HUGE = ("vit_h_14", "regnet_y_128gf")

FAMILIES = sorted({row.family for row in BACKBONES.values()})


def random_backbone(name: str, taps: str | tuple[str, ...] = "paper", **options: Any) -> Backbone:
    given = {"weights": "random", "padding": "zeros", "seed": 0} | options
    return load_backbone(name, taps=taps, **given)


def random_images(size: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(size))


def members(family: str) -> list[BackboneRow]:
    return [row for row in BACKBONES.values() if row.family == family and row.name not in HUGE]


def plain_taps(backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
    """Clones of the taps from one whole forward pass without in-place activations."""
    outputs = {}
    for layer in backbone.module.modules():
        if getattr(layer, "inplace", False):
            layer.inplace = False
    for level, node in backbone.taps.items():

        def keep(_module: nn.Module, _inputs: Any, output: Tensor, level: str = level) -> None:
            outputs[level] = output.clone()

        dict(backbone.module.named_modules())[node].register_forward_hook(keep)
    with torch.no_grad():
        backbone.module(images)
    return outputs


def known_layout(output: Tensor, family: str) -> Tensor:
    """(B, C, h, w), by what each family is documented to return."""
    if family in ("Swin", "SwinV2"):
        return output.permute(0, 3, 1, 2)
    if family == "ViT":
        patches = output[:, 1:]  # the class token comes first
        side = round(patches.shape[1] ** 0.5)
        return patches.reshape(len(output), side, side, -1).permute(0, 3, 1, 2)
    return output


def assert_same(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_table_holds_every_torchvision_classifier() -> None:
    assert sorted(backbone_names()) == sorted(models.list_models(module=models))


@pytest.fixture
def quick_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat one block of noise: drawing and hashing 4 billion weights takes a minute."""
    block = torch.randn(2**16 + 1, generator=torch.Generator().manual_seed(0))

    def fill(weight: Tensor, *_: Any, **__: Any) -> Tensor:
        flat = weight.detach().view(-1)
        whole = flat.numel() - flat.numel() % len(block)
        flat[:whole].view(-1, len(block)).copy_(block)
        flat[whole:].copy_(block[: flat.numel() - whole])
        flat.mul_((2 / weight[:1].numel()) ** 0.5)
        return weight

    for name in ("uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_", "trunc_normal_"):
        monkeypatch.setattr(nn.init, name, fill)
    monkeypatch.setattr(backbones, "state_sha256", lambda module: "tested elsewhere")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.usefixtures("quick_weights")
def test_every_backbone_gives_five_levels_equal_to_a_plain_pass(family: str) -> None:
    for row in members(family):
        size = SIZES.get(row.name, 64)
        images = random_images(size)
        backbone = random_backbone(row.name, image_size=size)
        levels = LevelExtractor(backbone, PAPER)(images)
        assert list(levels) == ["input", "f1", "f2", "f3", "f4", "f5"], row.name
        sides = []
        for level, output in plain_taps(backbone, images).items():
            raw = known_layout(output, family)
            sides.append(raw.shape[-1])
            assert raw.shape[2] == raw.shape[3], row.name
            expected = functional.interpolate(raw, (28, 28), mode="bilinear", align_corners=True)
            assert levels[level].shape == (2, raw.shape[1], 28, 28), row.name
            assert_same(levels[level], expected)
            assert 0 < expected.std() < torch.inf, row.name
        assert sides == sorted(sides, reverse=True), row.name
        assert sides[0] > sides[-1] or family == "ViT", row.name


def meta_vit_h_14() -> nn.Module:
    with torch.device("meta"):
        return models.vit_h_14(image_size=SIZES["vit_h_14"])


def meta_regnet_y_128gf() -> nn.Module:
    # torchvision computes the widths with tensors, which must hold data; the network need not.
    widths = regnet.BlockParams.from_init_params(
        depth=27, w_0=456, w_a=160.83, w_m=2.52, group_width=264, se_ratio=0.25
    )
    with torch.device("meta"):
        return regnet.RegNet(widths)


@pytest.mark.parametrize(
    ("build", "channels"),
    [(meta_vit_h_14, [1280] * 5), (meta_regnet_y_128gf, [32, 528, 1056, 2904, 7392])],
)
def test_huge_backbones_have_five_levels(
    build: Callable[[], nn.Module], channels: list[int]
) -> None:
    name = build.__name__.removeprefix("meta_")
    taps = {f"f{index}": node for index, node in enumerate(BACKBONES[name].taps, start=1)}
    module = build().eval()
    drop_heads(module)
    backbone = Backbone(name, module, taps, "random", "seed 0", "", "zeros", Depths({}, None))
    found = LevelExtractor(backbone, PAPER).channels(SIZES.get(name, 64))
    assert list(found.values()) == [3, *channels]


@pytest.mark.parametrize("row", members("VGG"), ids=lambda row: row.name)
def test_vgg_taps_are_the_last_relu_before_each_pool(row: BackboneRow) -> None:
    with torch.device("meta"):
        layers = list(models.get_model(row.name).features)
    pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    assert all(isinstance(layers[pool - 1], nn.ReLU) for pool in pools)
    relus = tuple(f"features.{pool - 1}" for pool in pools)
    assert row.taps_for("paper") == row.taps_for("released") == relus
    assert row.taps_for("reproduction") == tuple(f"features.{pool}" for pool in pools)


def test_vgg16_taps_of_the_paper_are_the_published_ones() -> None:
    published = tuple(f"features.{index}" for index in (3, 8, 15, 22, 29))
    assert BACKBONES["vgg16"].taps == published


def resnet18_by_hand(images: Tensor) -> dict[str, Tensor]:
    """ResNet-18 with torchvision's weights of seed 0, one operation at a time."""
    torch.manual_seed(0)
    network = models.resnet18(weights=None).eval()
    relu = functional.relu(network.bn1(network.conv1(images)))
    nodes = {"relu": relu, "maxpool": functional.max_pool2d(relu, 3, 2, 1)}
    x = nodes["maxpool"]
    for name in ("layer1", "layer2", "layer3", "layer4"):
        for block in getattr(network, name):
            y = functional.relu(block.bn1(block.conv1(x)))
            y = block.bn2(block.conv2(y))
            x = functional.relu(y + (block.downsample(x) if block.downsample else x))
        nodes[name] = x
    return nodes


@pytest.mark.parametrize(
    ("protocol", "taps"),
    [
        ("paper", ("relu", "layer1", "layer2", "layer3", "layer4")),
        ("released", ("layer1", "layer2", "layer3", "layer4")),
        ("reproduction", ("maxpool", "layer1", "layer2", "layer3", "layer4")),
    ],
)
def test_resnet18_levels_equal_a_functional_pass(protocol: str, taps: tuple[str, ...]) -> None:
    features = PROTOCOLS[protocol].features
    images = random_images(64)
    shown = images
    if features.normalization == "imagenet":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        shown = (images - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        nodes = resnet18_by_hand(shown)
    backbone = random_backbone("resnet18", features.taps, image_size=64)
    levels = LevelExtractor(backbone, features)(images)
    assert list(levels) == ["input", *(f"f{index + 1}" for index in range(len(taps)))]
    for level, node in zip(list(levels)[1:], taps, strict=True):
        if protocol == "reproduction":
            volume = functional.interpolate(nodes[node][:, None], (3, 28, 28), mode="trilinear")
            assert_same(levels[level], volume[:, 0])
        else:
            expected = functional.interpolate(
                nodes[node], (28, 28), mode="bilinear", align_corners=True
            )
            assert_same(levels[level], expected)


def test_random_weights_are_torchvisions_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    plain = models.squeezenet1_1(weights=None).state_dict()
    before = torch.get_rng_state()
    backbone = random_backbone("squeezenet1_1", seed=5, image_size=64)
    assert torch.equal(torch.get_rng_state(), before)
    loaded = backbone.module.state_dict()
    assert len(loaded) > 40
    for name, value in loaded.items():
        assert torch.equal(value, plain[name]), name
    assert (backbone.weights, backbone.weights_source) == ("random", "seed 5")
    again = random_backbone("squeezenet1_1", seed=5, image_size=64)
    other = random_backbone("squeezenet1_1", seed=6, image_size=64)
    assert backbone.weights_sha256 == again.weights_sha256 != other.weights_sha256


def test_backbones_are_frozen() -> None:
    module = random_backbone("resnet18", image_size=64).module
    assert not any(layer.training for layer in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.fixture
def calibration_batches() -> list[Tensor]:
    return [random_images(size, count=4)[:, :, :64, :64] for size in (64, 65)]


@pytest.mark.parametrize("normalization", ["none", "imagenet"])
def test_calibration_is_the_mean_of_the_batch_statistics(
    normalization: str, calibration_batches: list[Tensor]
) -> None:
    backbone = random_backbone("resnet18", image_size=64)
    assert backbone.has_untrained_batch_norm
    digest = backbone.weights_sha256
    calibrate(backbone, calibration_batches, normalization=normalization)
    inputs = calibration_batches
    if normalization == "imagenet":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        inputs = [(batch - mean[:, None, None]) / std[:, None, None] for batch in inputs]
    with torch.no_grad():
        outputs = [backbone.module.conv1(batch) for batch in inputs]
    means = torch.stack([output.mean((0, 2, 3)) for output in outputs]).mean(0)
    variances = torch.stack([output.var((0, 2, 3)) for output in outputs]).mean(0)
    torch.testing.assert_close(backbone.module.bn1.running_mean, means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backbone.module.bn1.running_var, variances, rtol=1e-4, atol=1e-5)
    assert backbone.module.bn1.momentum == 0.1
    assert not any(layer.training for layer in backbone.module.modules())
    assert backbone.weights_sha256 == digest


def test_calibration_keeps_an_untrained_resnet152_in_float16(
    calibration_batches: list[Tensor],
) -> None:
    backbone = random_backbone("resnet152", image_size=64)
    extract = LevelExtractor(backbone, PAPER)
    images = calibration_batches[0]
    assert extract(images)["f5"].max() > 65504
    calibrate(backbone, calibration_batches, normalization="none")
    assert max(float(level.max()) for level in extract(images).values()) < 1000


@pytest.mark.parametrize(("name", "untrained"), [("vgg11", False), ("densenet121", True)])
def test_only_untrained_batch_norms_ask_for_calibration(name: str, untrained: bool) -> None:
    assert random_backbone(name, image_size=64).has_untrained_batch_norm == untrained


def test_explicit_taps_become_levels_in_order() -> None:
    backbone = random_backbone("resnet18", ("layer1.0.conv1", "layer4.1"), image_size=64)
    assert backbone.taps == {"f1": "layer1.0.conv1", "f2": "layer4.1"}
    channels = LevelExtractor(backbone, PAPER).channels(64)
    assert channels == {"input": 3, "f1": 64, "f2": 512}


@pytest.mark.parametrize(
    ("name", "taps", "message"),
    [
        ("resnet18", ("layer5",), r"no node 'layer5'.*layer"),
        ("resnet18", ("layer1", "layer1"), "different nodes"),
        ("resnet18", (), "one to 5"),
        ("resnet18", ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2"), "one to 5"),
        ("resnet18", ("layer1.0.relu",), "runs 2 times"),
        ("resnet18", ("fc",), r"shape \(1, 512\)"),
        ("resnet18", "layer3", "unknown taps 'layer3'.*paper"),
        ("vit_b_32", ("encoder.layers.encoder_layer_0.self_attention",), "returns a tuple"),
        ("swin_t", ("features.0.3",), "no node 'features.0.3'"),
    ],
)
def test_bad_taps_are_refused(name: str, taps: str | tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        random_backbone(name, taps, image_size=64)


def test_unknown_backbone_lists_the_good_ones() -> None:
    with pytest.raises(UserError, match=r"'resnet51': use one of resnet50, .*--list-backbones"):
        random_backbone("resnet51")


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 100), ("maxvit_t", 256), ("alexnet", 8)])
def test_impossible_image_sizes_are_refused(name: str, size: int) -> None:
    with pytest.raises(UserError, match=rf"{name} .*{size}x{size}"):
        random_backbone(name, image_size=size)


def test_listing_backbones_needs_no_torch() -> None:
    code = (
        "import sys; from extract.backbones.table import backbone_listing; "
        "print(backbone_listing()); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(BACKBONES) + 2
    assert "vgg16" in lines[2]
    assert "features.3,features.8,features.15,features.22,features.29" in lines[2]


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_timm(name: str, *rest: Any, **named: Any) -> Any:
        if name == "timm":
            raise ImportError(name)
        return real_import(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", no_timm)


@pytest.mark.usefixtures("without_timm")
def test_timm_models_say_what_to_install() -> None:
    with pytest.raises(UserError, match=r"timm is not installed; pip install .*\[timm\]"):
        random_backbone("timm:resnet10t")


@pytest.mark.parametrize(
    "name", ["resnet10t", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_timm_models_equal_a_plain_pass(name: str) -> None:
    pytest.importorskip("timm")
    backbone = random_backbone(f"timm:{name}")
    images = random_images(224)
    levels = LevelExtractor(backbone, PAPER)(images)
    family = {"v": "ViT", "s": "Swin"}.get(name[0], "")
    for level, output in plain_taps(backbone, images).items():
        raw = known_layout(output, family)
        expected = functional.interpolate(raw, (28, 28), mode="bilinear", align_corners=True)
        assert_same(levels[level], expected)


def test_unknown_timm_model_is_refused() -> None:
    pytest.importorskip("timm")
    with pytest.raises(UserError, match=r"unknown backbone 'timm:resnet51'"):
        random_backbone("timm:resnet51")
