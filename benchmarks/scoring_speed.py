"""Scoring against `scipy.stats.spearmanr`, map by map.

python -m benchmarks.scoring_speed [--maps 128]
"""

from __future__ import annotations

import argparse

import joblib
import numpy as np
from scipy.stats import spearmanr

from benchmarks.timing import machine, median_seconds
from data.resample import bilinear_maps
from data.targets import position_map
from probe.scoring import score_maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=128)
    count = parser.parse_args().maps
    outputs = np.random.default_rng(0).random((count, 26, 26), dtype=np.float32)
    maps = bilinear_maps(outputs, 224)
    target = position_map("H").ravel()
    parallel = joblib.Parallel(n_jobs=joblib.cpu_count(), prefer="threads")
    parts = np.array_split(outputs, joblib.cpu_count())

    def ours() -> list:
        return list(parallel(joblib.delayed(score_maps)(part, position_map("H")) for part in parts))

    def theirs() -> list[float]:
        return [spearmanr(values.ravel(), target).statistic for values in maps]

    difference = np.abs(np.concatenate([part.metrics["spc"] for part in ours()]) - theirs()).max()
    halves = np.random.default_rng(0).integers(0, 2**16, maps[0].size, np.uint16)

    def sorts() -> list:  # what ranking cannot do without
        twice = (joblib.delayed(np.argsort)(halves, kind="stable") for _ in range(2 * count))
        return list(parallel(twice))

    fast, slow = median_seconds(ours, 3), median_seconds(theirs, 3)
    print(machine())
    print(f"scipy.stats.spearmanr {slow / count * 1e3:.2f} ms a map (SPC alone)")
    print(f"ours {fast / count * 1e3:.2f} ms a map (upsampling, SPC, MAE and error map)")
    print(f"share of the ceiling, two sorts a map: {median_seconds(sorts, 3) / fast:.2f}")
    print(f"ratio {slow / fast:.1f}, largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
