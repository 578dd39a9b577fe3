"""What a cache is made from: the identity of an extraction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
import PIL
import torch
import torchvision

from data.cache.identity import Identity
from extract.backbones.backbone import Backbone
from extract.config import ExtractConfig
from extract.engine import engine_version


def describe_extraction(
    config: ExtractConfig,
    backbone: Backbone,
    levels: Mapping[str, int],
    *,
    device: torch.device,
    precision: str,
) -> Identity:
    """The identity, without images, calibration and the changes over the places.

    Whatever moves a feature is in it; what only says where the work was done (folders, batch size,
    number of processes) is not, or is not compared.
    """
    depths = backbone.depths
    return Identity(
        backbone=backbone.name,
        weights=backbone.weights,
        weights_sha256=backbone.weights_sha256,
        weights_source=backbone.weights_source,
        weights_provenance=backbone.weights_provenance,
        weights_match=backbone.weights_match,
        padding=backbone.padding,
        padding_changes=backbone.padding_changes,
        protocol=config.protocol,
        features=config.features,
        normalization=backbone.normalization(config.features.normalization),
        taps=tuple(backbone.taps.values()),
        levels=dict(levels),
        layers_run={level: depths.at_node[node] for level, node in backbone.taps.items()},
        layers_in_all=depths.whole,
        image_size=config.image_size,
        precision=precision,
        device=device.type,
        engine=config.engine,
        seed=config.seed,
        uneven_strides=backbone.uneven_strides,
        compression=config.compression,
        versions={
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "numpy": numpy.__version__,
            **engine_version(config.engine),
        },
    )
