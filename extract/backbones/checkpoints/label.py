"""What the weights of a file are called: in tables, in names of folders, on the terminal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.tools.errors import UserError
from data.tools.printable import printable
from extract.backbones.packaged import PACKAGED

OWN = "own"  # as a factory of one's own returns them
RESERVED = ("imagenet", "random", OWN, *PACKAGED)  # what no file is called
DIGITS = 8  # of a digest that tells two of one label apart
_LONGEST = 80  # characters: folders are called by more than this, and 255 bytes is the limit


def file_label(path: Path, provenance: Mapping[str, Any]) -> str:
    """The label of weights from a file: one component of a path, in one line.

    What train-backbone made: its task, as table 6 calls it, whether its training images were
    mirrored, and the seed of all but the first.
    Else the file's stem, or its whole name where that would mislead: where it is one of the
    `RESERVED` names, or no more than a dash, as tables have for "none".
    """
    if provenance:
        task, seed = str(provenance["task"]), provenance["seed"]
        task += "-mirror" if provenance.get("mirror") is True else ""
        return f"{task}-seed{seed}" if seed else task
    misleading = path.stem in RESERVED or not path.stem.strip("-. ")
    return safe_label(path.name if misleading else path.stem)


def safe_label(name: str) -> str:
    """`name` without what a terminal, a path or a spreadsheet would obey, and not too long."""
    label = printable(name).replace("/", "_").replace("\\", "_").strip()
    label = label.lstrip("-.=+@ ") or "weights"
    return label if len(label) <= _LONGEST else f"{label[:_LONGEST]}-{_digest(label)}"


def check_label(label: str) -> None:
    """`UserError` unless `label` can be given to weights by `--weights-name`."""
    if label in RESERVED or safe_label(label) != label:
        raise UserError(
            f"--weights-name {label!r}: must be one short word that is no name of other weights "
            f"({', '.join(RESERVED)}), without / and signs in front"
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]


def state_sha256(module: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of a module's state dict, in its order."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        values = value.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
