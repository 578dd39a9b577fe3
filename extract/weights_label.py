"""Labels of weights that share a folder of caches."""

from __future__ import annotations

from data.cache.files.manifest import MANIFEST, read_identity
from data.tools.errors import UserError
from extract.backbones.backbone import Backbone
from extract.backbones.checkpoints.label import DIGITS, RESERVED
from extract.config import ExtractConfig


def free_label(config: ExtractConfig, backbone: Backbone) -> str:
    """What this backbone's weights are called among the caches of `config.cache_dir`.

    Their own label, unless a cache of the same backbone and label holds other weights: then with
    the first digits of their SHA-256. So two files `checkpoint.pth` stand side by side, and the
    same file finds its cache again. With `overwrite` a cache of the plain label is replaced,
    unless these weights have one of their own.
    """
    label = backbone.weights
    if config.weights in RESERVED or config.weights_name is not None:
        return label
    digested = f"{label}-{backbone.weights_sha256[:DIGITS]}"
    known = _known(config, backbone.name)
    if (digested, backbone.weights_sha256) in known:
        return digested
    others = any(name == label and sha256 != backbone.weights_sha256 for name, sha256 in known)
    return digested if others and not config.overwrite else label


def _known(config: ExtractConfig, backbone: str) -> set[tuple[str, str]]:
    """Labels and SHA-256 of the weights of one backbone in the caches there."""
    known = set()
    for path in config.cache_dir.glob(f"*/{MANIFEST}"):
        try:
            identity = read_identity(path.parent)
        except (UserError, OSError):
            continue  # not ours, or damaged: who opens it will say so
        if identity.backbone == backbone:
            known.add((identity.weights, identity.weights_sha256))
    return known
