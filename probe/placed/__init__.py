"""Placed studies: what a pooled vector says of the place of a patch, and of its class."""
