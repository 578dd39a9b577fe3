"""What a backbone sees of an image, against the definitions written out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.functional import normalize as torchvision_normalize

from data.cache.identity import Identity
from data.cache.names import cache_name
from data.protocols import PROTOCOLS
from data.tools.errors import UserError
from extract.backbones.backbone import wrap_module
from extract.backbones.normalization import normalize
from extract.config import ExtractConfig
from extract.levels import LevelExtractor

IMAGES = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
UNIT = st.floats(2**-6, 1, width=16)


def test_none_is_the_image_itself() -> None:
    assert normalize(IMAGES, "none") is IMAGES


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("half", [0.5] * 3, [0.5] * 3),
        ("0.5/0.25", [0.5] * 3, [0.25] * 3),
        ("0.1,0.2,0.3/1,2,3", [0.1, 0.2, 0.3], [1, 2, 3]),
    ],
)
def test_mean_and_deviation_as_torchvision(text: str, mean: list, std: list) -> None:
    expected = torchvision_normalize(IMAGES, mean, std)
    torch.testing.assert_close(normalize(IMAGES, text), expected)


@settings(deadline=None, max_examples=25)
@given(mean=st.tuples(UNIT, UNIT, UNIT), std=st.tuples(UNIT, UNIT, UNIT))
def test_numbers_of_ones_own(mean: tuple, std: tuple) -> None:
    text = "/".join(",".join(map(str, colour)) for colour in (mean, std))
    expected = torchvision_normalize(IMAGES, mean, std)
    torch.testing.assert_close(normalize(IMAGES, text), expected)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("caffe", (103.939, 116.779, 123.68)),
        ("caffe:104.00699,116.66877,122.67892", (104.00699, 116.66877, 122.67892)),
    ],
)
def test_caffe_is_blue_first_of_255(text: str, means: tuple) -> None:
    seen = normalize(IMAGES, text)
    for channel, (colour, mean) in enumerate(zip((2, 1, 0), means, strict=True)):
        torch.testing.assert_close(
            seen[:, channel], IMAGES[:, colour] * 255 - mean, rtol=1e-5, atol=1e-4
        )


@pytest.mark.parametrize(
    "text", ["imagnet", "", "0.5", "0.5/0", "0.5/-1", "1,2/3", "nan/1", "caffe:1,2", "a/b", "1/2/3"]
)
def test_what_is_no_normalisation_is_refused(text: str) -> None:
    with pytest.raises(
        UserError, match=r"^normalization .*(use none, imagenet, half, caffe|not empty)"
    ):
        ExtractConfig("alexnet", normalization=text)


def test_folders_of_any_normalisation_are_one_folder() -> None:
    for text in ("0.5/0.5", "caffe:1,2,3"):
        config = ExtractConfig("alexnet", normalization=text)
        name = cache_name(Identity(backbone="alexnet", weights="random", features=config.features))
        assert "normalization-" in name
        assert "/" not in name
        assert ":" not in name


def test_a_backbone_sees_its_own_and_the_level_input_does_not() -> None:
    class Shown(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tap = torch.nn.Conv2d(3, 3, 1)
            torch.nn.init.dirac_(self.tap.weight)
            torch.nn.init.zeros_(self.tap.bias)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.tap(images)

    backbone = wrap_module(Shown(), name="shown", taps=("tap",), image_size=28)
    backbone.own_normalization = "half"
    images = torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    config = ExtractConfig("shown", normalization="imagenet", image_size=28)
    levels = LevelExtractor(backbone, config.features)(images)
    torch.testing.assert_close(levels["f1"], normalize(images, "half"))
    assert config.features.input_normalized
    torch.testing.assert_close(levels["input"], normalize(images, "imagenet"))
    paper = LevelExtractor(backbone, PROTOCOLS["paper"].features)(images)
    torch.testing.assert_close(paper["f1"], images)


def test_caffes_weights_see_none_as_torchvisions_do() -> None:
    # A network of caffe's units, and the same one with its first kernel turned to ImageNet's.
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(2, 3, 9, 9, generator=generator)
    caffe = torch.randn(4, 3, 3, 3, generator=generator) / 255
    deviations = torch.tensor([0.229, 0.224, 0.225])
    turned = caffe.flip(1) * 255 * deviations[:, None, None]

    def seen(kernel: torch.Tensor, normalization: str) -> torch.Tensor:
        return torch.conv2d(normalize(images, normalization), kernel, padding=1)

    torch.testing.assert_close(seen(caffe, "caffe-none"), seen(turned, "none"))
    # The mean of `caffe`, which zero padding sees, over the same deviations.
    own = "0.4,0.5,0.6/0.229,0.224,0.225"
    torch.testing.assert_close(seen(caffe, "caffe:153,127.5,102"), seen(turned, own))


def test_timm_says_what_its_weights_want() -> None:
    timm = pytest.importorskip("timm")
    from extract.backbones.backbone import load_backbone

    name = "vit_tiny_patch16_224"  # trained with .5 and .5
    assert timm.get_pretrained_cfg(name).mean == (0.5, 0.5, 0.5)
    backbone = load_backbone(
        f"timm:{name}", weights="random", padding="zeros", taps="paper", seed=0
    )
    assert backbone.normalization("imagenet") == "0.5,0.5,0.5/0.5,0.5,0.5"
    assert backbone.normalization("none") == "none"
