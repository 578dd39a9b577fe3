"""The report: one page with everything inside, a file per kind of thing that stands on it."""
