"""The rook's stage: train a bank, sweep the margin, write the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from data.tools.files import check_writable, write_text
from data.tools.locks import locked
from data.vocabulary import ROOK_CSV, ROOK_MARGINS_CSV
from extract.tasks.rook.bank import EPOCHS, RookBank, train
from extract.tasks.rook.config import RookConfig
from extract.tasks.rook.images import placed_twice, read_greys, stamp

KERNELS = 50  # untrained, of every margin of the sweep
MARGINS = range(5)
DRAWN = "drawn rook"
_KEY = ["images", "padding", "margin"]


def train_rooks(config: RookConfig) -> Path:
    """Train one network per seed; returns the table of scores, a row per padding and seed.

    Rows of the same images, padding and margin are replaced, others stay. Beside it, for the drawn
    rook, lies the sweep: how many untrained kernels answer differently at the two places.
    """
    check_writable(config.results_dir, "--results-dir")
    images = read_greys(config.images) if config.images else placed_twice(stamp(), config.margin)
    scores = train(RookBank(config.padding, config.seeds), torch.from_numpy(images))
    table = pd.DataFrame(
        {
            "images": "+".join(path.name for path in config.images) or DRAWN,
            "padding": config.padding,
            "margin": config.margin,
            "seed": np.arange(config.seeds),
            "accuracy_percent": 100 * scores.accuracy.numpy(),
            "dead": scores.dead.numpy().astype(int),
            "equal": scores.equal.numpy().astype(int),
            "loss": scores.loss.numpy(),
            "epochs": EPOCHS,
        }
    )
    if not config.images:
        _join(config.results_dir / ROOK_MARGINS_CSV, margin_sweep(config.padding))
    return _join(config.results_dir / ROOK_CSV, table)


@torch.no_grad()
def margin_sweep(padding: str) -> pd.DataFrame:
    """Of 50 untrained kernels, how many have different maxima at the two places, by margin.

    Columns: images, padding, margin, n_kernels, n_different.
    """
    bank = RookBank(padding, KERNELS)
    rows = []
    for margin in MARGINS:
        pooled = bank.pooled(torch.from_numpy(placed_twice(stamp(), margin)))
        different = int((pooled[:, 0] != pooled[:, 1]).sum())
        rows.append((DRAWN, padding, margin, KERNELS, different))
    return pd.DataFrame(rows, columns=[*_KEY, "n_kernels", "n_different"])


def _join(path: Path, table: pd.DataFrame) -> Path:
    """Put rows in the place of earlier ones of the same key."""
    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists():
            before = pd.read_csv(path)
            keys = pd.MultiIndex.from_frame(table[_KEY])
            table = pd.concat([before[~pd.MultiIndex.from_frame(before[_KEY]).isin(keys)], table])
        write_text(path, table.to_csv(index=False, float_format="%.6g"))
    return path
