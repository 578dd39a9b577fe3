"""The statistics of docs/samples.md: of the embedded samples, or of a folder of images.

python benchmarks/sample_statistics.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.images.image_set import find_images
from data.targets import position_map

LUMA = np.array([0.299, 0.587, 0.114])
SLOPE_RANGES = ((4, 56), (4, 16), (16, 56), (56, 100))  # cycles per image


def amplitude_slopes(images: NDArray[np.uint8]) -> list[float]:
    """Exponents of the amplitude spectrum over `SLOPE_RANGES` of images (n, size, size, 3).

    Grey levels of each image scaled to mean 0 and variance 1, a Hann window, power averaged over
    the images, amplitude averaged over rings, a straight line in log-log coordinates.
    """
    grey = images @ LUMA
    grey -= grey.mean((1, 2), keepdims=True)
    grey /= grey.std((1, 2), keepdims=True)
    size = grey.shape[1]
    window = np.hanning(size)
    power = (np.abs(np.fft.fft2(grey * window * window[:, None])) ** 2).mean(0)
    frequency = np.fft.fftfreq(size) * size
    ring = np.rint(np.hypot(frequency, frequency[:, None])).astype(int)
    amplitude = np.bincount(ring.ravel(), np.sqrt(power).ravel()) / np.bincount(ring.ravel())
    slopes = []
    for low, high in SLOPE_RANGES:
        rings = np.arange(low, high + 1)
        slopes.append(float(np.polyfit(np.log(rings), np.log(amplitude[rings]), 1)[0]))
    return slopes


def position_statistics(images: NDArray[np.uint8]) -> dict[str, float]:
    """How far brightness and detail of images (n, 224, 224, 3) depend on position: t values.

    Each image gives the regression coefficient of its brightness (or of its detail, the absolute
    difference of neighbours) on each position map; t is the mean coefficient over its standard
    error, so within about 3 of 0 where position and content are independent.
    """
    grey = images @ LUMA
    detail = np.zeros_like(grey)
    detail[:, :, 1:-1] += np.abs(grey[:, :, 2:] - grey[:, :, :-2])
    detail[:, 1:-1, :] += np.abs(grey[:, 2:, :] - grey[:, :-2, :])
    values = {}
    for name, maps in (("brightness", grey), ("detail", detail)):
        for pattern in ("H", "V", "G", "HS", "VS"):
            target = position_map(pattern)[1:-1, 1:-1]
            target = target - target.mean()
            slopes = (maps[:, 1:-1, 1:-1] * target).sum((1, 2)) / (target**2).sum()
            error = slopes.std(ddof=1) / np.sqrt(len(slopes))
            values[f"{name} on {pattern}"] = float(slopes.mean() / error)
    return values


def main() -> None:
    """Print the statistics."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    found = find_images(folder, folder, limit=None, seed=0, num_workers=2)
    sets = ("train", "test") if folder is None else ("train",)
    rows = [row for row, record in enumerate(found.records) if record.images in sets]
    images = np.stack([found.load(row) for row in rows])
    print(f"{len(images)} images")
    slopes = amplitude_slopes(images)
    for (low, high), slope in zip(SLOPE_RANGES, slopes, strict=True):
        print(f"amplitude spectrum, {low} to {high} cycles per image: exponent {slope:.2f}")
    print("mean of R, G, B:", images.mean((0, 1, 2)).round(1))
    print("standard deviation of R, G, B:", images.std((0, 1, 2)).round(1))
    print("within an image, on average:", images.std((1, 2)).mean(0).round(1))
    correlation = np.corrcoef(images.reshape(-1, 3).T)
    print(f"correlation RG, GB, RB: {correlation[0, 1]:.2f} {correlation[1, 2]:.2f}", end=" ")
    print(f"{correlation[0, 2]:.2f}")
    step = np.diff(images @ LUMA, axis=2)
    kurtosis = (step**4).mean() / (step**2).mean() ** 2
    print(f"steps between neighbours: deviation {step.std():.1f}, kurtosis {kurtosis:.1f}")
    print(f"levels of 0 and 255: {(images == 0).mean():.3f} {(images == 255).mean():.3f}")
    for name, value in position_statistics(images).items():
        print(f"t of {name}: {value:.1f}")


if __name__ == "__main__":
    main()
