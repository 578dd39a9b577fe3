"""Readings of pooled vectors, and the two solvers of them."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from probe.placed import solvers
from probe.placed.directions import Directions
from probe.placed.lbfgs import minimise
from probe.placed.names import READING_NAMES, SOLVER_NAMES
from probe.placed.read import Task, read_vectors
from probe.placed.readings import READINGS, permutation, without_rounding
from probe.placed.solvers import SOLVERS, Head, Part

CELLS, CHANNELS, PATCHES = 4, 12, 60
PLACES = np.broadcast_to(np.arange(CELLS), (PATCHES, CELLS))
SPLIT = np.repeat([0, 1, 2], [40, 6, 14])


def vectors(seed: int = 0, place: float = 1.0, channels: int = CHANNELS) -> np.ndarray:
    """(patches, cells, channels): content, and the place in some channels."""
    draw = np.random.default_rng(seed)
    content = draw.normal(size=(PATCHES, 1, channels))
    where = draw.normal(size=(CELLS, channels))
    noise = 0.3 * draw.normal(size=(PATCHES, CELLS, channels))
    return (2 + 0.5 * content + place * where + noise).astype(np.float32)


def accuracies(reading: str, solver: str, given: np.ndarray, labels=PLACES) -> np.ndarray:
    """(test patches, cells)."""
    task = Task("location", CELLS, labels, SPLIT)
    (found,) = read_vectors(without_rounding(given), [task], [reading], [solver], seed=0)
    return found.accuracy


def test_names_are_those_of_what_there_is():
    assert tuple(READINGS) == READING_NAMES
    assert tuple(SOLVERS) == SOLVER_NAMES


@pytest.mark.parametrize("solver", SOLVERS)
def test_place_is_read_in_order_and_lost_in_a_random_order(solver):
    given = vectors()
    ordered = accuracies("ordered", solver, given)
    assert ordered.mean() > 0.9
    np.testing.assert_array_equal(accuracies("fixed", solver, given), ordered)
    for lost in ("mean", "permuted"):
        assert accuracies(lost, solver, given).mean() < ordered.mean() - 0.1


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_random_orders_leave_is_the_mean_of_the_channels(solver):
    mean, permuted = (
        np.mean([accuracies(reading, solver, vectors(seed)).mean() for seed in range(5)])
        for reading in ("mean", "permuted")
    )
    assert abs(mean - permuted) < 0.06


def test_permuted_is_the_limit_of_ridge_regression_on_many_permutations():
    """The weights of PermuteNet's readout, a permutation for every image, at 4,000 of each."""
    given = vectors().reshape(-1, CHANNELS).astype(np.float64)
    labels, draws, ridge = PLACES.ravel(), 4000, 1e-2
    gram, products = np.zeros((CHANNELS, CHANNELS)), np.zeros((CHANNELS, CELLS))
    target = np.eye(CELLS)[labels] - 1 / CELLS
    mean, deviation = given.mean(), given.std()
    generator = np.random.default_rng(0)
    for _ in range(draws):
        shuffled = (generator.permuted(given, axis=1) - mean) / deviation
        gram += shuffled.T @ shuffled / (draws * len(given))
        products += shuffled.T @ target / (draws * len(given))
    expected = np.linalg.solve(gram + ridge * np.eye(CHANNELS), products)
    directions = Directions.of_every_order(given)
    rows = directions.rows(given).numpy()
    weights = rows.T @ target / len(given) / (directions.squares.numpy() + ridge)
    found = directions.axes.numpy() @ weights
    np.testing.assert_allclose(found, expected, atol=0.03 * abs(expected).max())


def test_the_permutations_of_a_test_are_different_and_those_of_the_seed():
    orders = {tuple(permutation(40, 0, draw)) for draw in range(READINGS["permuted"].draws)}
    assert len(orders) == 9
    assert tuple(permutation(40, 1, 0)) not in orders
    assert sorted(permutation(40, 0, 3)) == list(range(40))


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_without_a_place_every_patch_is_at_chance_exactly(reading, solver):
    still = np.repeat(vectors()[:, :1], CELLS, axis=1)
    rounded = still * (1 + 1e-8 * np.arange(CELLS)[None, :, None])
    found = accuracies(reading, solver, rounded)
    np.testing.assert_array_equal(found, 1 / CELLS)


@pytest.mark.parametrize("solver", SOLVERS)
def test_shuffled_labels_are_at_chance(solver):
    labels = np.random.default_rng(3).permuted(PLACES, axis=1)
    found = np.mean([accuracies("ordered", solver, vectors(s), labels).mean() for s in range(8)])
    assert found == pytest.approx(1 / CELLS, abs=0.08)  # two standard errors of 448 places


def test_equal_scores_share_what_is_read_right_whatever_their_last_bits():
    scores = torch.tensor([[1.0, 1.0 + 1e-15, 0.5]] * 3, dtype=torch.float64)
    head = Head(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    np.testing.assert_array_equal(head.credit(Part(scores, np.array([0, 1, 2]))), [0.5, 0.5, 0])


def split(given: np.ndarray) -> tuple[Directions, Part]:
    directions = Directions.of(given)
    return directions, Part(directions.rows(given), PLACES.ravel().copy())


def test_softmax_is_the_optimum_of_its_loss(monkeypatch):
    monkeypatch.setattr(solvers, "DECAYS", (1e-2,))
    given = vectors(place=0.2).reshape(-1, CHANNELS).astype(np.float64)
    directions, part = split(given)
    head = solvers.fit_softmax(directions, part, part, CELLS)
    columns = (given - given.mean(0)) / given.std(0)

    def loss(point):
        weights, bias = point[:-CELLS].reshape(CHANNELS, CELLS), point[-CELLS:]
        logits = torch.from_numpy(columns @ weights + bias)
        likelihood = torch.nn.functional.cross_entropy(logits, torch.from_numpy(part.labels))
        return float(likelihood) + 1e-2 / 2 * (weights**2).sum()

    best = minimize(loss, np.zeros((CHANNELS + 1) * CELLS), method="L-BFGS-B")
    weights = (directions.axes @ head.weights).numpy()
    assert loss(np.append(weights, head.bias.numpy())) == pytest.approx(best.fun, rel=1e-4)


@pytest.mark.parametrize("channels", [CHANNELS, 300])
def test_exact_is_ridge_regression(monkeypatch, channels):
    """Of fewer channels than images, and of more."""
    monkeypatch.setattr(solvers, "RIDGES", (1e-1,))
    given = vectors(channels=channels).reshape(-1, channels).astype(np.float64)
    directions, part = split(given)
    head = solvers.fit_exact(directions, part, part, CELLS)
    columns = (given - given.mean(0)) / given.std(0)
    ridge = 1e-1 * len(columns) * np.eye(channels)
    target = np.eye(CELLS)[part.labels]
    expected = np.linalg.solve(columns.T @ columns + ridge, columns.T @ (target - target.mean(0)))
    np.testing.assert_allclose(directions.axes @ head.weights, expected, atol=1e-9)


def test_many_functions_are_minimised_each_by_itself():
    middles = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    bends = torch.tensor([[1.0, 10.0, 100.0], [3.0, 3.0, 3.0]])
    evaluated = []

    def evaluate(which, points):
        evaluated.append(len(which))
        away = points - middles[which]
        bend = bends[which]
        return (bend * away**2).sum(1) + (away**4).sum(1), 2 * bend * away + 4 * away**3

    found = minimise(evaluate, torch.zeros(2, 3), tolerance=1e-6)
    torch.testing.assert_close(found, middles, atol=2e-3, rtol=0)
    assert set(evaluated) == {1, 2}  # what is done is left alone
