"""Where images come from: folders, the embedded samples, synthetic ones."""
