"""The exactness audit of every backbone and padding, kept in extract/backbones/exactness.csv.

    python -m benchmarks.exactness [--backbone NAME ...]

Random weights of seed 0 on images of 96 pixels, five places. Rows of backbones that are already in
the file are kept. The last column is of the network as built, at 224 pixels: which of its strided
windows leave cells out, (n + 2p - k) mod s of the rows.
"""

from __future__ import annotations

import argparse
import csv

from data.tools.errors import UserError
from data.vocabulary import IMAGE_SIZE, PADDINGS
from extract.backbones.audit import place_changes
from extract.backbones.backbone import Backbone, backbone_names, load_backbone
from extract.backbones.exactness import COLUMNS, PATH, read_exactness
from extract.backbones.table import BACKBONES

SIZE = 96


def load(name: str, padding: str, size: int) -> Backbone:
    return load_backbone(
        name, weights="random", padding=padding, taps="paper", seed=0, image_size=size
    )


def rows_of(name: str) -> list[dict[str, str]]:
    fixed = BACKBONES[name].size_argument is not None or name.startswith("swin")
    size = IMAGE_SIZE if fixed else SIZE
    uneven = "+".join(
        f"{node}:{rows}"
        for node, (rows, _) in load(name, "zeros", IMAGE_SIZE).uneven_strides.items()
    )
    rows = []
    for padding in PADDINGS:
        row = {"backbone": name, "padding": padding, "image_size": str(size), "uneven": uneven}
        try:
            backbone = load(name, padding, size)
            changes = place_changes(backbone, normalization="none", image_size=size)
            row |= {level: f"{change:.2g}" for level, change in changes.items()}
        except UserError as error:
            row["refused"] = str(error).split(";")[0]
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", action="append", choices=backbone_names())
    names = parser.parse_args().backbone or backbone_names()
    known = read_exactness() if PATH.exists() else []
    done = {row["backbone"] for row in known}
    for name in names:
        if name in done:
            continue
        known += rows_of(name)
        known.sort(key=lambda row: list(BACKBONES).index(row["backbone"]))
        with open(PATH, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(known)


if __name__ == "__main__":
    main()
