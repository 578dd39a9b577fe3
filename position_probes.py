"""How much absolute position does a frozen backbone's feature map carry? The library in ten names.

    import position_probes as pp

    cache = pp.extract_features("vgg16", "photos/train", weights="random")
    results = pp.train_probes(cache, levels=("f5",), solver="exact")
    results.scores                                   # a pandas data frame, one row a head and set
    head = pp.load_head("results", "vgg16-random-zeros-exact", "H-f5-k3-d1-p0-s0")
    maps = pp.predict(head, cache, [image])          # what it reads from new images

Settings have the names of the command line's options (`kernel_size` is `--kernel-size`) and are
checked alike. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve().parent
_PACKAGES = ("data", "extract", "probe", "analysis")
_COMMANDS = {
    "extract-features": "extract.cli",
    "train-probes": "probe.cli",
    "make-tables": "analysis.cli",
    "train-backbone": "extract.tasks.cli",
}


def main() -> None:
    """Run the command that this process was started as."""
    import_module(_COMMANDS[Path(sys.argv[0]).stem]).main()


def _refuse_others() -> None:
    """Raise `ImportError` where a module of somebody else's hides one of our packages."""
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
        if _HERE / name not in [place.resolve() for place in places]:
            found = (spec and spec.origin) or (places and places[0]) or "nothing"
            raise ImportError(
                f"{found} is found instead of the package {name!r} of position-probes: rename it, "
                "or leave its folder out of PYTHONPATH and start Python elsewhere"
            )


if Path(sys.argv[0]).stem in _COMMANDS:
    sys.path.insert(0, str(_HERE))  # a command is ours alone: nobody else's `data` is wanted
else:
    _refuse_others()

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from analysis.read.results import Results
    from data.cache.identity import Identity
    from data.cache.reader import FeatureCache
    from data.protocols import TrainingRecipe
    from data.targets import Pattern, add_pattern
    from data.tools.errors import UserError
    from extract.backbones.backbone import Backbone, wrap_module
    from probe.heads.spec import HeadSpec

_ELSEWHERE = {
    "FeatureCache": "data.cache.reader",
    "Pattern": "data.targets",
    "Results": "analysis.read.results",
    "UserError": "data.tools.errors",
    "add_pattern": "data.targets",
    "wrap_module": "extract.backbones.backbone",
}

__all__ = [
    "FeatureCache",
    "Head",
    "Pattern",
    "Results",
    "UserError",
    "add_pattern",
    "extract_features",
    "load_head",
    "predict",
    "report",
    "train_probes",
    "wrap_module",
]


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE[name]), name)


def extract_features(
    backbone: str | Backbone | nn.Module, images: Any = None, **settings: Any
) -> FeatureCache:
    """Run a frozen backbone once over every image and keep its levels in a feature cache.

    Args:
        backbone: a name of `--list-backbones`, a module whose `taps` are given among the settings,
            or a module that `wrap_module` has made a backbone.
        images: the training images, or image set -> images ("train", "test" and others): a
            folder, a list of files, a Dataset or sequence of PIL images, arrays (H, W, 3) uint8 or
            tensors, an `ImageSource`. Without any, and for sets not given, embedded samples.
        settings: as the options of `extract-features`.

    Resumes where an earlier run stopped. Raises `UserError`.
    """
    from data.cache.reader import FeatureCache
    from extract.config import ExtractConfig
    from extract.run import extract_features as run

    if isinstance(backbone, str):
        config, own = ExtractConfig(backbone=backbone, **settings), None
    else:
        own = _as_backbone(backbone, settings)
        kept = {key: value for key, value in settings.items() if key not in ("taps", "padding")}
        config = ExtractConfig(backbone=own.name, **kept)
    sets = images if isinstance(images, Mapping) or images is None else {"train": images}
    return FeatureCache(run(config, own, sets))


def _as_backbone(module: Any, settings: Mapping[str, Any]) -> Backbone:
    from data.tools.errors import UserError
    from data.vocabulary import IMAGE_SIZE
    from extract.backbones.backbone import Backbone, wrap_module

    if isinstance(module, Backbone):
        return module
    taps = settings.get("taps")
    if not taps:
        raise UserError(
            f"backbone {type(module).__name__} is a module of your own: name the modules to tap, "
            "taps=(...), as in dict(module.named_modules())"
        )
    return wrap_module(
        module,
        name=type(module).__name__.lower(),
        taps=tuple(taps.split(",") if isinstance(taps, str) else taps),
        padding=settings.get("padding", "zeros"),
        image_size=settings.get("image_size", IMAGE_SIZE),
    )


def train_probes(
    caches: str | Path | FeatureCache | Sequence[FeatureCache] = "features",
    *,
    targets: Mapping[str, NDArray[np.floating]] | None = None,
    results_dir: str | Path = "results",
    **settings: Any,
) -> Results:
    """Train and score readout heads from feature caches; what the results folder then holds.

    Args:
        caches: one or several caches, or the folder that they lie in.
        targets: target maps of your own, name -> (n, n); trained beside the `pattern`s asked for,
            or alone.
        results_dir: a folder; heads that it holds already are not trained again.
        settings: as the options of `train-probes`.

    The result's `scores` is a data frame with a row for each head and image set. Raises
    `UserError`.
    """
    from analysis.read.results import read_results
    from data.cache.reader import FeatureCache
    from data.target_maps import keep_target
    from data.tools.errors import UserError
    from probe.config import ProbeConfig
    from probe.train import train_probes as run

    for name, values in (targets or {}).items():
        try:
            keep_target(Path(results_dir), name, values)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(str(error)) from None
    patterns = (*settings.pop("pattern", ()), *(targets or ()))
    if isinstance(caches, FeatureCache):
        caches = [caches]
    folders = [caches] if isinstance(caches, (str, Path)) else [cache.folder for cache in caches]
    for folder in map(Path, folders):
        run(
            ProbeConfig(
                cache_dir=folder, results_dir=Path(results_dir), pattern=patterns, **settings
            )
        )
    return read_results(results_dir)


@dataclass(frozen=True)
class Head:
    """A trained readout head, and what it was trained on."""

    module: nn.Module  # (B, C, 28, 28) float32 to (B, 1, n, n), in evaluation mode
    spec: HeadSpec
    recipe: TrainingRecipe
    cache: Identity  # what the features were made from


def load_head(results_dir: str | Path, run: str, head: str) -> Head:
    """The trained head `head` of the run `run`, both as `scores.csv` calls them."""
    from data.tools.errors import UserError
    from probe.results import read_head, read_settings
    from probe.train import load_head as load

    folder = Path(results_dir)
    settings = read_settings(folder / run)
    if settings is None:
        raise UserError(f"no run {run!r} in {folder}: see the column run of its scores.csv")
    spec, _, _ = read_head(folder, run, head)
    return Head(load(folder, run, head), spec, settings.recipe, settings.cache)


def predict(
    head: Head, backbone: FeatureCache | Backbone, images: Any, *, weights: str | None = None
) -> NDArray[np.float32]:
    """The position maps that a head reads from new images: (N, s, s) float32.

    s is the side at which the head was scored. A head of another kind than dense maps answers as
    it does, (N, ...). The images go the way of those it was trained on.

    Args:
        head: from `load_head`.
        backbone: the cache that it was trained from, whose network is made again, or the backbone.
        images: as those of `extract_features`, one set.
        weights: the checkpoint file, where the cache's network was read from one.

    Raises `UserError` when the network is not that of the features.
    """
    import torch

    from data.cache.reader import FeatureCache
    from data.resample import bilinear_maps
    from extract.rebuild import check_network, rebuild
    from extract.uncached import compute_levels
    from probe.heads.spec import DENSE

    network = rebuild(backbone, weights) if isinstance(backbone, FeatureCache) else backbone
    check_network(network, head.cache)
    outputs = []
    for levels in compute_levels(network, head.cache, images):
        features = [torch.from_numpy(levels[level]).float() for level in head.spec.levels]
        with torch.no_grad():
            outputs.append(head.module(torch.cat(features, dim=1))[:, 0])
    low = torch.cat(outputs).numpy()
    if head.spec.probe != DENSE:
        return low
    return bilinear_maps(low, head.recipe.resolution or low.shape[-1])


def report(
    results_dir: str | Path = "results", out: str | Path = "tables", **settings: Any
) -> Path:
    """Write tables, figures and the report of a results folder; the path of the report.

    `settings` as the options of `make-tables`. Raises `UserError`.
    """
    from analysis.config import TablesConfig
    from analysis.make import make_tables

    return make_tables(TablesConfig(results_dir=Path(results_dir), out=Path(out), **settings))
