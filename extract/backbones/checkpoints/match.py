"""Which tensors of a file are a network's: found by their names, or on demand by their order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from data.tools.errors import UserError
from extract.backbones.checkpoints.heads import is_head
from extract.backbones.checkpoints.keras import as_vgg
from extract.backbones.checkpoints.numbers import check_numbers
from extract.backbones.checkpoints.parts import (
    Part,
    find_parts,
    is_counter,
    lacking,
    shortened,
    state_dicts,
    without_digits,
)
from extract.backbones.checkpoints.read import Checkpoint

LISTED = 20  # names kept in the identity of a cache, of possibly thousands


@dataclass(frozen=True)
class Fit:
    """Tensors for every key of a network, and how they were found."""

    state: dict[str, Tensor]
    record: dict[str, Any] = field(default_factory=dict)  # JSON-able: part of a cache's identity


def load_weights(
    module: nn.Module,
    checkpoint: Checkpoint,
    *,
    name: str,
    source: str,
    key: str | None = None,
    order: bool = False,
) -> dict[str, Any]:
    """Give the network, whose heads have been dropped, its tensors; what stands in the identity.

    Args:
        checkpoint: any mapping of tensors, however deep within others.
        name, source: of the network and of the file, for messages.
        key: which part of the file, where several fit.
        order: match the tensors by their order, not by their names.

    `UserError` when no part of the file fits, or several do, or a tensor holds no real numbers.
    """
    expected = {k: v for k, v in module.state_dict().items() if not is_head(k)}
    try:
        if order:
            fit = _by_order(checkpoint, expected, key)
        elif checkpoint.is_keras:
            fit = _by_keras_names(checkpoint, expected, key, name)
        else:
            fit = _by_names(checkpoint, expected, key, name)
        check_numbers(fit.state, expected)
    except UserError as error:
        raise UserError(f"weights {source!r} {error}") from error
    module.load_state_dict(fit.state, strict=False)
    return fit.record


def _by_names(
    checkpoint: Checkpoint, expected: Mapping[str, Tensor], key: str | None, name: str
) -> Fit:
    parts = [
        part
        for path, state in state_dicts(checkpoint.content)
        for part in find_parts(path, state, expected)
        if key is None or part.name == key or part.name.startswith(f"{key}.")
    ]
    fitting = [part for part in parts if not lacking(part, expected)]
    if len(fitting) > 1:
        names = ", ".join(part.name or "(all of it)" for part in fitting)
        raise UserError(
            f"hold {len(fitting)} networks that fit {name}: say which with --weights-key, one of "
            f"{names}"
        )
    part = max(fitting or parts, key=lambda part: part.matched, default=None)
    if part is None:
        held = ", ".join(path or "(all of it)" for path, _ in state_dicts(checkpoint.content))
        where = f" under --weights-key {key!r}" if key is not None else ""
        raise UserError(
            f"hold no state dict of {name}{where}, only mappings {held or 'without tensors'}: give "
            "the backbone the weights were made with, or --match order"
        )
    own = {without_digits(k) for k in expected}
    foreign = [k for k in part.tensors if k not in expected and not is_head(k)]
    unexpected = [k for k in foreign if without_digits(k) in own or not part.matched]
    # A deeper network holds a shallower one: more of the same is no decoder, but another network.
    _refuse_differences(part, expected, unexpected, name)
    others = [path for path, _ in state_dicts(checkpoint.content) if not part.is_below(path)]
    left_out = [*(k for k in foreign if k not in unexpected), *part.beside, *others]
    return Fit(
        {k: v for k, v in part.tensors.items() if k in expected},
        _record("names", part.name, left_out),
    )


def _refuse_differences(
    part: Part, expected: Mapping[str, Tensor], unexpected: list[str], name: str
) -> None:
    differences = lacking(part, expected)
    if unexpected:
        differences.append(f"{len(unexpected)} unexpected ({shortened(unexpected)})")
    if differences:
        raise UserError(
            f"do not fit {name}: keys {'; '.join(differences)}; use the backbone the weights were "
            "made with, or --weights-key, or --match order"
        )


def _by_keras_names(
    checkpoint: Checkpoint, expected: Mapping[str, Tensor], key: str | None, name: str
) -> Fit:
    if not re.fullmatch(r"vgg\d+", name):
        raise UserError(
            f"are of Keras, whose names are known for VGG alone and not for {name}: "
            "give --match order"
        )
    content = _below(checkpoint.content, key, "/")
    paths = as_vgg(content, list(expected))
    part = Part(key or "", {k: content[path] for k, path in paths.items()})
    _refuse_differences(part, expected, [k for k in part.tensors if k not in expected], name)
    left_out = [path for path in content if path not in paths.values()]
    renamed = [f"{path} -> {k}" for k, path in paths.items()]
    return Fit(dict(part.tensors), _record("keras names", key or "", left_out, renamed))


def _by_order(checkpoint: Checkpoint, expected: Mapping[str, Tensor], key: str | None) -> Fit:
    """The first tensors of the one mapping there is, if every shape agrees."""
    found = [
        (path, tensors)
        for path, state in state_dicts(checkpoint.content)
        if (tensors := _in_order(path, state, key))
    ]
    if len(found) != 1:
        names = ", ".join(path or "(all of it)" for path, _ in found)
        raise UserError(
            f"hold {len(found)} mappings of tensors ({names}): say which with --weights-key"
        )
    (path, tensors), wanted = found[0], _counted(expected)
    pairs = list(zip(wanted.items(), tensors.items(), strict=False))
    different = [
        f"{ours} {tuple(a.shape)} against {theirs} {tuple(b.shape)}"
        for (ours, a), (theirs, b) in pairs
        if a.shape != b.shape
    ]
    if len(tensors) < len(wanted):
        different.append(f"{len(wanted)} tensors are needed, and it has {len(tensors)}")
    if different:
        raise UserError(
            f"do not fit in their order: {shortened(different)}; use the backbone the weights "
            "were made with"
        )
    renamed = [f"{theirs} -> {ours}" for (ours, _), (theirs, _) in pairs]
    left_out = list(tensors)[len(wanted) :]
    state = {ours: tensor for (ours, _), (_, tensor) in pairs}
    return Fit(state, _record("order", key or path, left_out, renamed))


def _record(
    matched: str, part: str, left_out: list[str], renamed: list[str] | None = None
) -> dict[str, Any]:
    """What the identity says: plain, and of bounded size."""
    record: dict[str, Any] = {"matched_by": matched, "part": part}
    for what, names in (("renamed", renamed or []), ("left_out", left_out)):
        if names:
            record[what] = {"count": len(names), "first": [n[:200] for n in names[:LISTED]]}
    return record


def _in_order(path: str, state: Mapping[str, Tensor], key: str | None) -> dict[str, Tensor]:
    """The tensors of a mapping that `key` names, or is a part of the names of."""
    if key is None or key == path or path.startswith(f"{key}."):
        return _counted(state)
    inside = key.removeprefix(f"{path}.") if path else key
    return _counted(_below(state, inside, "."))


def _below(content: Mapping[str, Tensor], key: str | None, separator: str) -> dict[str, Tensor]:
    start = f"{key.rstrip(separator)}{separator}" if key else ""
    return {path: tensor for path, tensor in content.items() if path.startswith(start)}


def _counted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not is_counter(k)}
