"""Frozen backbones: built from the table, given weights and padding, and ready to be tapped."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from data.tools.errors import UserError
from data.vocabulary import IMAGE_SIZE
from extract.backbones.border import Window
from extract.backbones.checkpoints.label import state_sha256
from extract.backbones.depths import Depths
from extract.backbones.normalization import CAFFE, CAFFE_NONE, normalize
from extract.backbones.padding import set_padding
from extract.backbones.sources.find import build
from extract.backbones.table import BACKBONES
from extract.backbones.taps import check_taps, run_taps
from extract.backbones.weights import WeightsRequest, set_weights


@dataclass
class Backbone:
    """A frozen network, in eval mode and without gradients, and where it came from."""

    name: str
    module: nn.Module
    taps: dict[str, str]  # level ("f1", "f2", ...) -> node name
    weights: str  # label: "imagenet", "random", or what `file_label` calls the file
    weights_source: str  # URL, "seed 0" or file name
    weights_sha256: str  # of the state dict without classifiers, before calibration
    padding: str
    depths: Depths
    padding_changes: dict[str, Any] = field(default_factory=dict)  # JSON-able; {}: as built
    windows: tuple[Window, ...] = ()  # what meets the border, as built, up to the last tap
    has_untrained_batch_norm: bool = False  # its running statistics must be calibrated
    weights_provenance: dict[str, Any] = field(default_factory=dict)  # of train-backbone's files
    weights_match: dict[str, Any] = field(default_factory=dict)  # how a file was fitted; JSON-able
    own_normalization: str | None = None  # what its weights want where a recipe says "imagenet"
    channels_last: bool = False  # where a tap's shape leaves it open: (B, h, w, C)

    @property
    def uneven_strides(self) -> dict[str, tuple[int, int]]:
        """Cells that strided windows leave out at the far edges, (n + 2p - k) mod s, by module.

        Rows and columns; only windows that leave some out, of the network as built.
        """
        return {window.node: window.uneven for window in self.windows if any(window.uneven)}

    def normalization(self, asked: str) -> str:
        """What it sees under a recipe that asks for this.

        Where that is ImageNet's numbers, or caffe without numbers, its weights' own are meant.
        Where it is [0, 1], that is in the units of its weights: to caffe's it would be black.
        """
        own = self.own_normalization
        if asked == "none" and own and own.startswith(CAFFE):
            return CAFFE_NONE
        return own if own and (asked == "imagenet" or own.startswith(f"{asked}:")) else asked


def backbone_names() -> list[str]:
    """Every torchvision classifier; timm models (`timm:NAME`) come on top."""
    return list(BACKBONES)


def load_backbone(
    name: str,
    *,
    weights: str | WeightsRequest,
    padding: str,
    taps: str | tuple[str, ...],
    seed: int,
    image_size: int = IMAGE_SIZE,
) -> Backbone:
    """The backbone `name`, ready for images (B, 3, image_size, image_size).

    Args:
        name: a name of the table, timm:NAME, or module:package.file:factory.
        weights: "imagenet", "random", a name of `packaged.PACKAGED` or the path of a checkpoint
            file; a `WeightsRequest` says how to read it.
        padding: what its convolutions see beyond the border, see `set_padding`.
        taps: "paper", "released" or "reproduction" for the table's taps, or the names of one to
            five nodes, which become f1, f2, ... in the order given.
        seed: of the random weights; the global random state is left alone.
        image_size: pixels a side. Some networks are built for one size only.

    Raises `UserError` for anything that cannot be had; it never falls back to something else.
    """
    architecture = build(name, seed=seed, image_size=image_size)
    if isinstance(taps, str) and taps not in architecture.taps:
        raise UserError(f"unknown taps {taps!r}: use {', '.join(architecture.taps)} or node names")
    nodes = architecture.taps[taps] if isinstance(taps, str) else taps
    if isinstance(taps, str) and not nodes:
        raise UserError(f"backbone {name!r} names no module to tap: give --taps")
    request = WeightsRequest(weights) if isinstance(weights, str) else weights
    found = set_weights(architecture, name, request, seed=seed)
    backbone = Backbone(
        weights=found.label,
        weights_source=found.source,
        channels_last=architecture.channels_last,
        **_frozen(architecture.module, name, nodes, padding=padding, image_size=image_size),
    )
    backbone.weights_provenance, backbone.weights_match = found.provenance, found.match
    backbone.own_normalization = found.normalization
    return backbone


def wrap_module(
    module: nn.Module,
    *,
    name: str,
    taps: tuple[str, ...],
    weights: str = "own",
    padding: str = "zeros",
    image_size: int = IMAGE_SIZE,
    channels_last: bool = False,
) -> Backbone:
    """A backbone from your own network, whose classifier need not exist. The module is copied.

    Args:
        module: takes images (B, 3, image_size, image_size).
        name, weights: what the cache and the tables call it and its weights.
        taps: names of one to five of its modules (`module.named_modules()`), f1 first.
        padding: what its convolutions see beyond the border, see `set_padding`.
        channels_last: read (B, n, n, n) outputs as (B, h, w, C); other shapes speak for themselves.
    """
    return Backbone(
        weights=weights,
        weights_source="module",
        channels_last=channels_last,
        **_frozen(copy.deepcopy(module), name, taps, padding=padding, image_size=image_size),
    )


def _frozen(
    module: nn.Module, name: str, nodes: tuple[str, ...], *, padding: str, image_size: int
) -> dict[str, Any]:
    """The fields of a `Backbone` that are read off its module, which is frozen and padded here."""
    module.eval().requires_grad_(False)
    depths = check_taps(module, nodes, name=name, image_size=image_size)
    surgery = set_padding(module, padding, name=name, nodes=nodes, image_size=image_size)
    return {
        "name": name,
        "module": module,
        "taps": {f"f{index}": node for index, node in enumerate(nodes, start=1)},
        "weights_sha256": state_sha256(module),
        "padding": padding,
        "padding_changes": surgery.changes,
        "windows": surgery.windows,
        "has_untrained_batch_norm": _is_untrained(_batch_norms(module)),
        "depths": depths,
    }


def _batch_norms(module: nn.Module) -> list[_BatchNorm]:
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]


def _is_untrained(norms: list[_BatchNorm]) -> bool:
    # Judged by the statistics themselves: a checkpoint saved before training needs calibration as
    # much as random weights do, and old files do not count their batches.
    statistics = [(norm.running_mean, norm.running_var) for norm in norms]
    return bool(statistics) and all(
        mean is not None and var is not None and not mean.any() and bool((var == 1).all())
        for mean, var in statistics
    )


@torch.no_grad()
def calibrate(backbone: Backbone, batches: Iterable[Tensor], *, normalization: str) -> None:
    """Estimate the running statistics of an untrained network's BatchNorms, in fp32.

    The cumulative average over `batches`, images (B, 3, S, S) float32 in [0, 1] on the module's
    device, normalised as the recipe's `normalization` says. Without this an untrained ResNet-152
    reaches 1.5e8 at layer4 (running mean 0, variance 1), past float16. Everything but the
    BatchNorms stays in eval mode.
    """
    norms = _batch_norms(backbone.module)
    momenta = [norm.momentum for norm in norms]
    nodes = list(backbone.taps.values())
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's spelling of a cumulative average
        norm.train()
    try:
        with torch.autocast(next(backbone.module.parameters()).device.type, enabled=False):
            for images in batches:
                inputs = normalize(images, normalization)
                run_taps(backbone.module, nodes, inputs, lambda _node, _output: None)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
