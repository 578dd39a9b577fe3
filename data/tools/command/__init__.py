"""Command lines made from configuration dataclasses, and the exit codes all commands share."""
