"""Held-out loss of exact readouts beside that of every readout trained by SGD, same cache and head.

python -m benchmarks.exact_heldout RESULTS_DIR

Reads `scores.csv`. Compared are heads of depth 1 on the same targets; both losses are mean squared
errors over the test images. Lists every head on which an exact readout is worse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from probe.results import SCORES

HEAD = ["backbone", "weights", "backbone_padding", "normalization", "levels"]
HEAD += ["kernel_size", "probe_padding", "pattern"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results_dir", type=Path)
    scores = pd.read_csv(parser.parse_args().results_dir / SCORES)
    rows = scores[(scores["images"] == "test") & (scores["depth"] == 1)]
    # `tuned` holds out training images; R2 on the test images is comparable everywhere.
    rows = rows.assign(loss=1.0 - rows["r2"])
    solved = rows["protocol"].str.endswith("exact")
    pairs = rows[solved].merge(rows[~solved], on=HEAD, suffixes=("", "_sgd"))
    for protocol, part in pairs.groupby("protocol_sgd"):
        better = part["loss"] <= part["loss_sgd"]
        ratio = part["loss"] / part["loss_sgd"]
        print(
            f"{protocol}: exact is at least as good on {better.sum()} of {len(part)} heads; "
            f"its loss is {ratio.median():.3f} of SGD's (median), {ratio.max():.3f} at worst"
        )
        columns = ["levels", "kernel_size", "probe_padding", "pattern", "loss", "loss_sgd"]
        if not better.all():
            print(part[~better][columns].to_string(index=False, float_format="%.4f"))


if __name__ == "__main__":
    main()
