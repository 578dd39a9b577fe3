"""Table 2 of the reproduction report, `R2`: runs of the protocol `reproduction`."""

from __future__ import annotations

from analysis.read.published import REPRODUCTION
from analysis.tables.compare import joined
from analysis.tables.papers.position import EVERY, FIRST, PADDED
from analysis.tables.table import Table

TABLE_R2 = Table(
    "R2",
    "The reproduction report's table 2, arranged like table 1",
    ("pattern", "backbone"),
    "images",
    joined,
    REPRODUCTION,
    heads={**FIRST, **PADDED, "pattern": EVERY},
    swept=True,
    printed=False,
    published_on=", ImageNet weights, scored on transposed images (--score-transposed)",
    score_transposed=True,
)
