from __future__ import annotations

import hashlib
import runpy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data.images.samples import _fallen_leaves, sample_image
from data.stream import Stream
from data.targets import position_map

BENCHMARK = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/sample_statistics.py"))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.stack([sample_image(index, 7) for index in range(192)])


@pytest.mark.parametrize(
    ("index", "seed", "size", "digest"),
    [
        (0, 0, 224, "4ba695124fcbab5c"),
        (319, 0, 224, "eaac82238f996e77"),
        (0, 1, 224, "8d2b50afd7e877b9"),
        (5, 123456789, 61, "252d111ab4d5455f"),
    ],
)
def test_samples_are_the_same_everywhere(index: int, seed: int, size: int, digest: str) -> None:
    image = sample_image(index, seed, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("size", [1, 2, 16, 300])
def test_any_size(size: int) -> None:
    assert sample_image(0, 0, size).shape == (size, size, 3)


def test_every_sample_is_another(images: NDArray[np.uint8]) -> None:
    assert len({image.tobytes() for image in images}) == len(images)
    other_seed = sample_image(0, 8)
    assert not np.array_equal(images[0], other_seed)
    assert images.std((1, 2, 3)).min() > 10  # none is nearly blank


def test_spectrum_falls_as_in_photographs(images: NDArray[np.uint8]) -> None:
    # Amplitude 1/f^1.2 is what the photographs of docs/samples.md gave with the same code.
    slopes = BENCHMARK["amplitude_slopes"](images)
    assert slopes[0] == pytest.approx(-1.22, abs=0.08)
    assert all(-1.5 < slope < -0.95 for slope in slopes[1:3])


def test_spectrum_slope_of_known_noise() -> None:
    # White noise is flat; divided by the frequency it falls as 1/f.
    noise = Stream(3).bytes((64, 224, 224, 3))
    assert BENCHMARK["amplitude_slopes"](noise)[0] == pytest.approx(0.0, abs=0.02)
    frequency = np.fft.fftfreq(224)
    amplitude = np.hypot(frequency, frequency[:, None])
    amplitude[0, 0] = np.inf
    spectrum = np.fft.fft2(noise[..., 0].astype(float)) / amplitude
    falling = np.repeat(np.fft.ifft2(spectrum).real[..., None], 3, axis=3)
    assert BENCHMARK["amplitude_slopes"](falling)[0] == pytest.approx(-1.0, abs=0.03)


def test_colours_go_together(images: NDArray[np.uint8]) -> None:
    correlation = np.corrcoef(images.reshape(-1, 3).T)
    assert correlation[0, 1] == pytest.approx(0.90, abs=0.05)
    assert correlation[1, 2] == pytest.approx(0.90, abs=0.05)
    assert correlation[0, 2] == pytest.approx(0.72, abs=0.08)
    assert ((images == 0) | (images == 255)).mean() < 0.05


def test_samples_carry_no_position(images: NDArray[np.uint8]) -> None:
    # Ten t values: one of them beyond 3.5 by chance once in 200 seeds, and the seed is fixed.
    values = BENCHMARK["position_statistics"](images)
    assert len(values) == 10
    assert max(abs(value) for value in values.values()) < 3.5


def test_a_trace_of_position_would_be_found(images: NDArray[np.uint8]) -> None:
    for pattern in ("H", "V", "G"):
        trace = (20.0 * position_map(pattern)[..., None]).astype(np.uint8)
        tainted = np.maximum(images, trace) - trace
        values = BENCHMARK["position_statistics"](tainted)
        assert abs(values[f"brightness on {pattern}"]) > 3.5


def test_the_border_looks_like_the_middle(images: NDArray[np.uint8]) -> None:
    grey = images @ np.array([0.299, 0.587, 0.114])
    step = np.abs(np.diff(grey, axis=2))  # (n, 224, 223): a seam or a padded blur would show here
    for values in (grey, step, np.abs(np.diff(grey, axis=1)).swapaxes(1, 2)):
        middle = values[:, 40:-40, 40:-40].mean((1, 2))
        for border in (values[:, :, 0], values[:, :, -1], values[:, 0], values[:, -1]):
            difference = border.mean(1) - middle
            error = difference.std(ddof=1) / np.sqrt(len(difference))
            assert abs(difference.mean()) < 4.0 * error


def test_the_mean_image_is_flat(images: NDArray[np.uint8]) -> None:
    # Every pixel has its own mean and standard error over the images; z beyond 5 is no chance.
    grey = images @ np.array([0.299, 0.587, 0.114])
    z = (grey.mean(0) - grey.mean()) / (grey.std(0, ddof=1) / np.sqrt(len(grey)))
    assert np.abs(z).max() < 5.0
    assert z.std() < 1.5


def test_uniform_numbers_are_uniform() -> None:
    numbers = np.sort(Stream(1, 2).uniform(-1.0, 3.0, 10_000))
    assert numbers[0] >= -1.0
    assert numbers[-1] < 3.0
    ideal = -1.0 + 4.0 * (np.arange(10_000) + 0.5) / 10_000
    assert np.abs(numbers - ideal).max() < 4.0 * 1.95 / 100  # Kolmogorov-Smirnov, p = 0.001


def test_bell_numbers_have_mean_0_and_variance_1() -> None:
    numbers = Stream(4).bell(40_000)
    assert abs(numbers.mean()) < 4.0 / 200
    assert numbers.var() == pytest.approx(1.0, abs=0.04)


def test_order_is_a_permutation() -> None:
    order = Stream(5).order(1000)
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, np.arange(1000))


def test_streams_of_other_keys_differ() -> None:
    first, second = Stream(0, 1).words(8), Stream(0, 2).words(8)
    assert not set(first.tolist()) & set(second.tolist())


def test_leaves_fall_as_far_out_as_they_reach_in() -> None:
    # Or the border would see fewer of them than the middle.
    leaves = _fallen_leaves(Stream(6), 224)
    determinant = leaves.a * leaves.c - leaves.b**2
    reach = np.sqrt(np.maximum(leaves.a, leaves.c) / determinant)
    for smallest in (1.0, 2.0, 4.0, 8.0):  # octaves of enough leaves to fill their square
        octave = (leaves.radius >= smallest) & (leaves.radius <= 2.0 * smallest)
        assert octave.sum() > 100
        for centres in (leaves.x[octave], leaves.y[octave]):
            assert -centres.min() > 0.85 * reach[octave].max()
            assert centres.max() - 224 > 0.85 * reach[octave].max()
