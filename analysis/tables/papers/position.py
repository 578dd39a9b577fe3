"""Tables 1 to 4 of the paper: the heads that `train-probes --sweep` trains."""

from __future__ import annotations

from analysis.claims.claim import Claim, Comparison, Reading, each, steps
from analysis.read.published import PAPER
from analysis.tables.compare import joined
from analysis.tables.table import Table
from data.vocabulary import ALL_LEVELS, PIXELS

EVERY, MAIN = ("H", "V", "G", "HS", "VS"), ("H", "G", "HS")
PADDED = {"backbone_padding": ("zeros", "-")}
# The head of table 1; the others vary one thing in it.
FIRST = {"reads": (ALL_LEVELS,), "kernel_size": (3,), "depth": (1,), "probe_padding": (0,)}
_NATURAL = {"images": ("test",), "pattern": MAIN}
_BOTH = ("vgg16", "resnet152")

TABLE_1 = Table(
    "1",
    "Position read from every level together, by pattern, model and images",
    ("pattern", "backbone"),
    "images",
    joined,
    PAPER,
    compared=joined,
    heads={**FIRST, **PADDED, "pattern": EVERY},
    swept=True,
    claims=(
        Claim(
            "position_is_there",
            "Position can be read from the features",
            tuple(Comparison(f"{p}: all levels minus 0", Reading(p), None) for p in EVERY),
            _BOTH,
        ),
        Claim(
            "not_in_pixels",
            "It is not in the pixels alone: the features give more",
            each(EVERY, "all levels minus pixels", {}, {"pixels": True}),
            _BOTH,
        ),
        Claim(
            "stripes_are_harder",
            "Stripes are harder than gradients",
            tuple(
                Comparison(f"{smooth} minus {stripes}", Reading(smooth), Reading(stripes))
                for smooth in ("H", "V", "G")
                for stripes in ("HS", "VS")
            ),
            _BOTH,
        ),
    ),
)

TABLE_2A = Table(
    "2a",
    "Convolutions in the readout (natural images)",
    ("pattern", "depth"),
    "backbone",
    joined,
    PAPER,
    compared=joined,
    heads={**FIRST, **PADDED, **_NATURAL, "depth": (1, 2, 3)},
    varied=("depth",),
    swept=True,
    claims=(Claim("more_layers", "More layers read more", steps(MAIN, "depth", [1, 2, 3])),),
)

TABLE_2B = Table(
    "2b",
    "Kernel size of the readout (natural images)",
    ("pattern", "kernel_size"),
    "backbone",
    joined,
    PAPER,
    compared=joined,
    heads={**FIRST, **PADDED, **_NATURAL, "kernel_size": (1, 3, 5, 7)},
    varied=("kernel_size",),
    swept=True,
    claims=(
        Claim("larger_kernels", "Larger kernels read more", steps(MAIN, "kernel_size", [1, 3, 7])),
    ),
)

TABLE_3 = Table(
    "3",
    "Levels of the backbone (natural images)",
    ("pattern", "reads"),
    "backbone",
    joined,
    PAPER,
    compared=joined,
    heads={
        **FIRST,
        **_NATURAL,
        "backbone_padding": ("zeros",),
        "pattern": ("H", "G"),
        "reads": ("f1", "f2", "f3", "f4", "f5", ALL_LEVELS),
    },
    varied=("reads",),
    swept=True,
    claims=(
        Claim(
            "deeper_carries_more",
            "Deeper levels carry more",
            steps(("H", "G"), "reads", ["f1", "f2", "f3", "f4", "f5"]),
        ),
        Claim(
            "f5_beats_f4",
            "f5 beats f4 at equal width, so it is depth and not the number of channels",
            steps(("H", "G"), "reads", ["f4", "f5"]),
            equal_width=("f4", "f5"),
        ),
    ),
)

TABLE_4 = Table(
    "4",
    "Padding of the backbone and of the readout (natural images)",
    ("model",),
    "pattern",
    joined,
    PAPER,
    compared=joined,
    heads={**FIRST, **_NATURAL, "probe_padding": (0, 1, 2, 3)},
    varied=("backbone_padding", "probe_padding"),
    swept=True,
    claims=(
        Claim(
            "padding_removed",
            "Removing the padding makes it collapse",
            each(MAIN, "zero padding minus none", {}, {"padding": "none"}),
        ),
        Claim(
            "probe_padding",
            "Padding the readout alone creates some",
            steps(MAIN, "probe_padding", [0, 1, 2], pixels=True),
            (PIXELS,),
        ),
    ),
)
