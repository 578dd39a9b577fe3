"""Segmentation networks to take channels from: ours, and torchvision's DeepLabv3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import segmentation

from data.tools.errors import UserError
from data.tools.settings import spelled
from data.vocabulary import IMAGE_SIZE
from extract.backbones.checkpoints.label import state_sha256
from extract.backbones.checkpoints.read import read_checkpoint
from extract.backbones.imagenet import published_state
from extract.backbones.normalization import normalize
from extract.tasks import saving
from extract.tasks.maps.config import MapConfig
from extract.tasks.maps.network import build_network
from extract.tasks.maps.pairs.sets import PairSet, test_pairs, training_pairs
from extract.tasks.targeting.config import DEEPLAB, TargetingConfig

LAST_LAYER = "classifier.4.weight"  # of DeepLabv3; a row for each class


class Segmenter(Protocol):
    """A backbone and a decoder of its levels; the decoder runs without the backbone too."""

    backbone: nn.Module

    def levels(self, images: Tensor) -> list[Tensor]:
        """The maps (B, C, h, w) that the decoder reads, of images (B, 3, S, S) in [0, 1]."""

    def decode(self, levels: list[Tensor], size: torch.Size) -> Tensor:
        """Logits (B, classes, *size) float32 of what `levels` gives."""


class DeepLab(nn.Module):
    """DeepLabv3 of torchvision (ResNet-50) at test: BatchNorm as it was trained, no dropout."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        classes = len(state[LAST_LAYER])
        whole = segmentation.deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=classes, aux_loss=False
        )
        wanted = {key: value for key, value in state.items() if not key.startswith("aux_")}
        try:
            whole.load_state_dict(wanted)
        except RuntimeError as error:
            raise UserError(
                f"the weights do not fit {DEEPLAB} ({str(error).splitlines()[1].strip()}): give "
                "those of torchvision's network"
            ) from error
        self.backbone, self.classifier = whole.backbone, whole.classifier
        self.eval()

    def levels(self, images: Tensor) -> list[Tensor]:
        """The output of layer4, (B, 2048, S / 8, S / 8), alone."""
        return [self.backbone(normalize(images, "imagenet"))["out"]]

    def decode(self, levels: list[Tensor], size: torch.Size) -> Tensor:
        """Logits, interpolated as torchvision does."""
        logits = self.classifier(levels[0]).float()
        return functional.interpolate(logits, size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Material:
    """A segmenter, its levels, and the images to score it on."""

    segmenter: Segmenter
    level_names: tuple[str, ...]
    channels: tuple[int, ...]  # of each level
    outputs: int  # classes
    image_size: int
    pairs: PairSet
    tests: list[PairSet]
    settings: dict[str, Any]  # of plain types: which network, and what it was trained with


def load_material(config: TargetingConfig) -> Material:
    """The network of `config.weights` and its images.

    Raises `UserError` where either cannot be had.
    """
    content = {} if config.weights == DEEPLAB else _read(Path(config.weights))
    ours = "decoder" in content
    made = _provenance(config, content) if ours else {}
    images = MapConfig(
        "segmentation",
        out=Path("unused.pt"),
        seed=made.get("seed", config.seed),
        padding=made.get("padding", "zeros"),
        levels=made.get("levels", "f5"),
        normalization=made.get("normalization", "none"),
        image_size=config.image_size or made.get("image_size", IMAGE_SIZE),
        data=config.data,
        test=config.test,
        classes=config.classes,
        limit=config.limit,
    )
    network: Any
    if ours:
        network = build_network(images, len(content["decoder"]["write.weight"]))
        saving.restore(Path(config.weights), network)
        names = tuple(images.levels.split("+"))
    else:
        network, names = DeepLab(_deeplab_state(config, content)), ("layer4",)
    settings = {
        "network": made.get("backbone", DEEPLAB),
        "padding": images.padding,
        "weights_sha256": state_sha256(network),
        "image_size": images.image_size,
    }
    pairs, tests = training_pairs(images), test_pairs(images)
    channels, outputs = _widths(network, images.image_size)
    return Material(network, names, channels, outputs, images.image_size, pairs, tests, settings)


@torch.no_grad()
def _widths(network: Segmenter, image_size: int) -> tuple[tuple[int, ...], int]:
    """Channels of each level, and classes."""
    levels = network.levels(torch.zeros(1, 3, image_size, image_size))
    outputs = network.decode(levels, torch.Size((image_size, image_size))).shape[1]
    return tuple(level.shape[1] for level in levels), outputs


def _read(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise UserError(
            f"{spelled('weights')} {path}: no such file: train one by train-backbone --task "
            f"segmentation --out {path}, or give {DEEPLAB}"
        )
    return read_checkpoint(path).content


def _provenance(config: TargetingConfig, content: Mapping[str, Any]) -> dict[str, Any]:
    """What our checkpoint was trained with."""
    made = dict(content["provenance"])
    if made.get("task") != "segmentation":
        raise UserError(
            f"{spelled('weights')} {config.weights} was trained for {made.get('task')}: give a "
            "checkpoint of train-backbone --task segmentation"
        )
    return made


def _deeplab_state(config: TargetingConfig, content: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The state dict of DeepLabv3 in `content`, or torchvision's where it is empty."""
    if not content:
        found = segmentation.DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1
        return published_state(found, f"weights {DEEPLAB!r}")
    parts = (content, *(part for part in content.values() if isinstance(part, Mapping)))
    for part in parts:
        if LAST_LAYER in part:
            return part
    raise UserError(
        f"{spelled('weights')} {config.weights} is neither a checkpoint of train-backbone --task "
        f"segmentation nor a state dict of {DEEPLAB}, which has {LAST_LAYER}: give one of these"
    )
