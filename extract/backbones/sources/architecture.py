"""What a source of backbones gives: an untrained network with its taps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

TAP_RECIPES = ("paper", "released", "reproduction")


@dataclass(frozen=True)
class Architecture:
    """A network without its classifier, untrained unless it `has_own_weights`."""

    module: nn.Module
    taps: dict[str, tuple[str, ...]]  # recipe -> node names, f1 first
    channels_last: bool  # its maps are (B, h, w, C)
    pretrained: Callable[[], tuple[dict[str, Tensor], str]]  # state dict, and where it is from
    normalization: str | None = None  # what its weights want instead of ImageNet's; None: that
    has_own_weights: bool = False  # as built it holds weights that only its builder knows


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` inside, and leave the global random state alone."""
    # torch.manual_seed would reseed every GPU as well.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
