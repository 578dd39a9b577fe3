"""Results and published numbers, read and joined."""
