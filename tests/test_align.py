import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vgg16

from data.protocols import PROTOCOLS
from data.resample import bilinear_matrix
from extract.align import LevelExtractor, align
from extract.backbones import load_backbone


def plain_vgg16(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = vgg16(weights=None).eval()
    for layer in network.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return network


@pytest.mark.parametrize(
    ("protocol", "taps"),
    [
        ("paper", (3, 8, 15, 22, 29)),
        ("released", (3, 8, 15, 22, 29)),
        ("reproduction", (4, 9, 16, 23, 30)),
    ],
)
def test_vgg16_levels_equal_modules_applied_one_at_a_time(
    protocol: str, taps: tuple[int, ...]
) -> None:
    features = PROTOCOLS[protocol].features
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    backbone = load_backbone("vgg16", weights="random", padding="zeros", taps=protocol, seed=3)
    levels = LevelExtractor(backbone, features)(images)
    assert list(levels) == ["input", "f1", "f2", "f3", "f4", "f5"]

    shown = images
    if features.normalization == "imagenet":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        shown = (images - mean[:, None, None]) / std[:, None, None]
    expected: list[Tensor] = [images * 255 if protocol == "reproduction" else images]
    with torch.no_grad():
        for index, layer in enumerate(plain_vgg16(3).features):
            shown = layer(shown)
            if index in taps:
                expected.append(shown.clone())
    for got, raw in zip(levels.values(), expected, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, align(raw, features.alignment), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [1, 7, 14, 28, 56, 224])
def test_bilinear_alignment_is_the_bilinear_matrix(side: int) -> None:
    level = torch.rand(2, 5, side, side, generator=torch.Generator().manual_seed(side))
    matrix = bilinear_matrix(side, 28, align_corners=True)
    expected = matrix @ level.double().numpy() @ matrix.T
    # PyTorch computes the sampling positions in float32.
    np.testing.assert_allclose(align(level, "bilinear").numpy(), expected, atol=2e-5)
