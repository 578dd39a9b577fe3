"""Where backbones come from: each source builds a network by its name."""
