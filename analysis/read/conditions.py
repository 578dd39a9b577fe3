"""What was measured under equal conditions, and may stand in one table.

A condition is everything that moves a score besides the head, the backbone and its padding:
weights, protocol as trained, normalisation, images, image size. Scores of different conditions are
never mixed: each gets a block of its own. Seeds of an untrained backbone are replicates of one.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from analysis.labels import model_label
from analysis.read.networks import network, replicates
from analysis.read.published import HEAD
from analysis.read.results import Results
from data.cache.identity import Identity
from data.vocabulary import IMAGE_SIZE, PIXELS


def add_conditions(results: Results) -> pd.DataFrame:
    """The scores with a column `condition`, a text that says what they were measured on.

    Rows of the pixels have no weights: they are repeated for every condition whose images and
    recipe they share.
    """
    described = {run: _describe(run, results) for run in results.runs}
    backbones = {run: parts for run, parts in described.items() if parts["weights"] != "-"}
    first = replicates(results)
    apart = _apart(
        {
            run: json.dumps(parts, sort_keys=True)
            for run, parts in backbones.items()
            if first[run] == run
        },
        results,
    )
    keys = {run: apart[first[run]] for run in backbones}
    headings = _headings(keys, results)
    pieces = []
    for run, parts in described.items():
        if run in backbones:
            own = [headings[keys[run]]]
        else:
            agreeing = [other for other in backbones if _agree(parts, backbones[other])]
            own = list(dict.fromkeys(headings[keys[other]] for other in agreeing))
            own = own or [_heading([run], results)]
        rows = results.scores[results.scores["run"] == run]
        pieces += [rows.assign(condition=heading) for heading in own]
    return _pixels_once(pd.concat(pieces, ignore_index=True))


def trained_and_scored(results: Results) -> list[str]:
    """A sentence for each of the image sets scored that shares images with the training set."""
    told = (settings.about.get("shared_images", "") for settings in results.runs.values())
    return [f"note: {sentences}" for sentences in dict.fromkeys(told) if sentences]


def repeated_pixels(results: Results) -> list[str]:
    """A sentence on every run of pixels that holds what another one holds: it is left out."""
    kept = add_conditions(results).drop_duplicates("run")["run"]
    return [
        f"{results.folder / run} is left out: another run read the same pixels"
        for run in results.runs
        if run not in set(kept)
    ]


def _pixels_once(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores without readouts of the pixels that an earlier run of the condition has.

    Caches of other names, or copies, hold the same pixels: trained from each, they are one row of
    a table all the same.
    """
    first = scores.groupby(["condition", *HEAD, "images"], sort=False)["run"].transform("first")
    return scores[(scores["backbone"] != PIXELS) | (scores["run"] == first)].reset_index(drop=True)


def _describe(run: str, results: Results) -> dict[str, Any]:
    """What decides the scores of a run, apart from backbone and padding: JSON-able."""
    settings = results.runs[run]
    first = results.scores[results.scores["run"] == run].iloc[0]
    described = {**settings.cache.condition, "weights": first["weights"]}
    described["training"] = settings.content()["protocol"]
    return described


def _agree(pixels: dict[str, Any], condition: dict[str, Any]) -> bool:
    shared = (pixels.keys() & condition.keys()) - {"weights"}
    return all(pixels[key] == condition[key] for key in shared)


def _apart(keys: dict[str, str], results: Results) -> dict[str, str]:
    """Keys by run, made different where two runs of one key hold the same backbone and padding."""
    seen: dict[tuple[str, str, str], int] = {}
    apart = {}
    for run, key in keys.items():
        first = results.scores[results.scores["run"] == run].iloc[0]
        place = (key, first["backbone"], first["backbone_padding"])
        seen[place] = seen.get(place, 0) + 1
        apart[run] = key if seen[place] == 1 else f"{key} #{seen[place]} {run}"
    return apart


def _headings(keys: dict[str, str], results: Results) -> dict[str, str]:
    """One heading per key; where two would read alike, the names of their runs tell them apart."""
    runs: dict[str, list[str]] = {}
    for run, key in keys.items():
        runs.setdefault(key, []).append(run)
    headings = {key: _heading(members, results) for key, members in runs.items()}
    texts = list(headings.values())
    return {
        key: text if texts.count(text) == 1 else f"{text}; runs {', '.join(runs[key])}"
        for key, text in headings.items()
    }


def _heading(runs: list[str], results: Results) -> str:
    """What the scores of `runs`, all of one condition, were measured on."""
    settings = results.runs[runs[0]]
    firsts = results.scores[results.scores["run"].isin(runs)].drop_duplicates("run")
    score = firsts.iloc[0]
    models = " and ".join(dict.fromkeys(model_label(name) for name in firsts["backbone"]))
    seeds = sorted({network(run, results) for run in firsts["run"]})
    drawn = f", seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    recipe = settings.recipe
    length = f"{recipe.steps} steps" if recipe.steps else f"{recipe.epochs} epochs"
    how = f"{length} of batches of {recipe.batch_size}"
    if recipe.optimizer == "exact":
        how = "solved exactly"
    features = settings.cache.features
    cropped = features.crop_border
    how += f", every level cropped by {cropped} at each side" if cropped else ""
    how += ", scored on transposed images" if features.score_transposed else ""
    weights = weights_label(score["weights"], models, drawn)
    return (
        f"{weights}; {image_label(settings.cache)}; protocol "
        f"{score['protocol']}, normalization {score['normalization']}, {how}"
    )


def weights_label(weights: str, models: str, drawn: str = "") -> str:
    """Backbones with their weights, as a heading says them; `drawn` from which seeds."""
    if weights == "random":
        return f"untrained {models} (random weights{drawn})"
    if weights == "-":
        return "pixels alone, no backbone"
    return f"{models} with {'ImageNet weights' if weights == 'imagenet' else f'weights {weights}'}"


def image_label(identity: Identity) -> str:
    """Which images a cache was made of, as a heading says it; their size where it is unusual."""
    size = identity.image_size
    return _sources(identity) + (f" at {size}x{size}" if size != IMAGE_SIZE else "")


def _sources(identity: Identity) -> str:
    counts = identity.images.counts
    sources = identity.sources
    if set(sources.values()) <= {"samples"} and sources:
        number = (
            f" ({counts.get('train', 0)} train, {counts.get('test', 0)} test)" if counts else ""
        )
        return f"embedded sample images{number}"
    parts = []
    for images in ("train", "test"):
        source = str(sources.get(images, "images not recorded"))
        name = "embedded samples" if source == "samples" else "/".join(source.split("/")[-2:])
        parts.append(f"{images} {name}" + (f" ({counts[images]})" if images in counts else ""))
    return ", ".join(parts)
