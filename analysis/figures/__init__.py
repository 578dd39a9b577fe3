"""Figures; each function returns a matplotlib Figure and saves nothing."""
