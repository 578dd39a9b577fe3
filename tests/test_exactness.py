"""The exactness audit of the listed backbones, as the package has it."""

from itertools import product

import pytest

from data.vocabulary import PADDINGS, TAPPED_LEVELS
from extract.backbones.audit import place_changes
from extract.backbones.backbone import backbone_names, load_backbone
from extract.backbones.exactness import exactness_note, read_exactness


def test_every_backbone_has_changes_or_a_refusal_of_every_padding() -> None:
    rows = {(row["backbone"], row["padding"]): row for row in read_exactness()}
    assert list(rows) == list(product(backbone_names(), PADDINGS))
    for (name, padding), row in rows.items():
        measured = [level for level in TAPPED_LEVELS if row[level]]
        assert measured == ([] if row["refused"] else list(TAPPED_LEVELS)), (name, padding)
        if row["refused"]:
            assert f"padding '{padding}'" in row["refused"]
    assert all(exactness_note(name) for name in backbone_names())


@pytest.mark.parametrize(
    ("name", "padding"), [("alexnet", "replicate"), ("alexnet", "circular"), ("resnet18", "zeros")]
)
def test_changes_are_those_that_are_measured_now(name: str, padding: str) -> None:
    backbone = load_backbone(
        name, weights="random", padding=padding, taps="paper", seed=0, image_size=96
    )
    changes = place_changes(backbone, normalization="none", image_size=96)
    (row,) = [
        row for row in read_exactness() if (row["backbone"], row["padding"]) == (name, padding)
    ]
    for level, change in changes.items():
        assert float(row[level]) == pytest.approx(change, rel=0.06)
