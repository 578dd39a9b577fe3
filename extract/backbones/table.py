"""The table of backbones: every torchvision classifier, its family and its taps. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from data.tools.errors import UserError
from data.tools.settings import listed
from extract.backbones.exactness import exactness_note

TIMM_PREFIX = "timm:"


@dataclass(frozen=True)
class BackboneRow:
    """One torchvision classifier.

    The taps are names of the model's own modules, shallow to deep; they become levels f1, f2, ...
    Only VGG and ResNet have published taps, so only they differ between protocols.
    """

    name: str
    family: str
    taps: tuple[str, ...]  # of the protocol `paper`, and of the others unless given here
    released: tuple[str, ...] | None = None
    reproduction: tuple[str, ...] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the constructor, besides size
    size_argument: str | None = None  # the constructor's name for the image size, where it has one
    channels_last: bool = False  # its maps are (B, h, w, C)
    note: str = ""

    def taps_for(self, recipe: str) -> tuple[str, ...]:
        """The taps of `recipe`: "paper", "released" or "reproduction"."""
        special = {"released": self.released, "reproduction": self.reproduction}.get(recipe)
        return special or self.taps


def _nodes(prefix: str, *ends: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{end}" for end in ends)


def _vgg_rows() -> Iterator[BackboneRow]:
    # Convolutions per block; each is followed by a ReLU, in `_bn` by BatchNorm and a ReLU, and
    # each block by a pool. Paper: the last ReLU before each pool. Reproduction: the pool.
    blocks = {11: (1, 1, 2, 2, 2), 13: (2,) * 5, 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
    for suffix, modules_per_convolution in (("", 2), ("_bn", 3)):
        for depth, convolutions in blocks.items():
            pools: list[int] = []
            for count in convolutions:
                pools.append((pools[-1] + 1 if pools else 0) + count * modules_per_convolution)
            yield BackboneRow(
                f"vgg{depth}{suffix}",
                "VGG",
                _nodes("features.", *(pool - 1 for pool in pools)),
                reproduction=_nodes("features.", *pools),
            )


def _resnet_rows() -> Iterator[BackboneRow]:
    layers = _nodes("layer", 1, 2, 3, 4)
    families = {
        "ResNet": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        "ResNeXt": ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
        "Wide ResNet": ("wide_resnet50_2", "wide_resnet101_2"),
    }
    for family, names in families.items():
        for name in names:
            yield BackboneRow(
                name,
                family,
                ("relu", *layers),
                released=layers,  # the authors' code reads four levels: f1 ... f4, no f5
                reproduction=("maxpool", *layers),
            )


def _vit_rows() -> Iterator[BackboneRow]:
    # `encoder.dropout` returns the tokens with their position embeddings added; then each quarter.
    for name, depth in {"b_16": 12, "b_32": 12, "l_16": 24, "l_32": 24, "h_14": 32}.items():
        ends = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
        yield BackboneRow(
            f"vit_{name}",
            "ViT",
            ("encoder.dropout", *_nodes("encoder.layers.encoder_layer_", *ends)),
            size_argument="image_size",
            note="trained weights fit 224x224 only: its position embeddings are learned",
        )


def _swin_rows() -> Iterator[BackboneRow]:
    wide = "made for 256x256; at 224 it pads its windows of 8 with zeros, right and below"
    for family, stem, note in (("Swin", "swin_", ""), ("SwinV2", "swin_v2_", wide)):
        for size in "tsb":
            taps = _nodes("features.", 0, 1, 3, 5, 7)
            yield BackboneRow(f"{stem}{size}", family, taps, channels_last=True, note=note)


# Family, names, taps. Where a network has stages, a tap is the last block of each resolution.
_PLAIN: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("AlexNet", ("alexnet",), _nodes("features.", 1, 4, 7, 9, 11)),
    ("SqueezeNet", ("squeezenet1_0",), _nodes("features.", 1, 5, 8, 10, 12)),
    ("SqueezeNet", ("squeezenet1_1",), _nodes("features.", 1, 4, 7, 10, 12)),
    (
        "DenseNet",
        ("densenet121", "densenet161", "densenet169", "densenet201"),
        ("features.relu0", *_nodes("features.denseblock", 1, 2, 3, 4)),
    ),
    ("MobileNetV2", ("mobilenet_v2",), _nodes("features.", 1, 3, 6, 13, 17)),
    ("MobileNetV3", ("mobilenet_v3_large",), _nodes("features.", 1, 3, 6, 12, 15)),
    ("MobileNetV3", ("mobilenet_v3_small",), _nodes("features.", 0, 1, 3, 8, 11)),
    (
        "MNASNet",
        ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
        _nodes("layers.", 7, 8, 9, 11, 13),
    ),
    (
        "EfficientNet",
        tuple(f"efficientnet_b{width}" for width in range(8)),
        _nodes("features.", 1, 2, 3, 5, 7),
    ),
    ("EfficientNetV2", ("efficientnet_v2_s",), _nodes("features.", 1, 2, 3, 5, 6)),
    (
        "EfficientNetV2",
        ("efficientnet_v2_m", "efficientnet_v2_l"),
        _nodes("features.", 1, 2, 3, 5, 7),
    ),
    (
        "RegNet",
        tuple(
            f"regnet_{kind}_{flops}"
            for kind in "xy"
            for flops in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf", "128gf")
            if (kind, flops) != ("x", "128gf")
        ),
        ("stem", *_nodes("trunk_output.block", 1, 2, 3, 4)),
    ),
    (
        "ShuffleNetV2",
        tuple(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")),
        ("conv1", "maxpool", "stage2", "stage3", "stage4"),
    ),
    (
        "ConvNeXt",
        tuple(f"convnext_{size}" for size in ("tiny", "small", "base", "large")),
        _nodes("features.", 0, 1, 3, 5, 7),
    ),
)

_ROWS: tuple[BackboneRow, ...] = (
    *_vgg_rows(),
    *_resnet_rows(),
    *(BackboneRow(name, family, taps) for family, names, taps in _PLAIN for name in names),
    *_swin_rows(),
    *_vit_rows(),
    BackboneRow(
        "maxvit_t",
        "MaxViT",
        ("stem", *_nodes("blocks.", 0, 1, 2, 3)),
        size_argument="input_size",
        note="image sizes are multiples of 224, so that windows of 7 divide every map",
    ),
    BackboneRow(
        "googlenet",
        "GoogLeNet",
        ("conv1", "conv3", "inception3b", "inception4e", "inception5b"),
        arguments={"aux_logits": False, "transform_input": False, "init_weights": True},
    ),
    BackboneRow(
        "inception_v3",
        "InceptionV3",
        ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
        arguments={"aux_logits": False, "transform_input": False, "init_weights": True},
        note="trained at 299x299",
    ),
)

BACKBONES: dict[str, BackboneRow] = {row.name: row for row in _ROWS}


def backbone_listing() -> str:
    """Every backbone, one a line: name, family, the paper protocol's taps, and what to know.

    What to know is its note and the exactness audit (`extract.backbones.exactness`).
    """
    lines = []
    for row in _ROWS:
        notes = "; ".join(note for note in (exactness_note(row.name), row.note) if note)
        lines.append(f"{row.name:<20}{row.family:<16}{','.join(row.taps)}  ({notes})")
    more = (
        f"{TIMM_PREFIX}NAME: any timm model (pip install timm)",
        "module:package.file:factory: a network of your own",
    )
    return "\n".join([*lines, *more])


def find_row(name: str) -> BackboneRow:
    """The row called `name`; a `UserError` that lists the good names otherwise."""
    if name in BACKBONES:
        return BACKBONES[name]
    raise UserError(
        f"unknown backbone {name!r}: use {listed(name, tuple(BACKBONES))} (all: --list-backbones), "
        f"or {TIMM_PREFIX}NAME for a timm model"
    )
