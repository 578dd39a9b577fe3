"""The weights of a backbone: from its library, a package, a file, or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.tools.errors import UserError
from data.tools.printable import printable
from extract.backbones.checkpoints.label import OWN, RESERVED, check_label, file_label
from extract.backbones.checkpoints.match import load_weights
from extract.backbones.checkpoints.read import Checkpoint, read_checkpoint
from extract.backbones.packaged import PACKAGED, PackagedWeights
from extract.backbones.sources.architecture import Architecture


@dataclass(frozen=True)
class WeightsRequest:
    """Which weights, and how a file of them is to be read."""

    source: str  # "imagenet", "random", a name of the table of packages, or a path
    key: str | None = None  # the part of the file, where several fit
    by_order: bool = False  # match tensors by their order, not by their names
    label: str | None = None  # what to call the weights of a file, instead of its stem


@dataclass(frozen=True)
class WeightsFound:
    """What a network was given."""

    label: str  # in tables and in names of folders
    source: str  # URL, "seed 0", or the name of a package's weights or of a file
    match: dict[str, Any] = field(default_factory=dict)  # how a file was fitted, JSON-able
    provenance: dict[str, Any] = field(default_factory=dict)  # of train-backbone's files
    normalization: str | None = None  # what they were trained with, where that is known


def set_weights(
    architecture: Architecture, name: str, request: WeightsRequest, *, seed: int
) -> WeightsFound:
    """Give the network `name`, untrained and without its classifier, its weights.

    `UserError` for anything that cannot be had or does not fit.
    """
    module, source = architecture.module, request.source
    if source in RESERVED and (request.key or request.by_order or request.label):
        raise UserError(
            f"--weights {source} with --weights-key, --weights-name or --match order: these are "
            f"for files (./{source}, if that is one)"
        )
    if source == OWN:
        if not architecture.has_own_weights:
            raise UserError(f"{name} has no weights of its own: use imagenet, random or a file")
        return WeightsFound(OWN, name)
    if source == "random":
        return WeightsFound(source, f"seed {seed}", normalization=architecture.normalization)
    if source == "imagenet":
        state, url = architecture.pretrained()
        load_weights(module, Checkpoint(state), name=name, source=url)
        return WeightsFound(source, url, normalization=architecture.normalization)
    if source in PACKAGED:
        return _packaged(architecture, name, PACKAGED[source])
    if request.label is not None:
        check_label(request.label)
    path = Path(source).expanduser()
    checkpoint = read_checkpoint(path)
    record = load_weights(
        module, checkpoint, name=name, source=source, key=request.key, order=request.by_order
    )
    label = request.label or file_label(path, checkpoint.provenance)
    return WeightsFound(
        label, printable(path.name), record, checkpoint.provenance, architecture.normalization
    )


def _packaged(architecture: Architecture, name: str, row: PackagedWeights) -> WeightsFound:
    if name != row.backbone:
        raise UserError(f"weights {row.name!r} are of --backbone {row.backbone}, not of {name}")
    checkpoint = read_checkpoint(row.find())
    record = load_weights(
        architecture.module, checkpoint, name=name, source=row.name, order=row.by_order
    )
    record |= {"package": f"{row.package} {row.version}", "file": row.file}
    return WeightsFound(row.name, row.name, record, normalization=row.normalization)
