"""Figures; each function returns a matplotlib Figure and saves nothing."""

from __future__ import annotations

import os

try:
    import matplotlib
except ValueError:
    # Jupyter hands its own backend to every program started from it, and where that is not
    # installed not even the import succeeds. Our figures are drawn without any backend.
    _backend = os.environ.pop("MPLBACKEND")
    try:
        import matplotlib  # noqa: F401
    finally:
        os.environ["MPLBACKEND"] = _backend
