"""The commands that would measure what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.read.networks import replicates
from analysis.read.results import Results
from data.cache.command import DEFAULT_CACHES, cache_option, extraction_command
from data.cache.identity import RANDOM, Identity
from data.protocols import PROTOCOLS, origin, steps_needed, steps_of
from data.vocabulary import INPUT, PIXELS, SCORED_SETS
from probe.results import RunSettings

_DEFAULT_RESULTS = Path("results")


@dataclass(frozen=True)
class Situation:
    """What is known of a condition: enough to write commands that add to it."""

    protocol: str = "paper"
    weights: str = "imagenet"
    settings: RunSettings | None = None  # of one of its runs
    networks: frozenset[tuple[str, str, int]] = frozenset()  # backbone, padding, seed of its runs
    seeds: int = 1  # of the head that has most
    results_dir: Path = _DEFAULT_RESULTS
    score_transposed: bool = False  # what a source asks for of which nothing is measured

    @property
    def yet_to_be_made(self) -> Identity:
        """Of caches where there is none."""
        features = PROTOCOLS[self.protocol].features
        features = replace(features, score_transposed=self.score_transposed)
        return Identity(protocol=self.protocol, features=features)

    @property
    def caches(self) -> set[tuple[str, str]]:
        """Backbone and padding of its runs."""
        return {(backbone, padding) for backbone, padding, _ in self.networks}

    def seeds_of(self, backbone: str, padding: str) -> set[int]:
        """The networks that were measured with this padding."""
        return {seed for *place, seed in self.networks if place == [backbone, padding]}

    @property
    def every_seed(self) -> set[int]:
        """Those of any of its networks."""
        return {seed for *_, seed in self.networks}

    @property
    def identity(self) -> Identity | None:
        """What the caches were made from, backbone and padding aside."""
        return self.settings.cache if self.settings else None


def situation(condition: pd.DataFrame, results: Results) -> Situation:
    """From the measured rows of one condition."""
    backbones = condition[condition["backbone"] != PIXELS]
    first = (condition if backbones.empty else backbones).iloc[0]
    group = replicates(results)
    places = backbones[["run", "backbone", "backbone_padding"]].drop_duplicates("run")
    shown = {row.run: (row.backbone, row.backbone_padding) for row in places.itertuples()}
    return Situation(
        protocol=first["protocol"],
        weights="imagenet" if backbones.empty else first["weights"],
        settings=results.runs[first["run"]],
        networks=frozenset(
            (*shown[group[run]], settings.cache.seed)
            for run, settings in results.runs.items()
            if group[run] in shown
        ),
        seeds=int(condition["n_readout_seeds"].max()),
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
    missing = _missing_seeds(backbone, padding, known)
    if (backbone, padding) in trained and images in _images(known) and not missing:
        return train
    if backbone == PIXELS:  # every cache holds the pixels
        backbone, padding = next(iter(sorted(known.caches)), ("vgg16", "zeros"))
    commands = [
        extract_command(backbone, padding, known, seed)
        for seed in missing or sorted(known.every_seed)[:1] or [0]
    ]
    if (backbone, padding) in known.caches and not missing:  # without the image set
        return " && ".join(f"{command} --overwrite" for command in (*commands, train))
    return " && ".join([*commands, train])


def _missing_seeds(backbone: str, padding: str, known: Situation) -> list[int]:
    """Seeds of untrained networks that others of the condition have and this one lacks."""
    if known.weights != RANDOM or backbone == PIXELS:
        return []
    return sorted(known.every_seed - known.seeds_of(backbone, padding))


def head_command(backbone: str, head: Any, known: Situation) -> str:
    """`train-probes` for one head, which the paper's sweep may lack.

    `head` has the attributes reads, kernel_size, depth, probe_padding and pattern.
    """
    of_backbone = ["--backbone", backbone, "--levels", head.reads]
    words = ["train-probes", *(["--levels", INPUT] if backbone == PIXELS else of_backbone)]
    words += ["--kernel-size", str(head.kernel_size), "--depth", str(head.depth)]
    words += ["--probe-padding", str(head.probe_padding), "--pattern", head.pattern]
    return shlex.join(words + _training_options(known))


def extract_command(backbone: str, padding: str, known: Situation, seed: int | None = None) -> str:
    """`extract-features` with the images and recipe of a condition; of another network's `seed`."""
    identity = known.identity or known.yet_to_be_made
    identity = replace(identity, backbone=backbone, padding=padding, weights=known.weights)
    identity = identity if seed is None else replace(identity, seed=seed)
    return extraction_command(identity, _caches(known))


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
    words = cache_option(_caches(known))
    if known.results_dir != _DEFAULT_RESULTS:
        words += ["--results-dir", str(known.results_dir)]
    return words


def _images(known: Situation) -> Iterable[str]:
    return (known.identity.images.counts if known.identity else None) or SCORED_SETS


def _caches(known: Situation) -> Path:
    recorded = known.settings.about.get("cache_dir") if known.settings else None
    # Of runs that do not say where their cache lay: by custom beside the results.
    return Path(recorded) if recorded else known.results_dir.parent / DEFAULT_CACHES
