"""The command that makes a cache."""

from __future__ import annotations

import shlex
from pathlib import Path

from data.cache.identity import RANDOM, Identity
from data.protocols import PROTOCOLS
from data.vocabulary import IMAGE_SIZE

DEFAULT_CACHES = Path("features")
_SAMPLE_COUNT = 256  # embedded training images


def extraction_command(identity: Identity, cache_dir: Path, *, overwrite: bool = False) -> str:
    """`extract-features` with the backbone, the recipe and the images of a cache."""
    words = ["extract-features", "--backbone", identity.backbone]
    words += _weights_options(identity)
    if identity.padding != "zeros":
        words += ["--padding", identity.padding]
    words += _image_options(identity) + _recipe_options(identity) + cache_option(cache_dir)
    return shlex.join(words + (["--overwrite"] if overwrite else []))


def call_into(command: str, cache_dir: Path) -> str:
    """The call that made a cache, which keeps it without its place; "" where it has kept none."""
    return " ".join([command, *map(shlex.quote, cache_option(cache_dir))]) if command else ""


def cache_option(cache_dir: Path) -> list[str]:
    """Where the caches lie, if that is not where they lie by default."""
    return [] if cache_dir == DEFAULT_CACHES else ["--cache-dir", str(cache_dir)]


def _weights_options(identity: Identity) -> list[str]:
    """Which weights, and how a checkpoint file is to be read again."""
    if identity.weights == "imagenet":
        return []
    if identity.weights == RANDOM:
        return ["--weights", RANDOM]
    match = identity.weights_match
    words = ["--weights", identity.weights_source or f"{identity.weights}-checkpoint"]
    if "package" in match:
        return words
    words += ["--weights-key", str(match["part"])] if match.get("part") else []
    return words + (["--match", "order"] if match.get("matched_by") == "order" else [])


def _image_options(identity: Identity) -> list[str]:
    words = []
    for images, source in identity.sources.items():
        if source != "samples":
            words += [f"--{images}", source]
    train = identity.images.counts.get("train", _SAMPLE_COUNT)
    if not words and train < _SAMPLE_COUNT:
        words += ["--limit", str(train)]
    return words


def _recipe_options(identity: Identity) -> list[str]:
    """What is not the default."""
    words, features = [], identity.features
    if identity.protocol != "paper":
        words += ["--protocol", identity.protocol]
    usual = PROTOCOLS.get(identity.protocol)
    if usual and features.normalization != usual.features.normalization:
        words += ["--normalization", features.normalization]
    if identity.image_size != IMAGE_SIZE:
        words += ["--image-size", str(identity.image_size)]
    if features.crop_border:
        words += ["--crop-border", str(features.crop_border)]
    if features.score_transposed:
        words += ["--score-transposed"]
    return words + (["--seed", str(identity.seed)] if identity.seed else [])
