"""Results folders as `train-probes` writes them, with made-up scores, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.cache.identity import Identity, Images
from data.protocols import PROTOCOLS
from data.targets import position_map
from data.vocabulary import PIXELS
from probe.heads.paper import table_heads
from probe.heads.spec import HeadSpec
from probe.results import SCHEMA, SCORE_COLUMNS

COUNTS = {"train": 10533, "test": 64, "black": 1, "white": 1, "noise": 8}
CHANNELS = {"input": 3, "f1": 64, "f2": 128, "f3": 256, "f4": 512, "f5": 512}

LAYERS = {"f1": 2, "f2": 4, "f3": 7, "f4": 10, "f5": 13}  # of VGG16

# (backbone, padding, head, images) -> expected SPC and MAE
ScoreRule = Callable[[str, str, HeadSpec, str], tuple[float, float]]


def paper_like(backbone: str, padding: str, head: HeadSpec, images: str) -> tuple[float, float]:
    """Scores that behave as the paper says."""
    if backbone == PIXELS:
        spc = 0.02 + 0.15 * head.probe_padding
    elif padding == "none":
        spc = 0.1
    elif len(head.levels) == 1:
        spc = 0.15 * int(head.levels[0][1:])
    else:
        spc = 0.7 + 0.05 * head.depth + 0.01 * head.kernel_size
    if head.pattern in ("HS", "VS"):
        spc *= 0.6
    return spc, 0.25 * (1 - spc)


class ResultsBuilder:
    """Adds runs to a results folder; `scores.csv` is written after each."""

    def __init__(self, folder: Path, score: ScoreRule = paper_like, maps: bool = False) -> None:
        self.folder = folder
        self.score = score
        self.maps = maps

    def add(
        self,
        backbone: str = "vgg16",
        weights: str = "random",
        padding: str = "zeros",
        *,
        protocol: str = "paper",
        normalization: str | None = None,
        crop_border: int = 0,
        score_transposed: bool = False,
        backbone_seed: int = 0,
        image_size: int = 224,
        heads: list[HeadSpec] | None = None,
        seeds: int = 1,
        run: str | None = None,
        images_digest: str = "0" * 64,
        sources: dict[str, str] | None = None,
        levels: tuple[str, ...] = ("f1", "f2", "f3", "f4", "f5"),
        counts: dict[str, int] = COUNTS,
        status: str = "converged",
        black_undefined: bool = True,
    ) -> ResultsBuilder:
        pixels = backbone == PIXELS
        if pixels:
            weights = padding = "-"
        if heads is None:
            heads = table_heads(backbone, padding, ("input",) if pixels else levels, range(seeds))
        features = replace(
            PROTOCOLS[protocol].features,
            crop_border=crop_border,
            score_transposed=score_transposed,
        )
        features = replace(features, normalization=normalization or features.normalization)
        suffix = "" if protocol == "paper" else f"-{protocol}"
        suffix += "-score-transposed" if score_transposed else ""
        drawn = f"-seed{backbone_seed}" if backbone_seed else ""
        name = run or (PIXELS if pixels else f"{backbone}-{weights}{drawn}-{padding}") + suffix
        place = self.folder / name
        place.mkdir(parents=True)
        identity = Identity(
            protocol=protocol,
            features=features,
            image_size=image_size,
            images=Images(counts, images_digest),
            sources=sources or {"train": "samples", "test": "samples"},
        )
        if not pixels:
            identity = replace(
                identity,
                backbone=backbone,
                weights=weights,
                weights_sha256=f"{backbone_seed or 'a'}".ljust(64, "a"),
                weights_source=weights,
                seed=backbone_seed,
                padding=padding,
                padding_changes={} if padding == "zeros" else {"features.0": padding},
                taps=tuple(f"tap.{level}" for level in levels),
                layers_run={level: LAYERS[level] for level in levels},
                layers_in_all=13,
                levels={level: CHANNELS[level] for level in ("input", *levels)},
                place_changes=dict.fromkeys(levels, 0.0 if padding == "none" else 1.69),
                uneven_strides={"features.7": (1, 0)},
                precision="bf16",
                device="cpu",
                versions={"torch": "2.15", "torchvision": "0.30"},
            )
        recipe = asdict(PROTOCOLS[protocol].training)
        settings = {
            "schema": SCHEMA,
            "protocol": {"name": protocol, **json.loads(json.dumps(recipe))},
            "precision": "float32",
            "cache": identity.to_json(),
            "about": {"device": "cpu", "torch": "2.15"},
        }
        (place / "run.json").write_text(json.dumps(settings))
        scores, per_image, losses = [], [], []
        for number, head in enumerate(heads):
            for images, count in counts.items():
                if images == "train":
                    continue
                spc, mae = self._image_scores(number, backbone, padding, head, images, count)
                if images == "black" and black_undefined:
                    spc[:] = np.nan
                for index, (one, other) in enumerate(zip(spc, mae, strict=True)):
                    per_image.append(
                        {
                            "head": head.name,
                            "images": images,
                            "image": f"{images}-{index:05d}",
                            "spc": one,
                            "mae": other,
                        }
                    )
                scores.append(
                    {
                        "pattern": head.pattern,
                        "backbone": backbone,
                        "weights": weights,
                        "backbone_padding": padding,
                        "levels": "+".join(head.levels),
                        "kernel_size": head.kernel_size,
                        "depth": head.depth,
                        "probe_padding": head.probe_padding,
                        "images": images,
                        "spc": np.nanmean(spc) if np.isfinite(spc).any() else np.nan,
                        "mae": mae.mean(),
                        "protocol": protocol,
                        "normalization": features.normalization,
                        "seed": head.seed,
                        "n_images": count,
                        "n_undefined": int(np.isnan(spc).sum()),
                        "status": status,
                        "learning_rate": 0.1,
                        "epochs": 15,
                        "train_loss": 0.01,
                        "heldout_loss": 0.012,
                        "run": name,
                        "head": head.name,
                    }
                )
            losses += [
                {
                    "head": head.name,
                    "epoch": epoch,
                    "train_loss": 0.1 / epoch,
                    "heldout_loss": 0.12 / epoch,
                }
                for epoch in range(1, 16)
            ]
        table = pd.DataFrame(scores, columns=SCORE_COLUMNS)
        _write(table, place / "scores.csv")
        _write(pd.DataFrame(per_image), place / "image_scores.csv")
        _write(pd.DataFrame(losses), place / "losses.csv")
        if self.maps:
            self._write_maps(place / "heads.h5", backbone, padding, heads, counts)
        _write(
            pd.concat([pd.read_csv(p, keep_default_na=False) for p in self._run_scores()]),
            self.folder / "scores.csv",
        )
        return self

    def _run_scores(self) -> list[Path]:
        return sorted(self.folder.glob("*/scores.csv"))

    def _image_scores(
        self, number: int, backbone: str, padding: str, head: HeadSpec, images: str, count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        spc, mae = self.score(backbone, padding, head, images)
        generator = np.random.default_rng([number, head.seed, len(images)])
        spread = min(0.03, (1 - abs(spc)) / 5) if np.isfinite(spc) else 0.0
        noise = generator.standard_normal((2, count)) * spread
        noise -= noise.mean(axis=1, keepdims=True)  # the mean is what the rule says
        return spc + noise[0], np.maximum(mae + 0.1 * noise[1], 0.0)

    def _write_maps(
        self, path: Path, backbone: str, padding: str, heads: list[HeadSpec], counts: dict[str, int]
    ) -> None:
        generator = np.random.default_rng(0)
        with h5py.File(path, "w") as file:
            for head in heads:
                group = file.require_group(head.name)
                target = position_map(head.pattern, 26, signed_stripes=True)
                full = position_map(head.pattern, 56, signed_stripes=True)
                for images, count in counts.items():
                    if images == "train":
                        continue
                    quality = self.score(backbone, padding, head, images)[0]
                    kept = min(count, 5)
                    noise = generator.random((kept, 26, 26))
                    shown = quality * target + (1 - quality) * noise
                    maps = group.create_dataset(f"predictions/{images}", data=np.float32(shown))
                    maps.attrs["names"] = [f"{images}-{index:05d}" for index in range(kept)]
                    error = np.square((1 - quality) * (full - full.mean())) + 0.01
                    group.create_dataset(f"error/{images}", data=np.float32(error))


def _write(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format="%.6g")


def demo_results(folder: Path, **options) -> ResultsBuilder:
    """What `make demo` measures: untrained VGG16 with and without padding, and the pixels."""
    return ResultsBuilder(folder, **options).add().add(padding="none").add(PIXELS)
