"""Which tensors of a file are a network's: found by their names, or on demand by their order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from data.tools.errors import UserError
from extract.backbones.checkpoints.keras import as_vgg
from extract.backbones.checkpoints.read import Checkpoint

# Classifiers and auxiliary classifiers of every torchvision model. They are never run, so they
# are dropped: a checkpoint may have another number of classes, or none.
HEADS = ("classifier", "fc", "head", "heads", "AuxLogits", "aux1", "aux2")

# Releases before 2018 named the modules of a dense layer norm.1, relu.1, conv.1; torchvision's
# own DenseNet files still do.
_OLD_DENSE_LAYER = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")

SHOWN = 3  # keys named in a message, of possibly hundreds
LISTED = 20  # names kept in the identity of a cache, of possibly thousands
_DEEPEST = 6  # mappings within mappings
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Part:
    """A run of tensors within a file whose keys begin alike."""

    name: str  # how `--weights-key` calls it; "" is the file as a whole
    tensors: Mapping[str, Tensor]  # key of the network, if it is one of its own -> tensor
    beside: tuple[str, ...] = ()  # tensors of the same mapping that do not begin like these
    matched: int = 0  # keys that the network has


@dataclass(frozen=True)
class Fit:
    """Tensors for every key of a network, and how they were found."""

    state: dict[str, Tensor]
    record: dict[str, Any] = field(default_factory=dict)  # JSON-able: part of a cache's identity


def drop_heads(module: nn.Module) -> None:
    """Replace the classifiers of a torchvision model by identities: features never reach them."""
    for name, child in module.named_children():
        if name in HEADS and isinstance(child, nn.Module):
            setattr(module, name, nn.Identity())


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
    expected = {k: v for k, v in module.state_dict().items() if not _is_head(k)}
    try:
        if order:
            fit = _by_order(checkpoint, expected, key)
        elif checkpoint.is_keras:
            fit = _by_keras_names(checkpoint, expected, key, name)
        else:
            fit = _by_names(checkpoint, expected, key, name)
        _check_numbers(fit.state, expected)
    except UserError as error:
        raise UserError(f"weights {source!r} {error}") from error
    module.load_state_dict(fit.state, strict=False)
    return fit.record


def _by_names(
    checkpoint: Checkpoint, expected: Mapping[str, Tensor], key: str | None, name: str
) -> Fit:
    parts = [
        part
        for path, state in _state_dicts(checkpoint.content)
        for part in _parts(path, state, expected)
        if key is None or part.name == key or part.name.startswith(f"{key}.")
    ]
    fitting = [part for part in parts if not _lacking(part, expected)]
    if len(fitting) > 1:
        names = ", ".join(part.name or "(all of it)" for part in fitting)
        raise UserError(
            f"hold {len(fitting)} networks that fit {name}: say which with --weights-key, one of "
            f"{names}"
        )
    part = max(fitting or parts, key=lambda part: part.matched, default=None)
    if part is None:
        held = ", ".join(path or "(all of it)" for path, _ in _state_dicts(checkpoint.content))
        where = f" under --weights-key {key!r}" if key is not None else ""
        raise UserError(
            f"hold no state dict of {name}{where}, only mappings {held or 'without tensors'}: give "
            "the backbone the weights were made with, or --match order"
        )
    own = {_without_digits(k) for k in expected}
    foreign = [k for k in part.tensors if k not in expected and not _is_head(k)]
    unexpected = [k for k in foreign if _without_digits(k) in own or not part.matched]
    differences = _lacking(part, expected)
    # A deeper network holds a shallower one: more of the same is no decoder, but another network.
    if unexpected:
        differences.append(f"{len(unexpected)} unexpected ({_shortened(unexpected)})")
    if differences:
        raise UserError(
            f"do not fit {name}: keys {'; '.join(differences)}; use the backbone the weights were "
            "made with, or --weights-key, or --match order"
        )
    others = [path for path, _ in _state_dicts(checkpoint.content) if not _same_place(path, part)]
    left_out = [*(k for k in foreign if k not in unexpected), *part.beside, *others]
    return Fit(
        {k: v for k, v in part.tensors.items() if k in expected},
        _record("names", part.name, left_out),
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
    unexpected = [k for k in part.tensors if k not in expected]
    differences = _lacking(part, expected)
    if unexpected:
        differences.append(f"{len(unexpected)} unexpected ({_shortened(unexpected)})")
    if differences:
        raise UserError(
            f"do not fit {name}: keys {'; '.join(differences)}; use the backbone the "
            "weights were made with, or --match order"
        )
    left_out = [path for path in content if path not in paths.values()]
    renamed = [f"{path} -> {k}" for k, path in paths.items()]
    return Fit(dict(part.tensors), _record("keras names", key or "", left_out, renamed))


def _by_order(checkpoint: Checkpoint, expected: Mapping[str, Tensor], key: str | None) -> Fit:
    """The first tensors of the one mapping there is, if every shape agrees."""
    found = [
        (path, tensors)
        for path, state in _state_dicts(checkpoint.content)
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
            f"do not fit in their order: {_shortened(different)}; use the backbone the weights "
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


def _state_dicts(content: Mapping[Any, Any]) -> list[tuple[str, dict[str, Tensor]]]:
    """Every mapping that holds tensors, however deep, by the keys that lead to it."""

    def walk(mapping: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[Any]:
        tensors = {k: v for k, v in mapping.items() if isinstance(v, Tensor) and type(k) is str}
        if tensors:
            yield ".".join(path), tensors
        if len(path) < _DEEPEST:
            for k, v in mapping.items():
                if isinstance(v, Mapping) and type(k) is str:
                    yield from walk(v, (*path, k))

    return list(walk(content, ()))


def _parts(path: str, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[Part]:
    """The runs of keys that begin alike and go on like the network's, best first.

    Files of the features alone lack what all of the network's keys begin with ("features.").
    """
    state = {_OLD_DENSE_LAYER.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    stem = _common_start(list(expected))
    for start in dict.fromkeys(("", stem)):
        wanted = {key.removeprefix(start) for key in expected}
        counts = Counter(
            key[: len(key) - len(rest)] for key in state for rest in _ends(key) if rest in wanted
        )
        parts = [
            Part(
                name=".".join(filter(None, (path, prefix.rstrip(".")))),
                tensors={
                    _renamed(key.removeprefix(prefix), start): tensor
                    for key, tensor in state.items()
                    if key.startswith(prefix)
                },
                beside=tuple(_beside(state, prefix)),
                matched=count,
            )
            for prefix, count in counts.most_common(20)
        ]
        if any(not _lacking(part, expected) for part in parts):
            return parts
        if not start:
            best = parts
    return best or parts or [Part(path, state)]


def _renamed(key: str, start: str) -> str:
    # "0.weight" of the features alone; a classifier's key is none of the features.
    return start + key if key[:1].isdigit() or not start else key


def _ends(key: str) -> Iterator[str]:
    """`a.b.c`, `b.c`, `c`."""
    yield key
    while "." in key:
        key = key.partition(".")[2]
        yield key


def _common_start(keys: list[str]) -> str:
    first = keys[0].partition(".")[0] + "."
    return first if all(key.startswith(first) for key in keys) else ""


def _beside(state: Mapping[str, Tensor], prefix: str) -> dict[str, None]:
    """What else the mapping holds, by the first component that is not the prefix's."""
    ours = prefix.split(".")[:-1]
    names: dict[str, None] = {}
    for key in state:
        if not key.startswith(prefix):
            theirs = key.split(".")
            shared = next(
                (n for n, pair in enumerate(zip(ours, theirs, strict=False)) if len(set(pair)) > 1),
                min(len(ours), len(theirs)),
            )
            names[".".join(theirs[: shared + 1])] = None
    return names


def _same_place(path: str, part: Part) -> bool:
    return path == part.name or part.name.startswith(f"{path}.") or not path


def _lacking(part: Part, expected: Mapping[str, Tensor]) -> list[str]:
    """What of the network is missing or of another shape, in words."""
    # Files from before BatchNorm counted its batches lack the counter, which eval never reads.
    missing = [k for k in expected if k not in part.tensors and not _is_counter(k)]
    shapes = [
        f"{k} {tuple(v.shape)} instead of {tuple(expected[k].shape)}"
        for k, v in part.tensors.items()
        if k in expected and v.shape != expected[k].shape
    ]
    return [
        f"{len(keys)} {what} ({_shortened(keys)})"
        for what, keys in (("missing", missing), ("of another shape", shapes))
        if keys
    ]


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
    return {k: v for k, v in state.items() if not _is_counter(k)}


def _check_numbers(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for key, tensor in state.items():
        what = _unfit(tensor, floating=expected[key].is_floating_point())
        if what:
            raise UserError(
                f"hold {what} for {key}: save dense tensors of real numbers, such as "
                "model.float().state_dict()"
            )


def _unfit(tensor: Tensor, *, floating: bool) -> str | None:
    """What a tensor holds instead of the numbers a network computes with; None if it does."""
    if tensor.is_meta:
        return "no values (a meta tensor)"
    if tensor.is_quantized:
        return f"quantised values ({tensor.dtype})"
    if tensor.layout != torch.strided:
        return f"sparse values ({tensor.layout})"
    # A counter of batches may have become a half with everything else.
    if tensor.dtype not in (_FLOATS if floating else (*_FLOATS, torch.int64, torch.int32)):
        return f"{tensor.dtype} values"
    return None if bool(tensor.float().isfinite().all()) else "NaN or infinite values"


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] == "num_batches_tracked"


def _is_head(key: str) -> bool:
    return key.split(".")[0] in HEADS


def _without_digits(key: str) -> str:
    return re.sub(r"\d+", "", key.partition(".")[0])


def _shortened(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
