"""The pooled cache: mean and maximum of every tap's own map, of every placed image.

A folder with `placed.json`, what it is made from, and `pooled.h5`: datasets `<level>/mean` and
`<level>/max`, (N, C) float32, and `patch`, `cell`, `class`, `split`, (N,), each with its CRC-32,
and the identity once more as an attribute. Until it is complete the folder holds `block-*.h5`,
each whole under its name, so that a killed extraction goes on where it was.
"""
