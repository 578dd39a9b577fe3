"""The heads that the tables of the paper need."""

from __future__ import annotations

from collections.abc import Iterable

from data.targets import PATTERNS
from data.vocabulary import PIXELS
from probe.heads.spec import HeadSpec


def table_heads(
    backbone: str, padding: str, levels: tuple[str, ...], seeds: Iterable[int]
) -> list[HeadSpec]:
    """The heads that tables 1 to 4 of the paper need from one backbone, or from the pixels.

    `levels` are all levels of the backbone together. Table 1 asks every zero-padded backbone for
    the five patterns; tables 2a, 2b and 3 ask vgg16 for depths, kernel sizes and single levels;
    table 4 asks every other padding for H, G and HS, and the pixels for probe padding 1 and 2.
    """
    shapes: list[tuple[tuple[str, ...], int, int, int, Iterable[str]]] = []
    main = ("H", "G", "HS")
    if backbone == PIXELS or padding == "zeros":
        shapes.append((levels, 3, 1, 0, PATTERNS))
    else:
        shapes.append((levels, 3, 1, 0, main))
    if backbone == PIXELS or (backbone == "vgg16" and padding == "zeros"):
        shapes += [(levels, 3, depth, 0, main) for depth in (2, 3)]
        shapes += [(levels, size, 1, 0, main) for size in (1, 7)]
    if backbone == "vgg16" and padding == "zeros":
        shapes += [((level,), 3, 1, 0, ("H", "G")) for level in levels]
    if backbone == PIXELS:
        shapes += [(levels, 3, 1, probe_padding, main) for probe_padding in (1, 2)]
    return [
        HeadSpec(reads, kernel_size, depth, probe_padding, pattern, seed)
        for seed in seeds
        for reads, kernel_size, depth, probe_padding, patterns in shapes
        for pattern in patterns
    ]
