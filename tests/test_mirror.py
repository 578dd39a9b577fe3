"""Position in a mirror: shares worked out by hand, and networks that are known to be symmetric."""

from pathlib import Path

import numpy as np
import pytest
import torch
from caches import make_cache, write_cache
from PIL import Image
from torch.nn import functional

from data.images.mirrors import MIRRORS, mirrored_sets
from data.images.source import ImageRecord
from data.targets import position_map
from data.tools.errors import UserError
from probe.exact.mirror import (
    MIRROR_AXES,
    PARTS,
    asymmetry,
    neighbourhood_share,
    position_shares,
    read_mirrored,
)

IMAGES, SIZE = 9, 8


def closed_images(seed: int = 0) -> np.ndarray:
    """Noise images with all their mirror images, (2, 2, N, 3, n, n)."""
    images = np.random.default_rng(seed).standard_normal((IMAGES, 3, SIZE, SIZE))
    return np.stack([[images, images[..., ::-1]], [images[..., ::-1, :], images[..., ::-1, ::-1]]])


def network(symmetric: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Features of two zero-padded layers, whose kernels are symmetric along the axes given."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.from_numpy(closed_images()).float().flatten(0, 2)
    for channels in (3, 6):
        kernel = torch.randn((6, channels, 3, 3), generator=generator)
        for axis in symmetric:
            kernel = (kernel + kernel.flip(axis)) / 2
        maps = functional.conv2d(maps, kernel, padding=1).relu()
    return maps.unflatten(0, (2, 2, IMAGES)).numpy()


def test_shares_by_hand():
    ramp = np.linspace(-1, 1, SIZE)
    along_x, along_y = np.meshgrid(ramp, ramp)
    bump = along_x**2 - np.mean(ramp**2)
    signal = np.stack([3 * along_x + 5, 2 * along_y, along_x * along_y, bump])
    features = np.broadcast_to(signal, (2, 2, IMAGES, *signal.shape))
    energies = np.array([np.square(m).sum() for m in (bump, 3 * along_x, 2 * along_y, signal[2])])
    shares = position_shares(features)
    assert shares.shape == (IMAGES, len(PARTS))
    np.testing.assert_allclose(shares, np.tile(energies / energies.sum(), (IMAGES, 1)), rtol=1e-9)


@pytest.mark.parametrize(("pattern", "part"), [("H", 1), ("VS", 1), ("V", 2), ("HS", 2), ("G", 0)])
def test_every_pattern_is_of_one_part(pattern: str, part: int):
    one = position_map(pattern, SIZE, signed_stripes=True)[None]
    shares = position_shares(np.broadcast_to(one, (2, 2, IMAGES, 1, SIZE, SIZE)))
    assert shares[0, part] == pytest.approx(1)


def test_noise_of_single_images_adds_nothing_to_the_shares():
    # A weak ramp along y and noise without any preference, which a plain mean would count.
    generator = np.random.default_rng(1)
    ramp = np.linspace(-1, 1, SIZE)[:, None] * np.ones(SIZE)
    noise = 2 * generator.standard_normal((2, 2, 400, 4, SIZE, SIZE))
    shares = position_shares(noise + 0.3 * ramp)
    mean, error = shares.mean(0), shares.std(0, ddof=1) / np.sqrt(400)
    assert np.abs(mean - [0, 0, 1, 0]).max() < 0.1
    assert (np.abs(mean - [0, 0, 1, 0]) < 4 * error).all()
    assert shares.sum(1) == pytest.approx(np.ones(400))


def test_symmetric_kernels_leave_nothing_odd():
    features = network(symmetric=(-1,))
    shares = position_shares(features).mean(0)
    assert shares[1] == pytest.approx(0, abs=1e-9)
    assert shares[3] == pytest.approx(0, abs=1e-9)
    assert shares[2] > 0.05
    assert asymmetry(features, "left-right").mean() == pytest.approx(0, abs=1e-9)
    assert asymmetry(features, "up-down").mean() > 0.05
    turned = network(symmetric=(-2,))
    assert position_shares(turned).mean(0)[2] == pytest.approx(0, abs=1e-9)
    assert asymmetry(turned, "up-down").mean() == pytest.approx(0, abs=1e-9)
    both = network(symmetric=(-1, -2))
    assert position_shares(both).mean(0) == pytest.approx([1, 0, 0, 0], abs=1e-9)


def test_asymmetry_of_unrelated_maps_is_a_half():
    maps = np.random.default_rng(2).standard_normal((2, 2, 50, 8, SIZE, SIZE))
    assert asymmetry(maps, "left-right").mean() == pytest.approx(0.5, abs=0.02)
    assert asymmetry(maps, "up-down").mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("mirror", "pattern"), [("left-right", "H"), ("up-down", "V")])
def test_the_covariance_of_a_readout_is_that_of_its_two_halves(mirror: str, pattern: str):
    features = torch.from_numpy(network(symmetric=())).double()
    kernel = np.random.default_rng(3).standard_normal((6, 3, 3))
    target = position_map(pattern, SIZE - 2, signed_stripes=True) - 0.5
    group, axis = MIRROR_AXES[mirror]
    aligned = features.flip((group, axis))
    even, odd = (features + aligned) / 2, (features - aligned) / 2
    weights = torch.from_numpy(kernel)[None]

    def covariance(maps: torch.Tensor, sign: int) -> float:
        part = (weights + sign * weights.flip(axis)) / 2
        read = functional.conv2d(maps.flatten(0, 2), part)
        return float((read * torch.from_numpy(target)).sum())

    pointwise, neighbours = covariance(odd, 1), covariance(even, -1)
    whole = functional.conv2d(features.flatten(0, 2), weights)
    assert pointwise + neighbours == pytest.approx(float((whole * torch.from_numpy(target)).sum()))
    # With the pseudo-values of an estimate that is a ratio, only all images together are exact.
    one = np.repeat(features[:, :, :1].numpy(), IMAGES, axis=2)
    shares = neighbourhood_share(features.numpy(), kernel, target, mirror)
    assert shares.shape == (IMAGES,)
    first = [covariance(half[:, :, :1], sign) for half, sign in ((odd, 1), (even, -1))]
    expected = first[1] / sum(first)
    assert neighbourhood_share(one, kernel, target, mirror) == pytest.approx(np.full(9, expected))


def test_one_cell_has_no_neighbours_and_a_symmetric_code_nothing_else():
    target = position_map("H", SIZE, signed_stripes=True)
    pointwise = np.random.default_rng(4).standard_normal((6, 1, 1))
    share = neighbourhood_share(network(symmetric=()), pointwise, target, "left-right")
    np.testing.assert_allclose(share, 0, atol=1e-12)
    kernel = np.random.default_rng(5).standard_normal((6, 3, 3))
    target = position_map("H", SIZE - 2, signed_stripes=True)
    share = neighbourhood_share(network(symmetric=(-1,)), kernel, target, "left-right")
    np.testing.assert_allclose(share.mean(), 1, atol=1e-4)


def test_images_and_their_mirror_images(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / f"{number}.png")
    sets = mirrored_sets(tmp_path, limit=2, image_size=16)
    assert list(sets) == list(MIRRORS)
    assert [list(images) for images in sets.values()] == [["0.png", "1.png"]] * 4
    image = sets["test"]["1.png"]
    expected = Image.fromarray(pixels[1]).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image, np.asarray(expected))
    np.testing.assert_array_equal(sets["left-right"]["1.png"], image[:, ::-1])
    np.testing.assert_array_equal(sets["up-down"]["1.png"], image[::-1])
    np.testing.assert_array_equal(sets["turned"]["1.png"], image[::-1, ::-1])


def test_features_are_read_image_by_image_with_their_mirrors(tmp_path: Path):
    identity = make_cache(tmp_path / "any", train=2).identity
    records = [ImageRecord(f"{n}.png", s, f"{s}{n}") for s in ("train", *MIRRORS) for n in range(2)]
    values = np.arange(10, dtype=np.float16)[:, None, None, None] * np.ones((1, 2, 28, 28))
    cache = write_cache(tmp_path / "mirrored", identity, records, {"f1": values.astype(np.float16)})
    found = read_mirrored(cache, "f1")
    assert found.shape == (2, 2, 2, 2, 28, 28)
    assert found[..., 0, 0, 0].tolist() == [[[2, 3], [4, 5]], [[6, 7], [8, 9]]]
    with pytest.raises(UserError, match=r"no images with their mirror images.*left-right"):
        read_mirrored(make_cache(tmp_path / "plain"), "f1")
    swapped = [*records[:4], records[5], records[4], *records[6:]]
    cache = write_cache(tmp_path / "s", identity, swapped, {"f1": values.astype(np.float16)})
    with pytest.raises(UserError, match="no images with their mirror images"):
        read_mirrored(cache, "f1")
