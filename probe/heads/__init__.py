"""Readout heads: what one is, and which ones the paper's tables need."""
