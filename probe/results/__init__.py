"""Scores, losses and trained heads on disk; needs no torch.

`results/<run>/` holds one run: the heads trained from one cache with one recipe. Its files are
replaced whole, `scores.csv` last: a head is finished when that file lists it and every file of the
run is as `run.json` lists it. `results/scores.csv` is all runs together.
"""

from probe.results.heads import HeadResult, read_head
from probe.results.run_settings import SCHEMA, OtherSchemaError, RunSettings
from probe.results.tables import (
    CURVE,
    HEADS,
    IMAGE_SCORES,
    LOSSES,
    PROBE,
    RUN,
    SCORE_COLUMNS,
    SCORES,
    read_rows,
)
from probe.results.writer import (
    ResultsWriter,
    read_settings,
    refuse_other_settings,
    write_all_scores,
    write_curve,
    write_gaps,
    write_heads,
)

__all__ = [
    "CURVE",
    "HEADS",
    "IMAGE_SCORES",
    "LOSSES",
    "PROBE",
    "RUN",
    "SCHEMA",
    "SCORES",
    "SCORE_COLUMNS",
    "HeadResult",
    "OtherSchemaError",
    "ResultsWriter",
    "RunSettings",
    "read_head",
    "read_rows",
    "read_settings",
    "refuse_other_settings",
    "write_all_scores",
    "write_curve",
    "write_gaps",
    "write_heads",
]
