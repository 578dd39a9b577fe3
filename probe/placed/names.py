"""The names of readings and solvers: what the command line knows without torch."""

READING_NAMES = ("ordered", "permuted", "sorted", "mean", "fixed", "input")
SOLVER_NAMES = ("exact", "softmax")
