"""The files of placed studies in a results folder; needs no torch."""

from __future__ import annotations

# A row for each network, level, pooling, task, reading, solver and ring (empty: all cells).
PLACED = "placed.csv"
PLACED_COLUMNS = [
    *("study", "backbone", "weights", "backbone_padding", "level", "pooling", "task", "reading"),
    *("solver", "grid", "border", "canvas", "patches", "patch_size", "accuracy", "chance", "low"),
    *("high", "ring", "n_train_patches", "n_test_patches", "permutations", "seed", "run"),
]
# The same for each test patch, named by `PLACED_KEY` and `patch`: what intervals resample.
PLACED_PATCHES = "placed_patches.csv"
PLACED_KEY = ["run", "level", "pooling", "task", "reading", "solver", "ring"]

CHANNELS = "channels.csv"  # a row for each channel: how much of it is of the place
ABLATIONS = "ablations.csv"  # what is left of a readout without its foremost channels
SEGMENTATION = "segmentation.csv"  # intersection over union of targets that differ by image
