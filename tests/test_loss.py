"""The low-resolution loss equals the loss of the upsampled map."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from data.protocols import PROTOCOLS
from data.targets import PATTERNS, position_map
from probe.loss import MapLoss, scored_target
from probe.sgd.convergence import convergence


@pytest.mark.parametrize("size", [1, 10, 22, 26, 28, 30])
@pytest.mark.parametrize("protocol", ["paper", "released"])
def test_equals_the_loss_at_224(size, protocol):
    recipe = PROTOCOLS[protocol].training
    outputs = torch.rand(3, 5, size, size, dtype=torch.float64, requires_grad=True)
    maps = np.stack([scored_target(pattern, size, recipe) for pattern in PATTERNS])
    ours = MapLoss(size, maps).double()(outputs)
    upsampled = interpolate(outputs, (224, 224), mode="bilinear")
    signed = recipe.signed_stripes
    targets = np.stack([position_map(pattern, signed_stripes=signed) for pattern in PATTERNS])
    expected = (upsampled - torch.from_numpy(targets)).square().mean((0, 2, 3))
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)  # buffers are float32
    (a,) = torch.autograd.grad(ours.sum(), outputs, retain_graph=True)
    (b,) = torch.autograd.grad(expected.sum(), outputs)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-9)


def test_reproduction_scores_at_the_output_size():
    recipe = PROTOCOLS["reproduction"].training
    loss = MapLoss(26, scored_target("H", 26, recipe)[None])
    target = torch.from_numpy(position_map("H", 26, eight_bit=True)).float()
    assert loss(target[None, None]).item() == pytest.approx(0, abs=1e-7)
    assert loss(target[None, None] + 0.5).item() == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    ("losses", "status"),
    [
        ([0.08, 0.05, 0.02, 0.011, 0.0101, 0.01, 0.01, 0.01, 0.01, 0.01], "converged"),
        ([0.08, 0.07, 0.06, 0.055, 0.05, 0.045, 0.04, 0.035, 0.03, 0.025], "falling"),
        ([0.08, 0.2, 0.5, 0.9], "diverged"),
        ([0.08, float("nan")], "diverged"),
        ([0.09, 0.084, 0.0839, 0.0838], "constant"),
        ([0.02], "falling"),
    ],
)
def test_status_of_a_head(losses, status):
    assert convergence(losses, constant_loss=0.084) == status
