"""Tables as CSV that any reader reads back."""

from __future__ import annotations

import csv

import pandas as pd


def csv_text(table: pd.DataFrame) -> str:
    """The table with six digits; names with a carriage return in them are quoted like the rest."""
    text = table.to_csv(index=False, float_format="%.6g")
    if "\r" not in text:
        return text
    # Python quotes a cell for a line feed, not for a carriage return, which ends a row as well.
    return table.to_csv(index=False, float_format="%.6g", quoting=csv.QUOTE_NONNUMERIC)
