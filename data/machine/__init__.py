"""What the machine gives: memory, its limits, and its faults."""
