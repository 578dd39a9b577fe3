"""What a cache is called: everything that tells it from its neighbours in one folder."""

from __future__ import annotations

import hashlib

from data.cache.identity import NO_WEIGHTS, RANDOM, Identity
from data.protocols import PROTOCOLS
from data.vocabulary import IMAGE_SIZE

_LONGEST_NAME = 150  # bytes; disks take 255, and files in work have longer names


def cache_name(identity: Identity, weights: str | None = None) -> str:
    """The name of a cache's folder, and of runs on it: one path component, safe on every disk.

    `weights` is what the weights are called where their own label is another cache's too.
    """
    label = weights or identity.weights
    if identity.weights == RANDOM and identity.seed:
        label += f"-seed{identity.seed}"
    parts = [part for part in (identity.backbone, label, identity.padding) if part != NO_WEIGHTS]
    return safe_name("-".join(parts) + recipe_suffix(identity))


def recipe_suffix(identity: Identity) -> str:
    """What a name says of how images become features: where that is the paper's way, nothing."""
    parts = []
    features = identity.features
    if identity.protocol != "paper":
        parts.append(identity.protocol)
    usual = PROTOCOLS.get(identity.protocol)
    if usual and features.normalization != usual.features.normalization:
        written = features.normalization.replace("/", "-over-").replace(":", "-")
        parts.append(f"normalization-{written}")
    if identity.image_size != IMAGE_SIZE:
        parts.append(f"image-size-{identity.image_size}")
    if features.crop_border:
        parts.append(f"crop-border-{features.crop_border}")
    if features.score_transposed:
        parts.append("score-transposed")
    return "".join(f"-{part}" for part in parts)


def safe_name(text: str) -> str:
    """`text` as one path component: letters, digits and `._+=@-` of it, and not hidden.

    What is too long is cut, and ends in a digest of the whole.
    """
    name = "".join(letter if letter.isalnum() or letter in "._+=@-" else "-" for letter in text)
    name = name.lstrip(".-") or "-"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore") + "-" + digest
