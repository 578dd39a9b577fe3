from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import vgg16

from data.protocols import PROTOCOLS
from data.resample import bilinear_matrix
from data.tools.errors import UserError
from extract.backbones.backbone import load_backbone
from extract.backbones.taps import as_map
from extract.levels import LevelExtractor, align, crop_border

pytestmark = pytest.mark.usefixtures("one_thread")


def random_level(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def bilinear_by_matrix(level: Tensor) -> np.ndarray:
    down = bilinear_matrix(level.shape[2], 28, align_corners=True)
    across = bilinear_matrix(level.shape[3], 28, align_corners=True)
    return down @ level.double().numpy() @ across.T


@given(height=st.integers(1, 130), width=st.integers(1, 130))
@settings(max_examples=60, deadline=None)
def test_bilinear_alignment_is_the_bilinear_matrix(height: int, width: int) -> None:
    level = random_level(2, 3, height, width)
    # PyTorch computes positions between cells in float32, hence no tighter.
    np.testing.assert_allclose(align(level, "bilinear"), bilinear_by_matrix(level), atol=1e-4)


@pytest.mark.parametrize("side", [14, 28, 56, 57, 112, 224])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_alignment_is_float32_whatever_the_level_is(
    side: int, dtype: torch.dtype, memory: torch.memory_format
) -> None:
    level = random_level(2, 5, side, side).to(dtype).contiguous(memory_format=memory)
    got = align(level, "bilinear")
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, bilinear_by_matrix(level), atol=1e-4)


@pytest.mark.parametrize(("channels", "side"), [(3, 224), (64, 56), (512, 7), (2, 28)])
def test_trilinear_alignment_resamples_channels_as_well(channels: int, side: int) -> None:
    level = random_level(2, channels, side, side)
    across_channels = bilinear_matrix(channels, 3)
    matrix = bilinear_matrix(side, 28)
    expected = np.einsum("dc,bcyx->bdyx", across_channels, level.double().numpy())
    expected = matrix @ expected @ matrix.T
    np.testing.assert_allclose(align(level, "trilinear"), expected, atol=1e-4)


@pytest.mark.parametrize("alignment", ["bilinear", "trilinear"])
@pytest.mark.parametrize("side", [28, 224])
def test_alignment_never_shares_memory(alignment: str, side: int) -> None:
    level = random_level(1, 3, side, side)
    aligned = align(level, alignment)
    before = aligned.clone()
    level.fill_(100)
    assert torch.equal(aligned, before)


def test_tokens_become_their_grid_without_class_and_registers() -> None:
    maps = random_level(2, 6, 14, 14)
    patches = maps.flatten(2).transpose(1, 2)
    for prefix in (0, 1, 5):
        tokens = torch.cat([torch.full((2, prefix, 6), 9.0), patches], dim=1)
        assert torch.equal(as_map(tokens), maps)


@pytest.mark.parametrize(("channels", "side"), [(96, 56), (7, 7), (768, 7), (4, 1)])
def test_channels_last_maps_are_permuted(channels: int, side: int) -> None:
    maps = random_level(2, channels, side, side)
    assert torch.equal(as_map(maps.permute(0, 2, 3, 1), channels_last=True), maps)
    assert torch.equal(as_map(maps), maps)


@pytest.fixture(scope="module")
def plain_vgg16() -> nn.Module:
    torch.manual_seed(3)
    network = vgg16(weights=None).eval()
    for layer in network.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return network.features


@pytest.mark.parametrize(
    ("protocol", "taps"),
    [
        ("paper", (3, 8, 15, 22, 29)),
        ("released", (3, 8, 15, 22, 29)),
        ("reproduction", (4, 9, 16, 23, 30)),
    ],
)
def test_vgg16_levels_equal_modules_applied_one_at_a_time(
    protocol: str, taps: tuple[int, ...], plain_vgg16: nn.Sequential
) -> None:
    features = PROTOCOLS[protocol].features
    images = random_level(2, 3, 128, 128).sigmoid()
    backbone = load_backbone(
        "vgg16", weights="random", padding="zeros", taps=protocol, seed=3, image_size=128
    )
    levels = LevelExtractor(backbone, features)(images)
    assert list(levels) == ["input", "f1", "f2", "f3", "f4", "f5"]

    shown = images
    if protocol == "reproduction":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        shown = (images - mean[:, None, None]) / std[:, None, None]
    raw = [images * 255 if protocol == "reproduction" else images]
    with torch.no_grad():
        for index, layer in enumerate(plain_vgg16):
            shown = layer(shown)
            if index in taps:
                raw.append(shown.clone())
    alignment = "trilinear" if protocol == "reproduction" else "bilinear"
    assert float(levels["f5"].max()) > 0.01
    for got, level in zip(levels.values(), raw, strict=True):
        torch.testing.assert_close(got, align(level, alignment), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cells", [1, 2, 5])
def test_cropped_levels_are_those_of_a_plain_pass_without_their_border(cells: int) -> None:
    torch.manual_seed(0)
    network = vgg16(weights=None).eval()
    backbone = load_backbone("vgg16", weights="random", padding="zeros", taps="paper", seed=0)
    recipe = replace(PROTOCOLS["paper"].features, crop_border=cells)
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    levels = LevelExtractor(backbone, recipe)(images)
    with torch.no_grad():
        f4 = network.features[:23](images)
        f5 = network.features[:30](images)
    assert f5.shape[2:] == (14, 14)
    inside = slice(cells, -cells)
    for level, raw in {"input": images, "f4": f4, "f5": f5}.items():
        expected = bilinear_by_matrix(raw[:, :, inside, inside])
        scale = np.abs(expected).max()
        np.testing.assert_allclose(levels[level], expected, atol=1e-4 * scale)


def test_a_crop_that_leaves_less_than_two_cells_is_refused() -> None:
    level = random_level(1, 2, 14, 14)
    assert crop_border(level, 6, "f5").shape == (1, 2, 2, 2)
    with pytest.raises(UserError, match=r"--crop-border 7: level f5 has 14x14 cells.*at most 6"):
        crop_border(level, 7, "f5")
