"""Weights of a backbone: where they come from, how they are loaded, and their SHA-256."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from data.tools.errors import UserError
from data.vocabulary import TASKS

# Classifiers and auxiliary classifiers of every torchvision model. They are never run, so they
# are dropped: a checkpoint may have another number of classes, or none.
HEADS = ("classifier", "fc", "head", "heads", "AuxLogits", "aux1", "aux2")

# Releases before 2018 named the modules of a dense layer norm.1, relu.1, conv.1; torchvision's
# own DenseNet files still do.
_OLD_DENSE_LAYER = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")

_ENVELOPES = ("state_dict", "model")  # {"state_dict": {...}, "epoch": ...} and the like
_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel's and torch.compile's prefixes

SHOWN_KEYS = 3  # keys named in a message, of possibly hundreds


def drop_heads(module: nn.Module) -> None:
    """Replace the classifiers of a torchvision model by identities: features never reach them."""
    for name, child in module.named_children():
        if name in HEADS and isinstance(child, nn.Module):
            setattr(module, name, nn.Identity())


def imagenet_weights(name: str) -> tuple[dict[str, Tensor], str]:
    """torchvision's ImageNet weights of the model `name` (state dict, URL), through TORCH_HOME.

    The first version torchvision published (IMAGENET1K_V1), which is what papers before 2021
    used; where there is none, the SWAG features with a linear classifier, which fit 224x224.
    `UserError` when they are neither cached nor downloadable.
    """
    versions = models.get_model_weights(name).__members__
    weights = versions.get("IMAGENET1K_V1") or versions["IMAGENET1K_SWAG_LINEAR_V1"]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # no network, no space, no rights, a damaged file: all alike here
        raise UserError(
            f"weights 'imagenet' of {name}: {weights.url} is not usable in {folder} and could not "
            f"be downloaded ({error}): put the file there (TORCH_HOME moves the folder), "
            "or use --weights random or --weights FILE"
        ) from error
    return state, weights.url


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    state: dict[str, Tensor]  # without wrappers' prefixes
    provenance: dict[str, Any]  # what train-backbone wrote beside it; {} in files of others


def read_checkpoint(path: Path) -> Checkpoint:
    """The content of a checkpoint file.

    Accepts a bare state dict, {"state_dict": ...} and {"model": ...}. Nothing in the file is
    executed (`weights_only=True`). `UserError` when the file is missing or no checkpoint.
    """
    if not path.is_file():
        raise UserError(
            f"weights {str(path)!r}: no such file; use imagenet, random or a checkpoint file"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each raise their own
        # Their messages suggest weights_only=False, which would run whatever the file says.
        raise UserError(
            f"weights {str(path)!r}: not a checkpoint, or one that holds more than tensors "
            f"({type(error).__name__}); save one with torch.save(model.state_dict(), path)"
        ) from error
    provenance = content.get("provenance") if isinstance(content, Mapping) else None
    for envelope in _ENVELOPES:
        if isinstance(content, Mapping) and isinstance(content.get(envelope), Mapping):
            content = content[envelope]
    if not _is_state_dict(content):
        raise UserError(
            f"weights {str(path)!r}: holds a {type(content).__name__} that is no state dict; "
            "save one with torch.save(model.state_dict(), path)"
        )
    state = _without_wrappers(dict(content))
    return Checkpoint(state, dict(provenance) if isinstance(provenance, Mapping) else {})


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def _without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def load_weights(module: nn.Module, state: Mapping[str, Tensor], *, name: str, source: str) -> None:
    """Copy `state` into a model whose heads have been dropped.

    `UserError` when a key of any other part is missing, unexpected or of another shape.
    """
    given = {
        _OLD_DENSE_LAYER.sub(r"\1\2", key): value
        for key, value in state.items()
        if not _is_head(key)
    }
    expected = {key: value for key, value in module.state_dict().items() if not _is_head(key)}
    # Files from before BatchNorm counted its batches lack the counter, which eval never reads.
    missing = [k for k in expected if k not in given and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in given if key not in expected]
    shapes = [
        f"{key} {tuple(value.shape)} instead of {tuple(expected[key].shape)}"
        for key, value in given.items()
        if key in expected and value.shape != expected[key].shape
    ]
    differences = [
        f"{len(keys)} {what} ({_shortened(keys)})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if keys
    ]
    if differences:
        raise UserError(
            f"weights {source!r} do not fit {name}: keys {'; '.join(differences)}; "
            "use the backbone the weights were made with"
        )
    module.load_state_dict(given, strict=False)


def _is_head(key: str) -> bool:
    return key.split(".")[0] in HEADS


def _shortened(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")


def file_label(path: Path, provenance: Mapping[str, Any]) -> str:
    """What weights from a file are called.

    What train-backbone made: its task, as table 6 calls it, with the seed of all but the first.
    Else the file's stem, or its whole name where that would mislead.
    """
    if provenance.get("task") in TASKS:
        seed = provenance.get("seed", 0)
        return f"{provenance['task']}-seed{seed}" if seed else str(provenance["task"])
    return path.name if path.stem in ("imagenet", "random") else path.stem


def state_sha256(module: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of a module's state dict, in its order."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        values = value.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
