"""Scripts that measure ratios; none is a test. docs/benchmarks.md records what they printed."""
