"""The frozen networks: where they come from, their taps, their padding, their weights."""
