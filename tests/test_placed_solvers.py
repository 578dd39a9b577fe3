"""Readings of pooled vectors, and the two solvers of them."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from probe.placed import readings, solvers
from probe.placed.lbfgs import minimise
from probe.placed.readings import READINGS, scored_rows, training_rows, without_rounding
from probe.placed.solvers import SOLVERS

CELLS, CHANNELS, PATCHES = 4, 12, 60


def vectors(seed: int = 0, place: float = 1.0) -> np.ndarray:
    """(patches, cells, channels): content, and the place in some channels."""
    draw = np.random.default_rng(seed)
    content = draw.normal(size=(PATCHES, 1, CHANNELS))
    where = draw.normal(size=(CELLS, CHANNELS))
    noise = 0.3 * draw.normal(size=(PATCHES, CELLS, CHANNELS))
    return (2 + 0.5 * content + place * where + noise).astype(np.float32)


def accuracy(reading: str, solver: str, given: np.ndarray, labels: np.ndarray) -> float:
    flat = without_rounding(given)
    parts = [
        (flat[a:b].reshape(-1, flat.shape[2]), labels[a:b].ravel())
        for a, b in ((0, 40), (40, 46), (46, 60))
    ]
    (train, known), (heldout, chosen), (test, wanted) = parts
    rows, targets = training_rows(reading, train, known, 0)
    seen = scored_rows(reading, heldout, 0)[0]
    head = SOLVERS[solver](rows, targets, seen, chosen, CELLS)
    return float(np.mean([head.hits(part, wanted) for part in scored_rows(reading, test, 0)]))


PLACES = np.broadcast_to(np.arange(CELLS), (PATCHES, CELLS))


@pytest.mark.parametrize("solver", SOLVERS)
def test_place_is_read_in_order_and_lost_in_a_random_order(solver):
    given = vectors()
    ordered = accuracy("ordered", solver, given, PLACES)
    assert ordered > 0.9
    assert accuracy("fixed", solver, given, PLACES) == ordered
    assert accuracy("mean", solver, given, PLACES) < ordered - 0.1


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_random_orders_leave_is_the_mean_of_the_channels(solver, monkeypatch):
    """In the limit of many orders: with 3 of 12 channels softmax regression is still behind."""
    monkeypatch.setattr(readings, "TRAIN_DRAWS", 40)
    mean, permuted = (
        np.mean([accuracy(reading, solver, vectors(seed), PLACES) for seed in range(5)])
        for reading in ("mean", "permuted")
    )
    assert abs(mean - permuted) < 0.06


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_without_a_place_everything_is_at_chance(reading, solver):
    still = np.repeat(vectors()[:, :1], CELLS, axis=1)
    rounded = still * (1 + 1e-8 * np.arange(CELLS)[None, :, None])
    assert accuracy(reading, solver, rounded, PLACES) == pytest.approx(1 / CELLS, abs=0.02)


@pytest.mark.parametrize("solver", SOLVERS)
def test_shuffled_labels_are_at_chance(solver):
    labels = np.random.default_rng(3).permuted(PLACES, axis=1)
    assert accuracy("ordered", solver, vectors(), labels) < 0.45


def test_softmax_is_the_optimum_of_its_loss(monkeypatch):
    monkeypatch.setattr(solvers, "DECAYS", (1e-2,))
    given = vectors(place=0.2).reshape(-1, CHANNELS).astype(np.float64)
    labels = PLACES.ravel().copy()
    head = solvers.fit_softmax(given, labels, given, labels, CELLS)
    columns = (given - given.mean(0)) / given.std(0)

    def loss(point):
        weights, bias = point[:-CELLS].reshape(CHANNELS, CELLS), point[-CELLS:]
        logits = torch.from_numpy(columns @ weights + bias)
        likelihood = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        return float(likelihood) + 1e-2 / 2 * (weights**2).sum()

    best = minimize(loss, np.zeros((CHANNELS + 1) * CELLS), method="L-BFGS-B")
    ours = np.concatenate([head.weights.numpy().ravel(), head.bias.numpy()])
    assert loss(ours) == pytest.approx(best.fun, rel=1e-4)


def test_exact_is_ridge_regression(monkeypatch):
    monkeypatch.setattr(solvers, "RIDGES", (1e-1,))
    given, labels = vectors().reshape(-1, CHANNELS).astype(np.float64), PLACES.ravel().copy()
    head = solvers.fit_exact(given, labels, given, labels, CELLS)
    columns = (given - given.mean(0)) / given.std(0)
    ridge = 1e-1 * len(columns) * np.eye(CHANNELS)
    target = np.eye(CELLS)[labels]
    expected = np.linalg.solve(columns.T @ columns + ridge, columns.T @ (target - target.mean(0)))
    np.testing.assert_allclose(head.weights, expected, atol=1e-10)


def test_many_functions_are_minimised_each_by_itself():
    middles = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    bends = torch.tensor([[1.0, 10.0, 100.0], [3.0, 3.0, 3.0]])

    def evaluate(points):
        away = points - middles
        return (bends * away**2).sum(1) + (away**4).sum(1), 2 * bends * away + 4 * away**3

    found = minimise(evaluate, torch.zeros(2, 3), tolerance=1e-6)
    torch.testing.assert_close(found, middles, atol=1e-3, rtol=0)
