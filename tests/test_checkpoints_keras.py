"""Keras files of VGG16 and VGG19, of every layout: read like the plain model, or refused."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from test_checkpoints import assert_same, features, load
from torch import nn
from torchvision import models

from data.tools.errors import UserError


@pytest.fixture(scope="module")
def vgg() -> nn.Module:
    torch.manual_seed(3)
    return models.vgg16(weights=None).eval()


BLOCKS = (2, 2, 3, 3, 3)
PLACES = [(block, number) for block, n in enumerate(BLOCKS, 1) for number in range(1, n + 1)]


def keras_arrays(vgg: nn.Module) -> Iterator[tuple[int, int, int, np.ndarray, np.ndarray]]:
    convolutions = [layer for layer in vgg.features if isinstance(layer, nn.Conv2d)]
    for count, ((block, number), layer) in enumerate(zip(PLACES, convolutions, strict=True)):
        kernel = layer.weight.detach().permute(2, 3, 1, 0).numpy()
        yield block, number, count, kernel, layer.bias.detach().numpy()


def numbered(count: int) -> str:
    return f"conv2d_{count}" if count else "conv2d"


KERAS: dict[str, Callable[[int, int, int], tuple[str, str]]] = {
    "nested blocks": lambda b, n, c: (
        f"block{b}/layers/{numbered(n - 1)}/vars/0",
        f"block{b}/layers/{numbered(n - 1)}/vars/1",
    ),
    "named layers": lambda b, n, c: (
        f"layers/block{b}_conv{n}/vars/0",
        f"layers/block{b}_conv{n}/vars/1",
    ),
    "numbered layers": lambda b, n, c: (
        f"layers/{numbered(c)}/vars/0",
        f"layers/{numbered(c)}/vars/1",
    ),
    "first generation": lambda b, n, c: (
        f"block{b}_conv{n}/block{b}_conv{n}_W_1:0",
        f"block{b}_conv{n}/block{b}_conv{n}_b_1:0",
    ),
    "whole model": lambda b, n, c: (
        f"model_weights/block{b}_conv{n}/block{b}_conv{n}/kernel:0",
        f"model_weights/block{b}_conv{n}/block{b}_conv{n}/bias:0",
    ),
}


def write_keras(path: Path, vgg: nn.Module, form: str) -> None:
    with h5py.File(path, "w") as file:
        for block, number, count, kernel, bias in keras_arrays(vgg):
            names = KERAS[form](block, number, count)
            file[names[0]], file[names[1]] = kernel, bias
        file["optimizer/vars/0"] = np.zeros((3, 3, 3, 64), np.float32)
        file["zz_decoder/conv2d_99/vars/0"] = np.zeros((1, 1, 512, 1), np.float32)


@pytest.mark.parametrize("form", KERAS)
def test_keras_files_of_vgg16(form: str, vgg: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "vgg.weights.h5"
    write_keras(path, vgg, form)
    backbone = load("vgg16", path)
    assert_same(backbone, vgg)
    assert backbone.weights_match["matched_by"] == "keras names"
    assert backbone.weights_match["renamed"]["count"] == 26
    with pytest.raises(UserError, match=r"do not fit vgg19|two layers"):
        load("vgg19", path)


def test_a_keras_archive(vgg: nn.Module, tmp_path: Path) -> None:
    write_keras(tmp_path / "inner.h5", vgg, "named layers")
    with zipfile.ZipFile(tmp_path / "vgg.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "inner.h5", "model.weights.h5")
        archive.writestr("config.json", "{}")
    assert_same(load("vgg16", tmp_path / "vgg.keras"), vgg)


def test_a_keras_file_of_another_network_asks_for_its_order(
    tmp_path: Path,
) -> None:
    alexnet = models.alexnet(weights=None).eval()
    path = tmp_path / "w.weights.h5"
    with h5py.File(path, "w") as file:
        for index, (name, tensor) in enumerate(features(alexnet.state_dict()).items()):
            array = tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor
            layer = f"layers/{numbered(index // 2)}/vars"
            file[f"{layer}/{int(name.endswith('bias'))}"] = array.numpy()
    with pytest.raises(UserError, match=r"are of Keras.*--match order"):
        load("alexnet", path)
    assert_same(load("alexnet", path, by_order=True), alexnet)


@pytest.mark.parametrize("how", ["external", "virtual", "link"])
def test_keras_files_take_nothing_from_other_files(how: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4 * 1728))
    name, shape = "block1_conv1/kernel:0", (3, 3, 3, 64)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(shape, np.float32)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        if how == "external":
            secret = [(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset(name, shape, "f4", external=secret)
        elif how == "virtual":
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", shape)
            file.create_virtual_dataset(name, layout)
        else:
            file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    with pytest.raises(UserError, match=r"lies in another file|missing"):
        load("vgg16", tmp_path / "w.h5")
