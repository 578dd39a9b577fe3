"""The parts of a file that could be a network: runs of tensors whose keys begin alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# Releases before 2018 named the modules of a dense layer norm.1, relu.1, conv.1; torchvision's
# own DenseNet files still do.
_OLD_DENSE_LAYER = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")

SHOWN = 3  # keys named in a message, of possibly hundreds
_DEEPEST = 6  # mappings within mappings


@dataclass(frozen=True)
class Part:
    """A run of tensors within a file whose keys begin alike."""

    name: str  # how `--weights-key` calls it; "" is the file as a whole
    tensors: Mapping[str, Tensor]  # key of the network, if it is one of its own -> tensor
    beside: tuple[str, ...] = ()  # tensors of the same mapping that do not begin like these
    matched: int = 0  # keys that the network has

    def is_below(self, path: str) -> bool:
        """Whether it lies within the mapping that the keys of `path` lead to."""
        return not path or path == self.name or self.name.startswith(f"{path}.")


def state_dicts(content: Mapping[Any, Any]) -> list[tuple[str, dict[str, Tensor]]]:
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


def find_parts(
    path: str, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> list[Part]:
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
        if any(not lacking(part, expected) for part in parts):
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


def lacking(part: Part, expected: Mapping[str, Tensor]) -> list[str]:
    """What of the network is missing or of another shape, in words."""
    # Files from before BatchNorm counted its batches lack the counter, which eval never reads.
    missing = [k for k in expected if k not in part.tensors and not is_counter(k)]
    shapes = [
        f"{k} {tuple(v.shape)} instead of {tuple(expected[k].shape)}"
        for k, v in part.tensors.items()
        if k in expected and v.shape != expected[k].shape
    ]
    return [
        f"{len(keys)} {what} ({shortened(keys)})"
        for what, keys in (("missing", missing), ("of another shape", shapes))
        if keys
    ]


def is_counter(key: str) -> bool:
    """Whether a key is of a BatchNorm's counter of batches."""
    return key.rpartition(".")[2] == "num_batches_tracked"


def without_digits(key: str) -> str:
    """A key's first component without its digits: `layer` of `layer4.0.conv1.weight`."""
    return re.sub(r"\d+", "", key.partition(".")[0])


def shortened(keys: list[str]) -> str:
    """The first few of many keys, for a message."""
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
