"""Where levels lie in the image, and the network that reads them."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data.resample import bilinear_matrix
from data.tools.errors import UserError
from data.vocabulary import PADDINGS
from extract.tasks.maps.config import MapConfig
from extract.tasks.maps.network import MapNetwork, build_network
from extract.tasks.maps.placement import placement, placement_matrix


def config(**options) -> MapConfig:
    small = {"levels": "f1+f2", "image_size": 32}
    return MapConfig("saliency", Path("unused.pt"), **small | options)


@pytest.fixture(scope="module")
def plain() -> MapNetwork:
    return build_network(config(), 1)


def chain(padding: int) -> nn.Sequential:
    layers = [nn.Conv2d(1, 1, 3, padding=padding), nn.Conv2d(1, 1, 3, padding=padding)]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, padding=padding)).double()


@pytest.mark.parametrize("padding", [0, 1])
def test_placement_is_the_middle_of_what_a_value_depends_on(padding):
    network = chain(padding)
    start, stride = placement(network, "3")
    image = torch.rand(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    averaging = nn.Sequential(*network[:2], nn.AvgPool2d(2), network[3])  # every input counts
    output = averaging(image)
    for index in (4, 6):
        (gradient,) = torch.autograd.grad(output[0, 0, index, index], image, retain_graph=True)
        pixels = gradient[0, 0].abs().sum(0).nonzero().flatten()
        assert (pixels.min() + pixels.max()) / 2 == start + index * stride


def test_placement_of_vgg16(plain):
    assert placement(plain.backbone, "features.29") == (7.5, 16)
    bare = build_network(config(padding="none"), 1)
    assert placement(bare.backbone, "features.29") == (97.5, 16)


def test_values_that_tile_the_image_are_read_as_pytorch_interpolates():
    pixels = torch.arange(56) * 4 + 1.5
    matrix = placement_matrix(7.5, 16, 14, pixels)
    np.testing.assert_allclose(matrix, bilinear_matrix(14, 56), atol=1e-6)


def test_beyond_its_ends_a_level_is_constant():
    matrix = placement_matrix(10.0, 4, 3, torch.tensor([0.0, 10.0, 12.0, 18.0, 40.0]))
    expected = [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [0, 0, 1]]
    np.testing.assert_allclose(matrix, expected)


@pytest.mark.parametrize("padding", PADDINGS)
def test_every_padding_gives_maps_of_the_images_size(padding):
    network = build_network(config(padding=padding), 3)
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 3, 32, 32)


def test_without_padding_the_network_follows_a_shift_exactly():
    # Nothing tells it where it is: what it says moves with the image, away from the border.
    network = build_network(config(padding="none", levels="f2", image_size=64), 1)
    image = torch.rand(1, 3, 64, 80)
    with torch.no_grad():
        left, right = network(image[..., :64]), network(image[..., 4:68])
    inside = slice(16, 44)
    torch.testing.assert_close(left[..., inside, 20:48], right[..., inside, 16:44])


def test_the_seed_decides_the_weights_and_the_global_state_is_left(plain):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again, other = build_network(config(), 1), build_network(config(seed=2), 1)
    assert torch.equal(before, torch.get_rng_state())
    for key, value in plain.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(plain.write.weight, other.write.weight)


def test_normalisation_is_what_the_backbone_sees(plain):
    normalised = copy.deepcopy(plain)
    normalised.normalization = "imagenet"
    images = torch.rand(1, 3, 32, 32)
    mean, deviation = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    torch.testing.assert_close(normalised(images), plain((images - mean) / deviation))


def test_unknown_levels_and_small_images_are_refused():
    with pytest.raises(UserError, match="unknown level 'f6': join some of f1, f2"):
        build_network(config(levels="f3+f6"), 1)
    with pytest.raises(UserError, match="use larger images"):
        build_network(config(levels="f5", padding="none", image_size=112), 1)
