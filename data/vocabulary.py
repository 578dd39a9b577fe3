"""The words of the field, each spelled once: in options, columns, file names and code alike."""

from __future__ import annotations

GRID = 28  # cells a side of every level
IMAGE_SIZE = 224  # pixels a side of the images a backbone sees, unless asked otherwise

INPUT = "input"  # the level that is the image itself
TAPPED_LEVELS = ("f1", "f2", "f3", "f4", "f5")  # from the shallowest to the deepest
LEVELS = (INPUT, *TAPPED_LEVELS)
INPUT_LEVELS = (INPUT,)  # what a head on the pixels reads
ALL_LEVELS = "all"  # in options: every level of the backbone together

SYNTHETIC_SETS = ("black", "white", "noise")
IMAGE_SETS = ("train", "test", *SYNTHETIC_SETS)  # in the order of their rows
SCORED_SETS = IMAGE_SETS[1:]  # in every cache; it may have more, of names of the user's own
IMAGE_SET_NAME = r"[A-Za-z][A-Za-z0-9_-]*"  # it goes into columns and file names

PIXELS = "pixels"  # in the column `backbone`: no backbone, the paper's row "PosENet"
CONTINUED = ("reflect", "replicate", "circular")  # paddings that go on with the map itself
PADDINGS = ("zeros", "none", *CONTINUED, "full", "partial")  # of a backbone's operations
TORCH, OPENVINO = ENGINES = ("torch", "openvino")  # that run a frozen backbone
SMALL_PADDINGS = ("zeros", "none", *CONTINUED, "full")  # of small networks' convolutions
COMPRESSIONS = ("none", "bitshuffle-lz4")  # of a cache

CONVERGED, CONSTANT, FALLING = "converged", "constant", "falling"
UNDER_TRAINED, DIVERGED = "under-trained", "diverged"
# Of a head's training, from best to worst; "constant" is a finding: there was nothing to read.
STATUSES = (CONVERGED, CONSTANT, FALLING, UNDER_TRAINED, DIVERGED)

KEPT_IMAGES = 5  # of each scored set: the first, whose maps are kept for figures
KEPT_EXTREMES = 2  # of the best, and of the worst, of larger sets: their maps are kept too

TASKS = ("saliency", "segmentation")  # that `train-backbone` trains VGG16 for
TASKS_CSV = "tasks.csv"  # of a results folder: the scores of these
ROOK_CSV, ROOK_MARGINS_CSV = "rook.csv", "rook_margins.csv"  # of its small networks
RED_GREEN_CSV, TARGETING_CSV = "red_green.csv", "targeting.csv"
POOLED_CSV = "pooled.csv"  # of its networks with global pooling
