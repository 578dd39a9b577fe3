import pytest
import torch
from test_taps import Odd
from torch import nn
from torchvision import models

from extract.backbones.depths import Depths
from extract.backbones.taps import check_taps

pytestmark = pytest.mark.usefixtures("one_thread")


def depths(module: nn.Module, *nodes: str) -> Depths:
    return check_taps(module, nodes, name="a network", image_size=64)


def test_depth_counts_the_layers_with_weights_that_have_run() -> None:
    with torch.device("meta"):
        vgg = models.vgg16(weights=None)
    vgg = vgg.to_empty(device="cpu")
    found = depths(vgg, *(f"features.{index}" for index in (3, 8, 15, 22, 29)))
    assert list(found.at_node.values()) == [2, 4, 7, 10, 13]  # conv1_2, 2_2, 3_3, 4_3, 5_3
    assert found.whole == 16
    assert depths(vgg, "features.2").at_node == {"features.2": 2}  # its own tap: it has run


def test_depth_of_residual_networks_counts_the_shortcuts_convolutions() -> None:
    found = depths(models.resnet50(weights=None), "relu", "layer1", "layer4")
    assert list(found.at_node.values()) == [1, 11, 53]
    assert found.whole == 54


def test_depth_counts_attentions_but_no_container() -> None:
    vit = models.VisionTransformer(64, 16, 3, 2, 32, 64)
    found = depths(vit, "encoder.dropout", "encoder.layers.encoder_layer_2")
    assert list(found.at_node.values()) == [1, 1 + 3 * 3]  # patches; attention and two linear
    assert found.whole == 1 + 3 * 3 + 1
    swin = models.SwinTransformer([4, 4], 32, [1, 1], [2, 2], [4, 4])
    # Patches; attention (whose linear layers are no calls) and two linear; merging; again.
    assert depths(swin, "features.1", "features.3").at_node == {"features.1": 4, "features.3": 8}


def test_depth_of_a_network_that_fails_behind_its_taps_is_unknown() -> None:
    found = depths(Odd(), "convolution", "relu")
    assert found == Depths({"convolution": 1, "relu": 1}, None)
