"""The commands that would measure what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.read.results import Results
from data.cache.identity import Identity
from data.protocols import PROTOCOLS, origin, steps_needed, steps_of
from data.vocabulary import IMAGE_SIZE, INPUT, PIXELS, SCORED_SETS
from probe.results import RunSettings

_SAMPLE_COUNT = 256  # embedded training images
_DEFAULT_RESULTS, _DEFAULT_CACHES = Path("results"), Path("features")


@dataclass(frozen=True)
class Situation:
    """What is known of a condition: enough to write commands that add to it."""

    protocol: str = "paper"
    weights: str = "imagenet"
    settings: RunSettings | None = None  # of one of its runs
    caches: frozenset[tuple[str, str]] = frozenset()  # backbone and padding of its runs
    seeds: int = 1  # of the head that has most
    results_dir: Path = _DEFAULT_RESULTS

    @property
    def identity(self) -> Identity | None:
        """What the caches were made from, backbone and padding aside."""
        return self.settings.cache if self.settings else None


def situation(condition: pd.DataFrame, results: Results) -> Situation:
    """From the measured rows of one condition."""
    backbones = condition[condition["backbone"] != PIXELS]
    first = (condition if backbones.empty else backbones).iloc[0]
    return Situation(
        protocol=first["protocol"],
        weights="imagenet" if backbones.empty else first["weights"],
        settings=results.runs[first["run"]],
        caches=frozenset(zip(backbones["backbone"], backbones["backbone_padding"], strict=True)),
        seeds=int(condition["n_seeds"].max()),
        results_dir=results.folder,
    )


def fill_command(
    backbone: str, padding: str, images: str, known: Situation, head: Any = None
) -> str:
    """The command, or two joined by &&, that measure `head`, or the paper's heads of one cache.

    `head` has the attributes that `head_command` asks for.
    """
    train = train_command(known) if head is None else head_command(backbone, head, known)
    trained = known.caches | ({(PIXELS, padding)} if known.settings else set())
    if (backbone, padding) in trained and images in _images(known):
        return train
    if backbone == PIXELS:  # every cache holds the pixels
        backbone, padding = next(iter(sorted(known.caches)), ("vgg16", "zeros"))
    commands = [extract_command(backbone, padding, known), train]
    if (backbone, padding) in known.caches:  # complete, but without the image set
        commands = [f"{command} --overwrite" for command in commands]
    return " && ".join(commands)


def head_command(backbone: str, head: Any, known: Situation) -> str:
    """`train-probes` for one head, which the paper's sweep may lack.

    `head` has the attributes reads, kernel_size, depth, probe_padding and pattern.
    """
    of_backbone = ["--backbone", backbone, "--levels", head.reads]
    words = ["train-probes", *(["--levels", INPUT] if backbone == PIXELS else of_backbone)]
    words += ["--kernel-size", str(head.kernel_size), "--depth", str(head.depth)]
    words += ["--probe-padding", str(head.probe_padding), "--pattern", head.pattern]
    return shlex.join(words + _training_options(known))


def extract_command(backbone: str, padding: str, known: Situation) -> str:
    """`extract-features` with the images and recipe of a condition."""
    words = ["extract-features", "--backbone", backbone]
    identity = known.identity
    if known.weights != "imagenet":
        words += ["--weights", _weights_argument(known.weights, identity)]
        words += _weights_options(identity.weights_match if identity else {})
    if padding != "zeros":
        words += ["--padding", padding]
    words += _recipe_options(identity or _of_protocol(known.protocol))
    return shlex.join(words + _cache_option(known))


def deciding_command(known: Situation, *, exact: bool) -> str:
    """The training that decides what under-trained heads do not.

    It is the exact solution where the heads have one (`exact`), else the protocol tuned, with as
    many steps as it needs.
    """
    if exact:
        return shlex.join(["train-probes", "--sweep", "--solver", "exact", *_places(known)])
    words = ["train-probes", "--sweep", "--protocol", "tuned"]
    recipe = PROTOCOLS["tuned"].training
    images = known.identity.images.counts.get("train") if known.identity else None
    if images:
        needed = steps_needed(recipe)
        if known.protocol == "tuned" and known.settings:  # which was not enough
            needed = max(needed, 2 * steps_of(known.settings.recipe, images))
            words += ["--overwrite"]
        words += ["--steps", str(needed)] if needed > steps_of(recipe, images) else []
    return shlex.join(words + _places(known))


def train_command(known: Situation) -> str:
    """`train-probes --sweep` with the recipe of a condition."""
    return shlex.join(["train-probes", "--sweep", *_training_options(known)])


def _training_options(known: Situation) -> list[str]:
    words: list[str] = []
    protocol, options = origin(known.protocol)
    words += options
    if known.identity and protocol != known.identity.protocol:
        words += ["--protocol", protocol]
    if known.settings and protocol in PROTOCOLS and "--solver" not in options:
        usual, recipe = PROTOCOLS[protocol].training, known.settings.recipe
        for name in ("epochs", "steps", "batch_size"):
            value = getattr(recipe, name)
            if value not in (None, getattr(usual, name)):
                words += [f"--{name.replace('_', '-')}", str(value)]
    if known.seeds > 1:
        words += ["--seeds", str(known.seeds)]
    return words + _places(known)


def _places(known: Situation) -> list[str]:
    words = _cache_option(known)
    if known.results_dir != _DEFAULT_RESULTS:
        words += ["--results-dir", str(known.results_dir)]
    return words


def _images(known: Situation) -> Iterable[str]:
    return (known.identity.images.counts if known.identity else None) or SCORED_SETS


def _weights_argument(weights: str, identity: Identity | None) -> str:
    if weights == "random":
        return "random"
    return (identity.weights_source if identity else "") or f"{weights}-checkpoint"


def _weights_options(match: Mapping[str, Any]) -> list[str]:
    """How a checkpoint file is to be read again."""
    if "package" in match:
        return []
    words = ["--weights-key", str(match["part"])] if match.get("part") else []
    return words + (["--match", "order"] if match.get("matched_by") == "order" else [])


def _of_protocol(name: str) -> Identity:
    """Of caches that are yet to be made."""
    return Identity(protocol=name, features=PROTOCOLS[name].features)


def _recipe_options(identity: Identity) -> Iterable[str]:
    """Images and recipe, where they are not the default."""
    words = []
    for images, source in identity.sources.items():
        if source != "samples":
            words += [f"--{images}", source]
    train = identity.images.counts.get("train", _SAMPLE_COUNT)
    if not words and train < _SAMPLE_COUNT:
        words += ["--limit", str(train)]
    if identity.protocol != "paper":
        words += ["--protocol", identity.protocol]
    normalization = identity.features.normalization
    usual = PROTOCOLS.get(identity.protocol)
    if usual and normalization != usual.features.normalization:
        words += ["--normalization", normalization]
    if identity.image_size != IMAGE_SIZE:
        words += ["--image-size", str(identity.image_size)]
    if identity.features.crop_border:
        words += ["--crop-border", str(identity.features.crop_border)]
    return words


def _cache_option(known: Situation) -> list[str]:
    recorded = known.settings.about.get("cache_dir") if known.settings else None
    # Of runs that do not say where their cache lay: by custom beside the results.
    caches = Path(recorded) if recorded else known.results_dir.parent / _DEFAULT_CACHES
    return [] if caches == _DEFAULT_CACHES else ["--cache-dir", str(caches)]
