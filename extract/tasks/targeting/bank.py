"""One frozen backbone and many decoders, each of which does without some channels."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from extract.tasks.targeting.segmenters import Segmenter

TOP, RANDOM = "top", "random"


@dataclass(frozen=True)
class Removal:
    """Some channels of one level."""

    which: str  # TOP or RANDOM
    draw: int  # of random ones; 0 of the foremost
    channels: NDArray[np.int64]


class DecoderBank(nn.Module):
    """A copy of the segmenter's decoder for each removal.

    The backbone is no part of the module's state: it stays as it is, and no checkpoint needs it
    again.
    """

    def __init__(self, segmenter: Segmenter, level: int, count: int) -> None:
        super().__init__()
        self._frozen = (segmenter,)  # in a tuple: what is no module's attribute is no child of it
        self._level = level
        self._removals: Sequence[Removal] = ()
        self._filled = torch.empty(0)
        backbone = id(segmenter.backbone)
        self.decoders = nn.ModuleList(
            [deepcopy(segmenter, {backbone: None}) for _ in range(count)]  # type: ignore[misc]
        )

    def remove(self, removals: Sequence[Removal], filled: Tensor) -> None:
        """Say what each decoder does without, and what the channels (C,) hold once removed."""
        assert len(removals) == len(self.decoders), "a decoder for each removal"
        self._removals, self._filled = removals, filled

    def levels(self, images: Tensor) -> list[Tensor]:
        """What the backbone gives, (B, C, h, w) each, of images (B, 3, S, S)."""
        with torch.no_grad():
            return self._frozen[0].levels(images)

    def retrained(self, index: int, levels: list[Tensor], size: torch.Size) -> Tensor:
        """Logits of the decoder of removal `index`, which does without those channels."""
        decoder: Any = self.decoders[index]
        logits: Tensor = decoder.decode(self._without(index, levels), size)
        return logits

    def kept(self, index: int, levels: list[Tensor], size: torch.Size) -> Tensor:
        """Logits of the decoder as it was, the channels of removal `index` taken from it."""
        return self._frozen[0].decode(self._without(index, levels), size)

    def _without(self, index: int, levels: list[Tensor]) -> list[Tensor]:
        removed = torch.from_numpy(self._removals[index].channels)
        whole = levels[self._level]
        left = whole.clone()
        left[:, removed] = self._filled[removed].to(whole)[:, None, None]
        return [left if place == self._level else level for place, level in enumerate(levels)]
