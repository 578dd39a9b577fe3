"""Channels that say the place, taken from a segmentation network before its decoder."""
