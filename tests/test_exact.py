"""Exact readouts are the least-squares solution of the loss at full resolution."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from data.protocols import PROTOCOLS, exactly_solved, origin, without_sigmoid
from data.targets import PATTERNS
from probe.exact.gram import TILE, Columns, Gram, gram_bytes
from probe.exact.ridge import STRENGTHS, Readouts, Targets, choose_ridge, equations, solve
from probe.exact.solve import nested
from probe.heads.spec import HeadSpec
from probe.sgd.entry import Entry
from probe.sgd.fit import Split

CPU = torch.device("cpu")
PAPER = exactly_solved(PROTOCOLS["paper"]).training


def images(count: int, channels: int) -> torch.Tensor:
    """Features like a ReLU's, with position in two channels: (count, channels, 28, 28) float32."""
    generator = np.random.default_rng(count + 10 * channels)
    maps = generator.standard_normal((count, channels, 28, 28))
    maps[:, 0] += np.linspace(0, 3, 28)
    maps[:, -1] += np.linspace(2, 0, 28)[:, None]
    return torch.from_numpy(np.maximum(maps + 1, 0).astype(np.float16)).float()


def filled(
    features: torch.Tensor, columns: Columns, heldout: int, levels: dict[str, int] | None = None
) -> Gram:
    """The last `heldout` images in the held-out part, the others in the one to fit on."""
    gram = Gram(levels or {"f1": features.shape[1]}, columns)
    fit = len(features) - heldout
    for part, sums in ((features[:fit], gram.fit), (features[fit:], gram.heldout)):
        if len(part):
            gram.add(part.transpose(0, 1).flatten(1).contiguous(), sums)
    gram.mirror()
    return gram


def full_resolution(maps: torch.Tensor, resolution: int | None) -> torch.Tensor:
    """Outputs (N, H, n, n) as the loss sees them, by PyTorch's own upsampling."""
    if resolution is None:
        return maps
    return functional.interpolate(maps, (resolution, resolution), mode="bilinear")


def design_matrix(
    features: torch.Tensor, kernel_size: int, padding: int, resolution: int | None
) -> np.ndarray:
    """One column per weight, in the order of `nn.Conv2d`, and the bias: float64 at full size."""
    channels = features.shape[1]
    weights = channels * kernel_size**2
    basis = torch.eye(weights).double().view(weights, channels, kernel_size, kernel_size)
    outputs = functional.conv2d(features.double(), basis, padding=padding)
    outputs = torch.cat([outputs, torch.ones_like(outputs[:, :1])], dim=1)
    return full_resolution(outputs, resolution).transpose(0, 1).flatten(1).T.numpy()


def entries(kernel_size: int, padding: int, patterns=("H", "HS")) -> list[Entry]:
    specs = [HeadSpec(("f1",), kernel_size, 1, padding, pattern) for pattern in patterns]
    return [Entry(spec, 0.0, control) for spec in specs for control in (False, True)]


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
@pytest.mark.parametrize(("kernel_size", "channels"), [(1, 5), (3, 3), (5, 2), (7, 1)])
def test_solution_is_that_of_lstsq_at_full_resolution(kernel_size, channels, padding):
    features = images(2, channels)
    columns = Columns(kernel_size, padding, PAPER.resolution, CPU)
    gram = filled(features, columns, heldout=0)
    maps = np.stack([entry.target(PAPER) for entry in entries(kernel_size, padding)])
    fit = equations(gram, [gram.fit], Targets.of(maps, columns), None)
    ((strength, readouts),) = fit.path([1e-14])
    assert strength == 1e-14
    matrix = design_matrix(features, kernel_size, padding, PAPER.resolution)
    wanted = np.tile(maps.reshape(len(maps), -1), len(features)).T
    solution, _, rank, _ = scipy.linalg.lstsq(matrix, wanted, lapack_driver="gelsy")
    assert rank == matrix.shape[1]
    bias = (readouts.bias - fit.shift @ readouts.weights).numpy()
    ours = np.concatenate([readouts.weights.numpy(), bias[None]])
    np.testing.assert_allclose(ours, solution, atol=1e-6 * np.abs(solution).max())
    losses = np.square(matrix @ solution - wanted).mean(0)
    np.testing.assert_allclose(fit.losses(readouts), losses, rtol=1e-6, atol=1e-7)


def test_loss_at_the_heads_own_resolution():
    recipe = exactly_solved(PROTOCOLS["reproduction"]).training
    features = images(4, 3)
    columns = Columns(3, 0, recipe.resolution, CPU)
    gram = filled(features, columns, heldout=0)
    maps = np.stack([entry.target(recipe) for entry in entries(3, 0)])
    fit = equations(gram, [gram.fit], Targets.of(maps, columns), None)
    ((_, readouts),) = fit.path([1e-14])
    matrix = design_matrix(features, 3, 0, None)
    wanted = np.tile(maps.reshape(len(maps), -1), len(features)).T
    solution = scipy.linalg.lstsq(matrix, wanted)[0]
    np.testing.assert_allclose(readouts.weights, solution[:-1], atol=1e-6 * np.abs(solution).max())


@settings(max_examples=20, deadline=None)
@given(
    kernel_size=st.sampled_from([1, 3, 5, 7]),
    padding=st.integers(0, 3),
    channels=st.integers(1, 4),
    count=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_loss_of_any_weights_is_that_of_the_plain_head(kernel_size, padding, channels, count, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(count, channels, 28, 28, generator=generator)
    kernel = torch.randn(1, channels, kernel_size, kernel_size, generator=generator).double()
    offset = torch.randn(1, generator=generator).double()
    columns = Columns(kernel_size, padding, PAPER.resolution, CPU)
    gram = filled(features, columns, heldout=0)
    target = entries(kernel_size, padding, ("G",))[0].target(PAPER)
    fit = equations(gram, [gram.fit], Targets.of(target[None], columns), None)
    weights = kernel.reshape(-1, 1)
    ours = fit.losses(Readouts(weights, offset + fit.shift @ weights))
    output = functional.conv2d(features.double(), kernel, offset, padding=padding)
    error = full_resolution(output, PAPER.resolution)[:, 0] - torch.from_numpy(target)
    np.testing.assert_allclose(ours.item(), error.square().mean().item(), rtol=1e-5)


def test_ridge_is_the_one_that_the_held_out_images_prefer_and_all_images_solve():
    features = images(16, 3)
    columns = Columns(3, 1, PAPER.resolution, CPU)
    gram = filled(features, columns, heldout=2)
    maps = np.stack([entry.target(PAPER) for entry in entries(3, 1, PATTERNS)])
    targets = Targets.of(maps, columns)
    solution = solve(gram, targets)
    fit = equations(gram, [gram.fit], targets, None)
    heldout = equations(gram, [gram.heldout], targets, None)
    _, best = choose_ridge(fit, heldout)
    path = dict(fit.path(solution.ridge.tolist()))
    for head, strength in enumerate(solution.ridge.tolist()):
        # The loss of the chosen strength, by a plain forward pass over the held-out images.
        weights = path[strength].weights[:, head]
        bias = path[strength].bias[head] - fit.shift @ weights
        kernel = weights.view(1, 3, 3, 3)
        output = functional.conv2d(features[14:].double(), kernel, bias[None], padding=1)
        error = full_resolution(output, 224)[:, 0] - torch.from_numpy(maps[head])
        np.testing.assert_allclose(best[head], error.square().mean(), rtol=1e-6)
        losses = {s: float(heldout.losses(readouts)[head]) for s, readouts in fit.path(STRENGTHS)}
        assert strength == min(losses, key=losses.__getitem__)
        # All images solve with it, those that chose it too.
        whole = equations(gram, [gram.fit, gram.heldout], targets, None)
        ((_, readouts),) = whole.path([strength])
        again = readouts.weights[:, head].view(3, 3, 3)
        torch.testing.assert_close(solution.kernels[head], again)


def test_penalty_is_relative_to_the_mean_variance_of_a_level():
    features = images(16, 5)
    features[:, :2] *= 100.0  # of one level; the channels of the other differ in size
    features[:, 3] *= 0.1
    columns = Columns(3, 1, PAPER.resolution, CPU)
    gram = filled(features, columns, heldout=0, levels={"f1": 2, "f2": 3})
    maps = entries(3, 1, ("G",))[0].target(PAPER)[None]
    equation = equations(gram, [gram.fit], Targets.of(maps, columns), None)
    ((_, readouts),) = equation.path([0.03])
    # A ridge regression written out at full resolution, every level's columns scaled by hand.
    design = design_matrix(features, 3, 1, 224)
    matrix, ones = design[:, :-1], design[:, -1:]
    matrix = matrix - ones @ (ones.T @ matrix) / (ones.T @ ones)
    variances = np.square(matrix).sum(0)
    penalty = 0.03 * np.repeat([variances[:18].mean(), variances[18:].mean()], [18, 27])
    wanted = np.tile(maps[0].ravel(), 16)
    expected = np.linalg.solve(matrix.T @ matrix + np.diag(penalty), matrix.T @ wanted)
    ours = readouts.weights[:, 0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-6 * np.abs(expected).max())


def test_strengths_are_chosen_by_images_that_did_not_solve():
    features = images(16, 3)
    features[14:] = features[14:].flip(1)  # held-out images, which the fitted weights mislead
    columns = Columns(1, 0, PAPER.resolution, CPU)
    gram = filled(features, columns, heldout=2)
    targets = Targets.of(entries(1, 0, ("H",))[0].target(PAPER)[None], columns)
    assert solve(gram, targets).ridge.item() == max(STRENGTHS)


def test_constant_and_repeated_channels_do_no_harm():
    features = images(16, 4)
    features[:, 1] = 0.0
    features[:, 2] = features[:, 0]
    features[:, 3] = 7.0
    maps = entries(1, 0, ("H",))[0].target(PAPER)[None]
    columns = Columns(1, 0, PAPER.resolution, CPU)
    targets = Targets.of(maps, columns)
    solution = solve(filled(features, columns, heldout=2), targets)
    assert solution.kernels[0, 1].item() == solution.kernels[0, 3].item() == 0.0
    losses = []
    for shown in (features, features[:, :1]):
        gram = filled(shown, columns, heldout=2)
        fit = equations(gram, [gram.fit], targets, None)
        ((_, readouts),) = fit.path([1e-7])
        losses.append(fit.losses(readouts).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_sub_matrix_of_some_levels_is_their_own():
    levels = {"f1": 2, "f2": 3, "f3": 2}
    features = images(16, 7)
    columns = Columns(3, 0, PAPER.resolution, CPU)
    maps = np.stack([entry.target(PAPER) for entry in entries(3, 0)])
    targets = Targets.of(maps, columns)
    gram = filled(features, columns, heldout=2, levels=levels)
    part = solve(gram, targets, gram.index(("f1", "f3")))
    apart = features[:, [0, 1, 5, 6]]
    alone = solve(filled(apart, columns, heldout=2, levels={"f1": 2, "f3": 2}), targets)
    np.testing.assert_allclose(part.kernels, alone.kernels, rtol=1e-5, atol=1e-9)
    assert gram.index(("f1", "f2", "f3")) is None


def test_tiles_above_the_diagonal_are_filled():
    channels = TILE // 9 + 20
    columns = Columns(3, 0, PAPER.resolution, CPU)
    gram = filled(torch.rand(2, channels, 28, 28), columns, heldout=1)
    assert len(gram.fit.gram) > TILE
    torch.testing.assert_close(gram.fit.gram, gram.fit.gram.T, rtol=1e-6, atol=1e-6)
    assert gram_bytes(channels, 3, 0) > 2 * gram.fit.gram.nbytes


@given(count=st.integers(8, 300), stops=st.sets(st.integers(2, 299)))
def test_counts_are_nested_and_complete(count, stops):
    rows = np.arange(count)
    split = Split(rows[rows % 8 != 7], rows[rows % 8 == 7])
    counts = (*sorted(n for n in stops if n < count), count)
    parts = nested(split, counts)
    taken = [0, 0]
    for n, (fit, heldout) in zip(counts, parts, strict=True):
        taken = [taken[0] + len(fit), taken[1] + len(heldout)]
        assert sum(taken) == n
        assert min(taken) >= 1
    assert sorted(np.concatenate([fit for fit, _ in parts])) == split.train.tolist()
    assert sorted(np.concatenate([held for _, held in parts])) == split.heldout.tolist()


def test_control_target_is_the_pattern_scattered():
    for pattern in PATTERNS:
        plain, control = (
            Entry(HeadSpec(("f1",), 1, 1, 0, pattern), 0.0, flag) for flag in (False, True)
        )
        recipe = exactly_solved(PROTOCOLS["reproduction"]).training
        cells, scattered = plain.target(recipe), control.target(recipe)
        assert not np.array_equal(cells, scattered)
        np.testing.assert_array_equal(np.sort(cells.ravel()), np.sort(scattered.ravel()))
        np.testing.assert_array_equal(scattered, control.target(recipe))
        assert control.target(PAPER).shape == (224, 224)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_names_of_derived_protocols_lead_back_to_their_options(name):
    protocol = PROTOCOLS[name]
    assert origin(name) == (name, ())
    assert origin(exactly_solved(protocol).name) == (name, ("--solver", "exact"))
    assert origin(without_sigmoid(protocol).name) == (name, ("--linear",))
