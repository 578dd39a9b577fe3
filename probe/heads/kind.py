"""What kind of readout a head is: what is built, what it is asked for, how its answer is scored.

A kind is one `Probe`, found by its name. Dense maps (`probe/heads/dense.py`) are the first, and the
only one whose heads are stacked into large products (`probe/sgd/bank.py`) and solved for; heads of
any other kind are plain modules, trained beside them in the same pass over the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.protocols import TrainingRecipe
from data.tools.errors import UserError
from data.tools.settings import listed
from probe.heads.spec import DENSE, HeadSpec
from probe.scoring import Scores

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Probe:
    """One kind of readout; shapes below are of a head that answers with arrays of shape S."""

    name: str  # --probe NAME; begins the names of its heads
    # A fresh head, seeded by its spec: (B, channels, 28, 28) float32 to (B, 1, *S).
    build: Callable[[HeadSpec, int, TrainingRecipe], nn.Module]
    # What it is trained on, float64; the last argument asks for its control task instead.
    target: Callable[[HeadSpec, TrainingRecipe, bool], NDArray[np.float64]]
    # Outputs (B, *S) and the target as float32, on one device, to a loss (), a mean over images.
    loss: Callable[[Tensor, Tensor], Tensor]
    # Outputs (N, *S) float32, the target and a device to scores, image by image.
    score: Callable[[NDArray[np.float32], NDArray[np.float64], str], Scores]


_probes: dict[str, Probe] = {}


def add_probe(probe: Probe) -> None:
    """Let `probe` be found by its name; `UserError` where another one has it."""
    if _probes.setdefault(probe.name, probe) != probe:
        raise UserError(f"probe kind {probe.name!r} is another one already: give it another name")


def probe_names() -> tuple[str, ...]:
    """The dense maps, then the kinds added."""
    return tuple(dict.fromkeys([DENSE, *_probes]))


def find_probe(name: str) -> Probe:
    """The kind of this name; `UserError` where there is none, as in a process that lacks it."""
    if name not in _probes:
        raise UserError(
            f"no probe kind {name!r}: use {listed(name, tuple(_probes))}, or import the module "
            "that adds it first (with --jobs 1)"
        )
    return _probes[name]
