"""Placed studies: the same patch at several places, pooled in a frozen network."""
