"""The state of an unfinished pass, so that a killed sweep goes on from its last epoch."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.tools.files import write_torch
from data.tools.terminal import say
from probe.heads.spec import HeadSpec
from probe.sgd.bank import Bank


@dataclass
class Checkpoint:
    """One file, replaced whole after every epoch; only read for the same settings and heads.

    A damaged one is worth no more than none: a line on stderr says so, and the pass begins again.
    """

    path: Path
    settings: dict[str, Any]  # JSON-able

    def save(self, bank: Bank, optimizer: torch.optim.Optimizer, history: list[Tensor]) -> None:
        """Keep everything the next epoch depends on; `history` has one entry per epoch done."""
        state = {
            "settings": self.settings,
            "heads": [asdict(spec) for spec in _specs(bank)],
            "bank": bank.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": history,
        }
        write_torch(self.path, state)

    def heads(self) -> list[HeadSpec]:
        """The heads of the interrupted pass, in order; none if there is no fitting checkpoint."""
        state = self._read()
        return [HeadSpec.from_json(spec) for spec in state["heads"]] if state else []

    def restore(self, bank: Bank, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        """Set bank and optimiser to where the pass of the same heads stopped; its history."""
        if self.heads() != _specs(bank):
            return []
        state = self._read()
        bank.load_state_dict(state["bank"])
        optimizer.load_state_dict(state["optimizer"])
        return list(state["history"])

    def remove(self) -> None:
        """The pass is finished."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            state: dict[str, Any] = _load(self.path)
            return state if state["settings"] == self.settings else {}
        except Exception:  # what is not ours can raise anything
            say(f"{self.path} is damaged: its pass begins again")
            self.remove()
            return {}


def _load(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()  # torch compares no checksum
    if damaged:
        raise OSError(f"{damaged} is damaged")
    loaded: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return loaded


def _specs(bank: Bank) -> list[HeadSpec]:
    return list(dict.fromkeys(entry.spec for entry in bank.entries))
