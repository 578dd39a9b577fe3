"""Scores of channels, and what is left of a readout without them."""

import numpy as np
import pandas as pd
import pytest
import torch
from caches import CHANNELS, make_cache
from scipy.stats import f_oneway
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from data.channels.flips import flip_scores, with_null
from data.channels.spread import Places, Spread, place_scores
from data.protocols import exactly_solved, find_protocol
from data.targets import PATTERNS, position_map
from data.tools.errors import UserError
from probe.channels.ablation import ALONE, DRAWS, KEPT, RESOLVED, ablations
from probe.channels.dense import MapReadout
from probe.channels.location import LocationReadout, Part
from probe.config import ProbeConfig
from probe.placed.solvers import RIDGES
from probe.train import load_head, train_probes

NINE = Places([divmod(cell, 3) for cell in range(9)], 3)


def placed_vectors(patches: int = 24, channels: int = 6, seed: int = 0) -> np.ndarray:
    """(patches, 9, C): channel 0 knows the row, 1 the column, 2 the ring, the rest nothing."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((patches, 9, channels))
    rows, columns = np.array(NINE.cells).T
    for channel, of_place in enumerate((rows, columns, NINE.rings)):
        vectors[..., channel] += 4.0 * of_place
    return vectors


@pytest.mark.parametrize("name", ["eta", "eta_row", "eta_column", "eta_ring"])
def test_eta_squared_is_that_of_an_analysis_of_variance(name: str):
    vectors = placed_vectors()
    groups = NINE.groups[name]
    found = place_scores(Spread.of(vectors), NINE)[name]
    for channel, value in enumerate(found):
        samples = [vectors[:, groups == g, channel].ravel() for g in np.unique(groups)]
        between, within = len(samples) - 1, vectors.shape[0] * 9 - len(samples)
        ratio = f_oneway(*samples).statistic * between
        assert value == pytest.approx(ratio / (ratio + within), abs=1e-12)


def test_scores_name_the_channels_that_know_row_column_and_ring():
    scores = place_scores(Spread.of(placed_vectors()), NINE)
    assert [scores[name].argmax() for name in ("eta_row", "eta_column", "eta_ring")] == [0, 1, 2]
    assert scores["bottom"].argmax() == 0
    assert scores["top"].argmin() == 0
    assert scores["right"].argmax() == 1
    assert scores["left"].argmin() == 1
    assert scores["centre"].argmax() == 2


def test_a_region_is_compared_with_the_rest_in_deviations_within_a_patch():
    vectors = np.arange(18.0).reshape(2, 9, 1)  # cells 0 to 8 of patch 0, 9 to 17 of patch 1
    left = place_scores(Spread.of(vectors), NINE)["left"]
    # Left: cells 0, 3, 6, mean 3 (and 12); the others: mean 4.5 (and 13.5).
    assert left == pytest.approx([-1.5 / np.std(np.arange(9.0))])


def test_a_channel_that_never_changes_says_nothing_and_two_corners_have_no_centre():
    corners = Places([(0, 0), (1, 1)], 2)
    scores = place_scores(Spread.of(np.ones((4, 2, 1))), corners)
    assert scores["eta"] == scores["left"] == 0
    assert np.isnan(scores["centre"]).all()


def test_flips_and_their_null():
    images = np.array([[1.0, 2.0], [3.0, 5.0]])
    mirrored = np.array([[2.0, 2.0], [1.0, 4.0]])
    scores = flip_scores(images, mirrored)
    assert scores["flip"].tolist() == [1.5, 0.5]
    assert scores["flip_signed"].tolist() == [0.5, 0.5]
    null = flip_scores(images, images + 0.25)
    assert with_null(scores, null)["flip_corrected"].tolist() == [1.25, 0.25]


def split_parts(vectors: np.ndarray) -> tuple[Part, Part, Part]:
    return Part.of(vectors[:14]), Part.of(vectors[14:18]), Part.of(vectors[18:])


def accuracy(train: Part, heldout: Part, test: Part, seen: np.ndarray | None = None) -> float:
    """Of scikit-learn's ridge on standardised columns, chosen on held-out patches."""
    scaler = StandardScaler().fit(train.vectors)
    columns, wanted = scaler.transform(train.vectors), np.eye(9)[train.cells]
    heads = [Ridge(alpha=r * len(columns)).fit(columns, wanted) for r in RIDGES]
    errors = [
        np.square(head.predict(scaler.transform(heldout.vectors)) - np.eye(9)[heldout.cells]).mean()
        for head in heads
    ]
    best = heads[int(np.argmin(errors))]
    found = best.predict(scaler.transform(test.vectors if seen is None else seen))
    return float((found.argmax(1) == test.cells).mean())


@pytest.mark.parametrize("channels", [[0, 1, 2, 3, 4, 5], [0, 2, 5], [4], []])
def test_solving_some_channels_is_solving_them_alone(channels: list[int]):
    train, heldout, test = split_parts(placed_vectors())
    readout = LocationReadout(train, heldout, test, fill="mean")
    index = np.array(channels, np.int64)
    expected = 1 / 9
    if channels:
        parts = [Part(part.vectors[:, index], part.cells) for part in (train, heldout, test)]
        expected = accuracy(*parts)
    assert readout.solved(index) == pytest.approx([expected])


@pytest.mark.parametrize("fill", ["mean", "zero"])
def test_a_kept_head_sees_removed_channels_filled_in(fill: str):
    train, heldout, test = split_parts(placed_vectors())
    vectors = test.vectors.copy()
    vectors[:, [1, 4]] = train.vectors.mean(0)[[1, 4]] if fill == "mean" else 0.0
    readout = LocationReadout(train, heldout, test, fill=fill)
    whole = accuracy(train, heldout, test)
    assert readout.kept(np.array([1, 4])) == pytest.approx(accuracy(train, heldout, test, vectors))
    assert readout.kept(np.array([], np.int64)) == pytest.approx(whole)


def test_top_channels_are_missed_more_than_random_ones_and_suffice():
    parts = split_parts(placed_vectors(patches=60, channels=40))
    readout = LocationReadout(*parts, fill="mean")
    eta = place_scores(Spread.of(placed_vectors(patches=60, channels=40)), NINE)["eta"]
    rows = list(ablations(readout, np.argsort(-eta), (0, 3), seed=0))
    assert [(row.ablated, row.head) for row in rows] == [
        (0, KEPT),
        (3, KEPT),
        (3, RESOLVED),
        (3, ALONE),
    ]
    whole, kept, resolved, alone = rows
    assert whole.value == pytest.approx(whole.random)
    assert kept.value < kept.random - 3 * kept.random_sd
    assert resolved.value < 0.3  # nobody else knows the place
    assert alone.value > 0.4 > 0.25 > alone.random  # ridge reads the middle cells badly
    assert list(ablations(readout, np.argsort(-eta), (0, 3), seed=0)) == rows


def test_removing_every_channel_is_refused():
    readout = LocationReadout(*split_parts(placed_vectors()), fill="mean")
    with pytest.raises(UserError, match="--ablate 6: the level has 6 channels"):
        list(ablations(readout, np.arange(6), (6,), seed=0))


def test_without_a_border_every_head_is_at_chance():
    vectors = np.repeat(placed_vectors()[:, :1], 9, axis=1)
    readout = LocationReadout(*split_parts(vectors), fill="mean")
    rows = ablations(readout, np.arange(6), (0, 2, 4), seed=0)
    for row in rows:
        assert (row.value, row.random) == pytest.approx((1 / 9, 1 / 9), abs=1e-12)


def test_random_draws_are_ten():
    assert DRAWS == 10


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("dense")
    cache = make_cache(folder)
    train_probes(
        ProbeConfig(
            cache_dir=folder,
            results_dir=folder / "results",
            solver="exact",
            levels=("f1",),
            kernel_size=(1,),
        )
    )
    return folder, cache


def explained(folder, cache, channels, fill: str) -> list[float]:
    """R2 of the exact heads on test images whose channels are filled in, by a forward pass."""
    features = torch.from_numpy(cache.read("f1", cache.rows("test"))).double()
    train = torch.from_numpy(cache.read("f1", cache.rows("train"))).double()
    for channel in channels:
        features[:, channel] = train[:, channel].mean() if fill == "mean" else 0.0
    (run,) = (folder / "results").glob("vgg16*")
    scores = pd.read_csv(run / "scores.csv")
    values = []
    for pattern in PATTERNS:
        (name,) = scores[(scores["pattern"] == pattern) & (scores["images"] == "test")]["head"]
        head = load_head(folder / "results", run.name, name).double()
        maps = functional.interpolate(
            head(features).detach(), size=(224, 224), mode="bilinear", align_corners=False
        )[:, 0]
        target = torch.from_numpy(position_map(pattern, 224, signed_stripes=True))
        values.append(1 - float((maps - target).square().mean() / target.var(correction=0)))
    return values


@pytest.mark.parametrize(("channels", "fill"), [([], "mean"), ([0, 3], "mean"), ([1], "zero")])
def test_a_kept_map_readout_is_a_forward_pass(dense, channels: list[int], fill: str):
    folder, cache = dense
    recipe = exactly_solved(find_protocol("paper")).training
    readout = MapReadout(cache, "f1", recipe, fill=fill, device=torch.device("cpu"))
    found = readout.kept(np.array(channels, np.int64))
    # Heads are stored in single precision.
    assert found == pytest.approx(explained(folder, cache, channels, fill), abs=2e-4)


def test_the_channels_that_hold_the_maps_carry_the_map_readout(dense):
    _, cache = dense
    recipe = exactly_solved(find_protocol("paper")).training
    readout = MapReadout(cache, "f1", recipe, fill="mean", device=torch.device("cpu"))
    assert readout.channels == CHANNELS["f1"]
    three = readout.solved(np.array([0, 1, 2]))  # x, y and a bell by design
    assert three[:3] == pytest.approx(readout.kept(np.array([], np.int64))[:3], abs=0.02)
    others = readout.solved(np.array([3, 4, 5]))
    assert (others[:3] < 0.1).all()
    rows = readout.spread
    maps = cache.read("f1", cache.rows("train")).astype(np.float64).transpose(0, 2, 3, 1)
    expected = Spread.of(maps.reshape(len(maps), -1, CHANNELS["f1"]))
    assert rows.means == pytest.approx(expected.means)
    assert rows.total == pytest.approx(expected.total)
    assert rows.within == pytest.approx(expected.within)
