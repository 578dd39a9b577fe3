"""Weights from files: read without running anything, and fitted to a network by their names."""
