"""What a pooled cache is made from: the identity of an extraction of placed images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
import PIL
import torch
import torchvision

from data.cache.pooled.identity import PlacedIdentity
from data.images.placed.placement import PlacedImages
from extract.backbones.backbone import Backbone


def describe_placed(
    backbone: Backbone,
    images: PlacedImages,
    *,
    normalization: str,
    levels: Mapping[str, int],
    precision: str,
    device: str,
    calibration_images: str,
    calibrated_on: str,
) -> PlacedIdentity:
    """The identity, without calibration and the changes over the places."""
    layout, patches = images.layout, images.patches
    return PlacedIdentity(
        backbone=backbone.name,
        weights=backbone.weights,
        weights_sha256=backbone.weights_sha256,
        weights_source=backbone.weights_source,
        weights_provenance=backbone.weights_provenance,
        padding=backbone.padding,
        padding_changes=backbone.padding_changes,
        normalization=normalization,
        taps=tuple(backbone.taps.values()),
        levels=dict(levels),
        precision=precision,
        device=device,
        seed=images.seed,
        calibration_images=calibration_images,
        calibrated_on=calibrated_on,
        kind=layout.kind,
        grid=layout.grid,
        border=layout.border,
        gap=layout.gap,
        patch_size=layout.patch_size,
        cells=tuple(layout.cells),
        canvas=images.canvas,
        mirrored=images.mirrored,
        patches=patches.name,
        patches_sha256=patches.sha256,
        n_patches=len(patches.pixels),
        class_names=patches.class_names,
        uneven_strides=backbone.uneven_strides,
        versions={
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "numpy": numpy.__version__,
        },
    )
