"""The network a cache was made with, made again."""

from __future__ import annotations

import hashlib

from data.cache.files.members import CALIBRATION
from data.cache.identity import Identity
from data.cache.reader import FeatureCache
from data.tools.errors import UserError
from data.tools.files import read_bytes
from extract.backbones.backbone import Backbone, load_backbone
from extract.backbones.weights import WeightsRequest
from extract.calibration import load_statistics


def rebuild(cache: FeatureCache, weights: str | None = None) -> Backbone:
    """The backbone of `cache`, with the statistics that were estimated for it.

    `weights`: the checkpoint file, where it was read from one. Raises `UserError` when it cannot
    be had, or comes out differently.
    """
    identity = cache.identity
    backbone = load_backbone(
        identity.backbone,
        weights=WeightsRequest(weights or identity.weights),
        padding=identity.padding,
        taps=identity.taps,
        seed=identity.seed,
        image_size=identity.image_size,
    )
    check_network(backbone, identity)
    if identity.calibration is not None:
        content = read_bytes(cache.folder / CALIBRATION)
        if hashlib.sha256(content).hexdigest() != identity.calibration.sha256:
            raise UserError(f"{cache.folder / CALIBRATION} is damaged: run extract-features again")
        load_statistics(content, backbone)
        backbone.has_untrained_batch_norm = False
    return backbone


def check_network(backbone: Backbone, identity: Identity) -> None:
    """Raise `UserError` unless `backbone` is the network that features of `identity` came from."""
    if backbone.weights_sha256 != identity.weights_sha256 or backbone.padding != identity.padding:
        raise UserError(
            f"{backbone.name} with weights {backbone.weights!r} and padding {backbone.padding} is "
            f"not the network of these features ({identity.backbone}, {identity.weights!r}, "
            f"{identity.padding}): give the cache, or the network, that they came from"
        )
    if backbone.has_untrained_batch_norm and identity.calibration is not None:
        raise UserError(
            f"{backbone.name} has BatchNorms whose statistics were estimated for the cache: give "
            "the cache instead of the network"
        )
