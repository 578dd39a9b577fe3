"""Do precision and shuffling change the scores? The same heads, trained four ways.

    python -m benchmarks.agreement --cache-dir features [--batch-size 8]

From the vgg16 caches in that folder: the depth-1 heads of the sweep in bf16, in fp32, and in fp32
with windows of 24 images instead of a full shuffle, and in another full shuffle: what the order of
the images alone does. Prints the largest differences of SPC and MAE on the test images, and those
of the heads that converged.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.timing import machine
from probe import batches
from probe.config import ProbeConfig
from probe.sgd import fit
from probe.train import train_probes

SMALL_WINDOW_IMAGES = 24
VGG16_IMAGE_BYTES = 1475 * 784 * 2


def scores(
    options: argparse.Namespace,
    folder: Path,
    precision: str,
    window_images: int = 10**6,
    shuffle_seed: int = fit.SHUFFLE_SEED,
) -> pd.DataFrame:
    """Scores on the test images by head."""
    fit.SHUFFLE_SEED = shuffle_seed
    batches.WINDOW_BYTES = window_images * VGG16_IMAGE_BYTES
    config = ProbeConfig(
        sweep=True,
        depth=(1,),
        backbone=("vgg16",),
        cache_dir=options.cache_dir,
        results_dir=folder,
        batch_size=options.batch_size,
        precision=precision,
        protocol=options.protocol,
    )
    table = pd.read_csv(train_probes(config)).query("images == 'test'")
    return table.set_index(["run", "head"])[["spc", "mae", "status"]]


def compare(name: str, one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Print how far two tables of the same heads are apart."""
    change = (one[["spc", "mae"]] - other[["spc", "mae"]]).abs()
    settled = change[(one["status"] == "converged") & (other["status"] == "converged")]
    for what, part in (("all heads", change), ("converged", settled)):
        print(
            f"{name}, {what} ({len(part)}): SPC differs by at most {part['spc'].max():.4f} "
            f"(median {part['spc'].median():.4f}), MAE by {part['mae'].max():.4f}"
        )
    print(change.join(one["status"]).sort_values("spc").tail(5).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache-dir", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--protocol", default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        full = scores(options, folder / "fp32", "fp32")
        low = scores(options, folder / "bf16", "bf16")
        other = scores(options, folder / "shuffle", "fp32", shuffle_seed=fit.SHUFFLE_SEED + 1)
        windows = scores(options, folder / "windows", "fp32", SMALL_WINDOW_IMAGES)
    print(machine())
    compare("bf16 against fp32", low, full)
    compare("another full shuffle against a full shuffle", other, full)
    compare(f"windows of {SMALL_WINDOW_IMAGES} images against a full shuffle", windows, full)


if __name__ == "__main__":
    main()
