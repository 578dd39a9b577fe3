"""Checkpoints of a training: what `extract-features --weights` reads, and what resuming needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.tools.errors import UserError
from data.tools.files import write_torch
from extract.tasks.config import LAST

_BACKBONE = "backbone."  # begins the keys of what `extract-features` reads


def last_path(out: Path) -> Path:
    """Where the checkpoint of the last epoch lies: beside that of the best."""
    return out.with_name(f"{out.stem}{LAST}{out.suffix}")


def save(
    path: Path,
    network: nn.Module,
    provenance: dict[str, Any],
    training: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint, whole or not at all; `torch.load(weights_only=True)` reads it.

    `state_dict` is the network's `backbone` under its own keys, torchvision's without the
    classifier; `decoder`, the rest of the network, and `provenance` lie beside it, and `training`,
    in the last epoch's, is what the next needs.
    """
    state = {key: value.cpu() for key, value in network.state_dict().items()}
    content = {
        "state_dict": {
            key.removeprefix(_BACKBONE): value
            for key, value in state.items()
            if key.startswith(_BACKBONE)
        },
        "decoder": {key: value for key, value in state.items() if not key.startswith(_BACKBONE)},
        "provenance": provenance,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_torch(path, content | ({"training": training} if training else {}))


def restore(path: Path, network: nn.Module) -> dict[str, Any]:
    """Set the network to a checkpoint that `save` wrote, and return all of it."""
    content = read(path)
    try:
        backbone = {_BACKBONE + key: value for key, value in content["state_dict"].items()}
        network.load_state_dict(backbone | content["decoder"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise no_checkpoint(path, error) from error
    return content


def read(path: Path) -> dict[str, Any]:
    """A checkpoint that `save` wrote; `UserError` when the file is another or damaged."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        dict(content["provenance"]), content["state_dict"], content["decoder"]
    except Exception as error:  # pickle, zip and torch each raise their own
        raise no_checkpoint(path, error) from error
    return content


def no_checkpoint(path: Path, error: Exception) -> UserError:
    """What to raise where `path` is something else."""
    return UserError(
        f"{path} is no checkpoint of train-backbone, or a damaged one ({type(error).__name__}): "
        "choose another --out, or --overwrite it"
    )
