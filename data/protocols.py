"""Named, complete recipes: everything that moves the numbers, fixed in one place.

`paper` is Islam, Jia and Bruce (ICLR 2020), with its gaps filled so that the published numbers
are possible (docs/methods.md); `released` is the authors' code of 2021; `reproduction` is the
Southampton report and its notebooks. `tuned` trains the paper's heads, on the paper's features,
so that none is judged by a badly chosen step size (docs/methods.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from data.tools.errors import UserError
from data.tools.settings import listed


@dataclass(frozen=True)
class FeatureRecipe:
    """What decides the features: part of the identity of a cache."""

    taps: str  # which taps of the backbone table: "paper", "released" or "reproduction"
    normalization: str  # "none": [0, 1]; "imagenet": minus mean, over standard deviation
    alignment: str  # "bilinear": each channel to 28x28, align_corners=True;
    # "trilinear": each level as a volume to (3, 28, 28), align_corners=False
    input_scale: float  # the level `input` is the image in [0, 1] times this ...
    input_normalized: bool  # ... and normalised like the backbone's own input, or not
    crop_border: int = 0  # cells dropped at every side of every level before it is aligned
    input_antialiased: bool = False  # the level `input` is the image itself, resized to 28x28 by
    # PIL; else the image that the backbone sees, aligned like the other levels
    score_transposed: bool = False  # rows and columns of the images scored, not of those trained
    # on, change places


@dataclass(frozen=True)
class TrainingRecipe:
    """What decides the heads, given the features."""

    batch_norm: bool  # BatchNorm after every convolution of a head
    sigmoid: bool  # sigmoid on a head's output
    hidden_width: int | None  # channels of hidden layers; None: as many as the head reads
    signed_stripes: bool  # HS and VS in [-1, 1] instead of [0, 1]
    resolution: int | None  # pixels a side of loss and scores; None: the head's own output size
    optimizer: str  # "sgd", "adam" or "exact": no steps, the optimum itself
    learning_rates: tuple[float, ...]  # several: the one with the lowest held-out loss is kept
    heldout_share: float  # of the training images, kept from training to choose the rate;
    # 0: none, and the held-out loss is that of the test images, which decides nothing
    conditioned: bool  # heads learn in coordinates in which the channels they read are
    # uncorrelated and of one size (probe/sgd/whitening.py), and one without sigmoid starts from the
    # mean and the spread of its target
    momentum: float  # of SGD
    weight_decay: float
    decay_after: float | None  # fraction of the training after which the rate falls to a tenth
    batch_size: int
    epochs: int | None  # passes over the training images; None: as many as `steps` take
    steps: int | None = None  # of the optimiser, the last pass cut short; None: those of `epochs`
    eight_bit_targets: bool = False  # maps are images of 256 levels, resized by PIL

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a recipe ends after so many epochs or after so many steps")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingRecipe:
        """The recipe whose fields JSON has kept, with a list for its tuple."""
        return cls(**{**values, "learning_rates": tuple(values["learning_rates"])})


@dataclass(frozen=True)
class Protocol:
    """One recipe from images to scores."""

    name: str
    features: FeatureRecipe
    training: TrainingRecipe
    base: str = ""  # the protocol that it is derived from; empty: none
    options: tuple[str, ...] = ()  # of train-probes, which derive it


_PAPER_FEATURES = FeatureRecipe(
    taps="paper",
    normalization="none",
    alignment="bilinear",
    input_scale=1.0,
    input_normalized=True,
)
_PAPER_TRAINING = TrainingRecipe(
    batch_norm=True,
    sigmoid=True,
    hidden_width=64,  # the paper gives none
    signed_stripes=True,
    resolution=224,
    optimizer="sgd",
    learning_rates=(0.1,),
    heldout_share=0.0,
    conditioned=False,
    momentum=0.9,
    weight_decay=1e-4,
    decay_after=2 / 3,
    batch_size=32,
    epochs=15,
)

PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol("paper", _PAPER_FEATURES, _PAPER_TRAINING),
    "released": Protocol(
        "released",
        replace(_PAPER_FEATURES, taps="released"),
        replace(_PAPER_TRAINING, hidden_width=None, signed_stripes=False),
    ),
    "reproduction": Protocol(
        "reproduction",
        FeatureRecipe(
            taps="reproduction",
            normalization="imagenet",
            alignment="trilinear",
            input_scale=255.0,
            input_normalized=False,
            input_antialiased=True,
        ),
        TrainingRecipe(
            batch_norm=False,
            sigmoid=False,
            hidden_width=64,  # the report trains single layers only
            signed_stripes=False,
            resolution=None,
            optimizer="adam",
            learning_rates=(1e-3,),
            heldout_share=0.0,
            conditioned=False,
            momentum=0.0,
            weight_decay=1e-4,
            decay_after=None,
            batch_size=4,
            epochs=15,
            eight_bit_targets=True,
        ),
    ),
    "tuned": Protocol(
        "tuned",
        _PAPER_FEATURES,
        replace(
            _PAPER_TRAINING,
            optimizer="adam",
            learning_rates=(0.1, 0.03, 0.01, 0.003, 0.001),
            heldout_share=1 / 8,
            conditioned=True,
            momentum=0.0,
            batch_size=8,
        ),
    ),
}

# Steps below which the heads of a recipe are not read as what the features carry (docs/methods.md,
# "Steps"): plain, and in whitened coordinates.
STEPS_NEEDED, CONDITIONED_STEPS_NEEDED = 1000, 200

# Those that say how features are made; `tuned` reads the caches of `paper`.
FEATURE_PROTOCOLS = tuple(name for name, each in PROTOCOLS.items() if each.features.taps == name)


def find_protocol(name: str) -> Protocol:
    """The protocol called `name`; a `UserError` that lists the good names otherwise."""
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}: use {listed(name, tuple(PROTOCOLS))}")
    return PROTOCOLS[name]


# Of a recipe's features: what options of extract-features may change.
_OPTIONAL_FEATURES = ("normalization", "crop_border", "score_transposed")


def is_of_today(name: str, features: FeatureRecipe) -> bool:
    """Whether `features` are what the protocol `name` asks for, options aside.

    An earlier version may have meant something else by the name. A name that this version does not
    know stands for itself.
    """
    if name not in PROTOCOLS:
        return True
    options = {option: getattr(features, option) for option in _OPTIONAL_FEATURES}
    return features == replace(PROTOCOLS[name].features, **options)


def steps_of(recipe: TrainingRecipe, images: int) -> int:
    """Steps of the optimiser over `images` training images, those held out left aside."""
    if recipe.epochs is None:
        assert recipe.steps is not None
        return recipe.steps
    held_out = images // round(1 / recipe.heldout_share) if recipe.heldout_share else 0
    return recipe.epochs * math.ceil((images - held_out) / recipe.batch_size)


def steps_needed(recipe: TrainingRecipe) -> int:
    """The least number of steps after which the recipe's heads are trusted; 0 of exact ones."""
    if recipe.optimizer == "exact":
        return 0
    return CONDITIONED_STEPS_NEEDED if recipe.conditioned else STEPS_NEEDED


def without_sigmoid(protocol: Protocol) -> Protocol:
    """A protocol whose heads of depth 1 are linear: `exactly_solved` has their optimum."""
    training = replace(protocol.training, sigmoid=False)
    return _derived(protocol, f"{protocol.name}-linear", training, ("--linear",))


def exactly_solved(protocol: Protocol) -> Protocol:
    """The linear readouts of a protocol's features and targets, at the optimum of their loss.

    No BatchNorm and no sigmoid: both would change nothing but the units, or make it not linear.
    """
    training = replace(
        protocol.training,
        batch_norm=False,
        sigmoid=False,
        optimizer="exact",
        learning_rates=(),
        heldout_share=0.0,
        conditioned=False,
        momentum=0.0,
        weight_decay=0.0,
        decay_after=None,
        epochs=1,
    )
    name = "exact" if protocol.name == "paper" else f"{protocol.name}-exact"
    return _derived(protocol, name, training, ("--solver", "exact"))


def _derived(
    protocol: Protocol, name: str, training: TrainingRecipe, options: tuple[str, ...]
) -> Protocol:
    return replace(protocol, name=name, training=training, base=protocol.name, options=options)


# By the names that columns hold: the named recipes, and those that options derive from them.
_EVERY_PROTOCOL = {
    each.name: each
    for protocol in PROTOCOLS.values()
    for each in (protocol, without_sigmoid(protocol), exactly_solved(protocol))
}


def origin(name: str) -> tuple[str, tuple[str, ...]]:
    """The protocol of PROTOCOLS behind a name in `scores.csv`, and the options that derive it.

    A name that this version does not know stands for itself.
    """
    found = _EVERY_PROTOCOL.get(name)
    return (found.base or name, found.options) if found else (name, ())
