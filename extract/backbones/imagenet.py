"""ImageNet weights as torchvision publishes them, through TORCH_HOME."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor
from torchvision import models
from torchvision.models import WeightsEnum

from data.tools.errors import UserError
from data.tools.files import sha256_of

_HASH = re.compile(r"-([0-9a-f]{8,})\.[^.]+$")  # in the name of a file: its SHA-256 begins so


def imagenet_weights(name: str) -> tuple[dict[str, Tensor], str]:
    """torchvision's ImageNet weights of the model `name` (state dict, URL).

    The first version torchvision published (IMAGENET1K_V1), which is what papers before 2021
    used; where there is none, the SWAG features with a linear classifier, which fit 224x224.
    `UserError` when they are neither there nor downloadable, or the file there is another than
    its name says.
    """
    versions = models.get_model_weights(name).__members__
    weights = versions.get("IMAGENET1K_V1") or versions["IMAGENET1K_SWAG_LINEAR_V1"]
    return published_state(weights, f"weights 'imagenet' of {name}"), weights.url


def published_state(weights: WeightsEnum, what: str) -> dict[str, Tensor]:
    """A state dict of torchvision's, from TORCH_HOME or downloaded; `what` it is, for errors.

    `UserError` when it is neither there nor downloadable, or the file there is another than its
    name says.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    _check_hash(folder / Path(urlparse(weights.url).path).name, what)
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True, weights_only=True))
    except Exception as error:  # no network, no space, no rights, a damaged file: all alike here
        raise UserError(
            f"{what}: {weights.url} is not usable in {folder} and could not be downloaded "
            f"({error}): put the file there (TORCH_HOME moves the folder), "
            "or use --weights random or --weights FILE"
        ) from error


def _check_hash(path: Path, what: str) -> None:
    """torch checks what it downloads and takes what is there already: so check that here."""
    found = _HASH.search(path.name)
    if not found or not path.is_file():
        return
    digest = sha256_of(path)
    if not digest.startswith(found[1]):
        raise UserError(
            f"{what}: {path} is not what its name says, its SHA-256 begins "
            f"with {digest[: len(found[1])]}: delete it and it is downloaded again, or give it "
            "another name and use --weights FILE"
        )
