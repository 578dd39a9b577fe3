"""Weight files of Keras, old and new, read with h5py: kernels turned to PyTorch's order."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import h5py
import torch
from torch import Tensor

from data.tools.errors import UserError
from data.tools.files import open_regular
from extract.backbones.checkpoints.unpacked import check_unpacked

KERAS_MEMBER = "model.weights.h5"  # of a .keras file, which is a zip

# Names of convolutions in VGG: of Keras' own VGG16 and VGG19, of blocks that are layers of layers,
# and of a model whose layers were never named.
_NAMED = re.compile(r"block(\d+)_conv(\d+)")
_NESTED = re.compile(r"block(\d+)/(?:layers/)?conv2d(?:_(\d+))?/")
_NUMBERED = re.compile(r"(?:^|/)conv2d(?:_(\d+))?/")


def read_keras(path: Path) -> dict[str, Tensor]:
    """Path within the file -> tensor, in the model's order; kernels (out, in, h, w).

    `UserError` when the file is damaged, or takes its bytes from other files.
    """
    try:
        if is_zipfile(path):
            with ZipFile(path) as archive:
                source: Any = io.BytesIO(archive.read(KERAS_MEMBER))
        else:
            source = open_regular(path)
        with source, h5py.File(source, "r") as file:
            return _tensors(file, path)
    except UserError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"weights {str(path)!r}: not a whole Keras file ({type(error).__name__}: {error}); "
            "get it again"
        ) from error


def _tensors(file: h5py.File, path: Path) -> dict[str, Tensor]:
    root = file.get("model_weights", file)
    found: dict[str, h5py.Dataset] = {}

    def keep(name: str, item: Any) -> None:
        # Links are not followed; datasets could still point elsewhere.
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            if item.external or item.is_virtual:
                raise UserError(f"weights {str(path)!r}: {name} lies in another file; refused")
            found[name] = item

    root.visititems(keep)
    check_unpacked(path, sum(dataset.nbytes for dataset in found.values()))
    return {
        name: _turned(torch.from_numpy(found[name][()]))
        for name in _ordered(root, found)
        if found[name].dtype.kind == "f"
    }


def _ordered(root: h5py.Group, found: Mapping[str, Any]) -> list[str]:
    """Paths in the model's order: as an old file lists them, else by name, numbers as numbers."""
    listed = [
        f"{_text(layer)}/{_text(weight)}"
        for layer in root.attrs.get("layer_names", ())
        if _text(layer) in root
        for weight in root[_text(layer)].attrs.get("weight_names", ())
    ]
    return [name for name in listed if name in found] or sorted(found, key=_natural)


def _text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)


def _natural(name: str) -> list[tuple[str, int]]:
    # "conv2d" before "conv2d_1", and "conv2d_9" before "conv2d_10"
    parts = [re.fullmatch(r"(.*?)_?(\d*)", part) for part in name.split("/")]
    return [(part[1], int(part[2] or -1)) for part in parts if part]


def _turned(weight: Tensor) -> Tensor:
    if weight.ndim == 4:
        return weight.permute(3, 2, 0, 1).contiguous()  # (h, w, in, out) -> (out, in, h, w)
    return weight.T.contiguous() if weight.ndim == 2 else weight


def as_vgg(content: Mapping[str, Tensor], expected: list[str]) -> dict[str, str]:
    """Key of torchvision's VGG -> path in a Keras file, as far as there is one.

    Args:
        content: what `read_keras` gives.
        expected: keys of the VGG, in order: `features.0.weight`, `features.0.bias`, ...

    Raises `UserError` where two layers of the file have the place of one.
    """
    places = _vgg_places(expected)
    found: dict[str, str] = {}
    for place, (group, weights) in _convolutions(content, list(places)):
        index = places.get(place)
        # One beyond the network's own is kept under a name of its own, to be refused.
        node = f"features.{index}" if index is not None else "features." + "_".join(map(str, place))
        for kind, path in weights.items():
            if f"{node}.{kind}" in found:
                raise UserError(
                    f"the file has two layers for {node}, {found[f'{node}.{kind}']} and {group}: "
                    "say which part with --weights-key"
                )
            found[f"{node}.{kind}"] = path
    return found


def _vgg_places(expected: list[str]) -> dict[tuple[int, int], int]:
    """(block, convolution), from 1, -> its number in `features`: pools lie between the blocks."""
    places: dict[tuple[int, int], int] = {}
    block, number, last = 1, 0, -2
    for index in sorted({int(key.split(".")[1]) for key in expected}):
        block, number = (block, number + 1) if index == last + 2 else (block + 1, 1)
        places[block, number] = last = index
    return places


def _convolutions(
    content: Mapping[str, Tensor], places: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], tuple[str, dict[str, str]]]]:
    """Places of the file's convolutions, and the paths of their weights by PyTorch's names."""
    groups: dict[str, dict[str, str]] = {}
    for path, tensor in content.items():
        if tensor.ndim in (1, 4):
            kind = "weight" if tensor.ndim == 4 else "bias"
            groups.setdefault(path.rpartition("/")[0], {})[kind] = path
    layers = {group: paths for group, paths in groups.items() if "weight" in paths}
    named = [(name, _place(name)) for name in layers]
    if any(place for _, place in named):
        yield from ((place, (name, layers[name])) for name, place in named if place)
        return
    numbered = [name for name in layers if _NUMBERED.search(f"{name}/")]
    for place, name in zip(places, numbered, strict=False):  # a decoder may follow
        yield place, (name, layers[name])


def _place(group: str) -> tuple[int, int] | None:
    if found := _NAMED.search(group):
        return int(found[1]), int(found[2])
    if found := _NESTED.search(f"{group}/"):
        return int(found[1]), int(found[2] or 0) + 1
    return None
