"""Train many readout heads from a feature cache and score them."""
