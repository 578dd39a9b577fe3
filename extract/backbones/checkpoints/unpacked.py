"""How much memory a file may fill."""

from __future__ import annotations

from pathlib import Path

from data.tools.errors import UserError

_MOST = 10  # times its size: weights are noise, and noise does not shrink


def check_unpacked(path: Path, unpacked: int) -> None:
    """`UserError` for a weight file of which far more bytes are unpacked than it has."""
    packed = path.stat().st_size
    if unpacked > _MOST * packed:
        raise UserError(
            f"weights {str(path)!r}: {packed / 1e6:.3g} MB that unpack to {unpacked / 1e6:.3g} MB, "
            "which weights never do; save them again with torch.save(model.state_dict(), path)"
        )
