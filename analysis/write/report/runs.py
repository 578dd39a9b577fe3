"""The runs behind a report: settings, and how the training of their readouts ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.labels import STATUS_LABELS, model_label
from analysis.read.audits import Audit
from analysis.read.conditions import image_label, weights_label
from analysis.read.results import Results
from analysis.write.report.tables import Block
from data.vocabulary import CONSTANT, CONVERGED, STATUSES


def described(run: str, results: Results) -> dict[str, Any]:
    """One run in a line, and all its settings."""
    settings = results.runs[run]
    scores = results.scores[results.scores["run"] == run]
    first = scores.iloc[0]
    return {
        "name": run,
        "measured": weights_label(first["weights"], model_label(first["backbone"])),
        "images": image_label(settings.cache),
        "heads": scores["head"].nunique(),
        "seeds": scores["seed"].nunique(),
        "facts": list(_flat(settings.to_json())),
    }


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """Nested settings as lines: `cache.features.taps`, its value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    else:
        yield name, str(value)


def heads_of(results: Results) -> pd.DataFrame:
    """One row of the scores per readout."""
    return results.scores.drop_duplicates(["run", "head"])


def statuses(results: Results) -> Block:
    """How many readouts ended how, by run; statuses that none has are left out."""
    heads = heads_of(results)
    shown = [status for status in STATUSES if (heads["status"] == status).any()]
    lines = []
    for run in results.runs:
        own = heads.loc[heads["run"] == run, "status"]
        lines.append([run, *(str((own == status).sum()) for status in shown)])
    header = ["run", *(STATUS_LABELS[status] for status in shown)]
    return Block("How training ended, in readouts", header, lines, 1)


def unfinished(results: Results) -> Block:
    """The readouts that could say more than they do, worst first; "constant" is a finding."""
    heads = heads_of(results)
    heads = heads[~heads["status"].isin([CONVERGED, CONSTANT])]
    order = heads["status"].map(STATUSES.index).sort_values(ascending=False, kind="stable")
    lines = [
        [
            row.run,
            row.head,
            STATUS_LABELS[row.status],
            f"{row.train_loss:.4g}",
            f"{row.heldout_loss:.4g}",
        ]
        for row in heads.loc[order.index].itertuples()
    ]
    count = f"{len(lines)} readout{'' if len(lines) == 1 else 's'} not trained to the end"
    return Block(count, ["run", "readout", "ended", "training loss", "held-out loss"], lines, 3)


def audited(audit: Audit) -> dict[str, Any]:
    """Whether a border is left in the features of one run."""
    return {
        "labels": (audit.run, audit.network, audit.padding),
        "changes": {level: f"{change:.2g}" for level, change in audit.changes.items()},
        "verdict": audit.verdict,
        "uneven": audit.uneven,
    }
