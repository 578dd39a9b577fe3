"""Checkpoint files of every kind: what they hold, told by their content and not by their name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from data.tools.errors import UserError
from data.tools.settings import listed
from extract.backbones.checkpoints.keras import KERAS_MEMBER, read_keras
from extract.backbones.checkpoints.label import RESERVED
from extract.backbones.checkpoints.provenance import clean_provenance
from extract.backbones.checkpoints.safetensors import read_safetensors
from extract.backbones.checkpoints.torch_file import read_torch
from extract.backbones.checkpoints.unpacked import check_unpacked

_HDF5 = b"\x89HDF\r\n\x1a\n"
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    content: Mapping[str, Any]  # mappings within mappings, down to tensors
    provenance: dict[str, Any] = field(default_factory=dict)  # of train-backbone; {} of others
    is_keras: bool = False  # one mapping of paths within the file, kernels as PyTorch has them


def read_checkpoint(path: Path) -> Checkpoint:
    """The content of a checkpoint file: of torch, safetensors or Keras. Nothing in it is executed.

    `UserError` when the file is missing or something else, and then it says what.
    """
    where = f"weights {str(path)!r}"
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.is_file())[:5]
        raise UserError(f"{where}: is a folder; give a file in it ({', '.join(inside) or 'empty'})")
    if not path.is_file():
        near = listed(str(path), RESERVED)
        raise UserError(f"{where}: no such file; use {near}, or a checkpoint file")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_LFS):
        raise UserError(
            f"{where}: a Git LFS pointer, not the weights it points to; git lfs pull gets them"
        )
    if start.startswith(_HDF5):
        return Checkpoint(read_keras(path), is_keras=True)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return Checkpoint(read_safetensors(path))
    if is_zipfile(path):
        if KERAS_MEMBER in _members(path, where):
            return Checkpoint(read_keras(path), is_keras=True)
    elif start.lstrip()[:1] == b"<":
        raise UserError(f"{where}: a web page, not the file behind it; download it again")
    content = read_torch(path)
    found = content.get("provenance")
    return Checkpoint(content, clean_provenance(found))


def _members(path: Path, where: str) -> list[str]:
    """Names of what a zip holds; `UserError` where it unpacks to far more than it is."""
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
    except (BadZipFile, OSError, NotImplementedError) as error:
        raise UserError(f"{where}: a damaged zip ({error}); get the file again") from error
    check_unpacked(path, sum(member.file_size for member in members))
    return [member.filename for member in members]
