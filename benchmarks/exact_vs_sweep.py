"""The exact solution of linear heads against the 15-epoch sweep of the same heads, wall time.

python -m benchmarks.exact_vs_sweep [--train 1000] [--kernel-size 1] [--folder DIR]

Both read the same cache of VGG16's shape (made up: the bytes count, not the numbers), all five
levels and five patterns, and score the same test images. One run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.timing import machine, make_cache
from probe.config import ProbeConfig
from probe.train import train_probes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--kernel-size", type=int, default=1)
    parser.add_argument("--levels", default="all")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as folder:
        cache = Path(folder) / "features" / "vgg16-made-up-zeros"
        make_cache(cache, options.train)
        seconds = {}
        for solver in ("sgd", "exact"):
            config = ProbeConfig(
                cache_dir=cache.parent,
                results_dir=Path(folder) / solver,
                solver=solver,
                levels=(options.levels,),
                kernel_size=(options.kernel_size,),
            )
            start = time.perf_counter()
            train_probes(config)
            seconds[solver] = time.perf_counter() - start
    print(machine())
    print(
        f"5 heads, kernel size {options.kernel_size}, levels {options.levels}, {options.train} "
        f"training images: 15 epochs {seconds['sgd']:.1f} s, exact {seconds['exact']:.1f} s "
        f"(with the controls), ratio {seconds['exact'] / seconds['sgd']:.2f}"
    )


if __name__ == "__main__":
    main()
