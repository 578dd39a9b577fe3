"""What a cache is called: everything that tells it from its neighbours in one folder."""

from __future__ import annotations

from data.protocols import FeatureRecipe, find_protocol
from data.vocabulary import IMAGE_SIZE


def cache_name(backbone: str, weights: str, padding: str, suffix: str) -> str:
    """The name of a cache's folder; `suffix` is what `recipe_suffix` gives."""
    return f"{backbone.replace(':', '-').replace('/', '-')}-{weights}-{padding}{suffix}"


def recipe_suffix(protocol: str, features: FeatureRecipe, image_size: int) -> str:
    """What a name says of how images become features: where that is the paper's way, nothing."""
    parts = []
    if protocol != "paper":
        parts.append(protocol)
    if features.normalization != find_protocol(protocol).features.normalization:
        written = features.normalization.replace("/", "-over-").replace(":", "-")
        parts.append(f"normalization-{written}")
    if image_size != IMAGE_SIZE:
        parts.append(f"image-size-{image_size}")
    if features.crop_border:
        parts.append(f"crop-border-{features.crop_border}")
    return "".join(f"-{part}" for part in parts)
