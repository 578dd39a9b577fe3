"""Segmentation of placed images, read from aligned maps: targets that differ by image."""
