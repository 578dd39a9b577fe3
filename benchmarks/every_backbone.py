"""Every listed backbone on two sample images of 224x224, against torchvision's feature extractor.

    python -m benchmarks.every_backbone [--backbone vgg16 ...] [--write docs/backbones.md]

Random weights, calibrated where there is BatchNorm, fp32. Each level must equal, within 1e-4 of
its largest value, the node that `create_feature_extractor` returns from a traced copy without
in-place activations, aligned by `interpolate`. `--write` replaces the table at the end of the page.
One network at a time: the weights of the largest, vit_h_14 and regnet_y_128gf, are 2.5 GB each.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.models.feature_extraction import create_feature_extractor

from data.images.image_set import find_images
from data.protocols import PROTOCOLS
from extract.backbones.backbone import Backbone, backbone_names, calibrate, load_backbone
from extract.backbones.table import BACKBONES
from extract.levels import LevelExtractor

FEATURES = PROTOCOLS["paper"].features
TOLERANCE = 1e-4
HEADER = "<!-- The table below: python -m benchmarks.every_backbone --write docs/backbones.md -->"
COLUMNS = ("backbone", "family", "parameters", "taps (channels @ cells a side)", "largest value")


def sample_images(count: int) -> Tensor:
    """The first embedded sample images, (count, 3, 224, 224) float32 in [0, 1]."""
    images = find_images(None, None, limit=count, seed=0, num_workers=0)
    arrays = [torch.from_numpy(images.load(index)) for index in range(count)]
    return torch.stack(arrays).permute(0, 3, 1, 2).float() / 255


def plain_maps(backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
    """The raw map (B, C, n, n) of every level, from a whole pass of a traced network."""
    for layer in backbone.module.modules():
        if getattr(layer, "inplace", False):
            layer.inplace = False
    nodes = {node: level for level, node in backbone.taps.items()}
    with torch.no_grad():
        outputs = create_feature_extractor(backbone.module, nodes)(images)
    family = BACKBONES[backbone.name].family
    return {level: known_layout(output, family) for level, output in outputs.items()}


def known_layout(output: Tensor, family: str) -> Tensor:
    """(B, C, n, n), by what each family is documented to return."""
    if family.startswith("Swin"):
        return output.permute(0, 3, 1, 2)
    if family == "ViT":
        patches = output[:, 1:]
        side = round(patches.shape[1] ** 0.5)
        return patches.reshape(len(output), side, side, -1).permute(0, 3, 1, 2)
    return output


def check(name: str, images: Tensor) -> list[str]:
    """The table's row of one backbone; AssertionError when a level differs."""
    backbone = load_backbone(name, weights="random", padding="zeros", taps="paper", seed=0)
    if backbone.has_untrained_batch_norm:
        calibrate(backbone, images[2:].split(2), normalization=FEATURES.normalization)
    levels = LevelExtractor(backbone, FEATURES)(images[:2])
    assert list(levels) == ["input", "f1", "f2", "f3", "f4", "f5"], name
    taps = []
    for level, raw in plain_maps(backbone, images[:2]).items():
        plain = interpolate(raw, (28, 28), mode="bilinear", align_corners=True)
        difference = float((levels[level] - plain).abs().max() / plain.abs().max())
        assert levels[level].shape == plain.shape, (name, level)
        assert difference < TOLERANCE, (name, level, difference)
        taps.append(f"`{backbone.taps[level]}` {raw.shape[1]} @ {raw.shape[2]}")
    parameters = sum(parameter.numel() for parameter in backbone.module.parameters())
    largest = max(float(maps.abs().max()) for level, maps in levels.items() if level != "input")
    family = BACKBONES[name].family
    return [f"`{name}`", family, f"{parameters / 1e6:.1f} M", ", ".join(taps), f"{largest:.3g}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", action="append", choices=backbone_names())
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    images = sample_images(8)
    table = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for name in options.backbone or backbone_names():
        table.append("| " + " | ".join(check(name, images)) + " |")
        print(table[-1], flush=True)
        gc.collect()
    print(f"{len(table) - 2} backbones equal a plain pass", file=sys.stderr)
    if options.write:
        prose = options.write.read_text().split(HEADER)[0]
        options.write.write_text(f"{prose}{HEADER}\n\n" + "\n".join(table) + "\n")


if __name__ == "__main__":
    main()
