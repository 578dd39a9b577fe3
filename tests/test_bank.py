"""A head from the bank is the same head trained alone, by plain PyTorch at full resolution."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from data.protocols import PROTOCOLS, TrainingRecipe
from data.targets import position_map
from probe.heads.dense import build_head
from probe.heads.spec import HeadSpec
from probe.sgd.bank import Bank
from probe.sgd.entry import Entry
from probe.sgd.products import TapProduct, as_maps, last_product, wide_product
from probe.sgd.whitening import whitening

LEVELS = {"input": 3, "f1": 5, "f2": 4}
ALL = ("f1", "f2")
SPECS = [
    HeadSpec(ALL, 3, 1, 0, "H"),
    HeadSpec(ALL, 3, 1, 0, "HS"),
    HeadSpec(ALL, 1, 1, 0, "G"),
    HeadSpec(ALL, 5, 1, 1, "VS"),
    HeadSpec(ALL, 3, 2, 0, "H"),
    HeadSpec(ALL, 3, 3, 1, "G"),
    HeadSpec(("f2",), 7, 1, 0, "V"),
    HeadSpec(("input", "f2"), 3, 1, 2, "H", seed=3),
]


def batches(steps: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(steps, size, sum(LEVELS.values()), 28, 28, generator=generator)
    ramp = torch.linspace(-1, 1, 28)
    noise[:, :, 4] += ramp  # something to read
    noise[:, :, 9] += ramp[:, None]
    return noise.relu()


def columns(batch: torch.Tensor) -> torch.Tensor:
    """(B, C, 28, 28) to the bank's (C, B * 784)."""
    return batch.transpose(0, 1).flatten(1).contiguous()


def read(batch: torch.Tensor, levels: tuple[str, ...]) -> torch.Tensor:
    parts = dict(zip(LEVELS, batch.split(list(LEVELS.values()), dim=1), strict=True))
    return torch.cat([parts[level] for level in levels], dim=1)


def slowest_rate(recipe: TrainingRecipe) -> float:
    return min(recipe.learning_rates)  # Adam's long steps amplify rounding


def train_alone(
    spec: HeadSpec, data: torch.Tensor, recipe: TrainingRecipe
) -> tuple[list[float], nn.Module]:
    """The ten-line loop: autograd, torch.optim, loss after upsampling to full resolution."""
    head = build_head(spec, data.shape[2], recipe)
    if recipe.conditioned and not recipe.sigmoid:
        norm = [layer for layer in head if isinstance(layer, nn.BatchNorm2d)][-1]
        target = position_map(spec.pattern, signed_stripes=recipe.signed_stripes)
        nn.init.constant_(norm.weight, float(target.std()))
        nn.init.constant_(norm.bias, float(target.mean()))
    rate = slowest_rate(recipe)
    optimizer: torch.optim.Optimizer = torch.optim.SGD(
        head.parameters(), rate, momentum=0.9, weight_decay=1e-4
    )
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(head.parameters(), rate, weight_decay=1e-4)
    losses = []
    for batch in data:
        output = head(batch)
        if recipe.resolution:
            output = functional.interpolate(output, (224, 224), mode="bilinear")
        target = position_map(
            spec.pattern,
            output.shape[-1],
            signed_stripes=recipe.signed_stripes,
            eight_bit=recipe.eight_bit_targets,
        )
        loss = (output - torch.from_numpy(target).float()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, head.eval()


def covariance(data: torch.Tensor) -> torch.Tensor:
    """Of the channels of (steps, B, C, 28, 28), over everything else."""
    return torch.from_numpy(np.cov(data.double().transpose(0, 2).flatten(1).numpy(), ddof=0))


@pytest.mark.parametrize("protocol", ["paper", "released", "reproduction", "tuned", "tuned-linear"])
def test_same_trajectory_as_a_plain_loop_for_50_steps(protocol):
    recipe = PROTOCOLS[protocol.removesuffix("-linear")].training
    recipe = replace(recipe, sigmoid=recipe.sigmoid and protocol != "tuned-linear")
    data = batches(50, 4)
    bank = Bank([Entry(spec, slowest_rate(recipe)) for spec in SPECS], LEVELS, recipe)
    if recipe.conditioned:
        bank.whiten(covariance(data))
    optimizer = bank.optimizer()
    trajectory = []
    for batch in data:
        losses = bank.losses(bank(columns(batch)))
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        trajectory.append(losses.detach())
    ours = torch.stack(trajectory).numpy()
    bank.eval()
    outputs = {}
    with torch.no_grad():
        for block, output in zip(bank.blocks, bank(columns(data[0])), strict=True):
            for index, entry in enumerate(block.entries):
                outputs[entry.spec] = output[:, index]
    heads = {entry.spec: head for entry, head in bank.heads()}
    for position, entry in enumerate(bank.entries):
        raw = torch.stack([read(batch, entry.spec.levels) for batch in data])
        matrix = torch.eye(raw.shape[2])
        if recipe.conditioned:  # the plain head sees features that are whitened beforehand
            matrix = whitening(covariance(raw), [slice(0, raw.shape[2])])
        seen = torch.einsum("dc,sbcyx->sbdyx", matrix, raw)
        losses, alone = train_alone(entry.spec, seen, recipe)
        np.testing.assert_allclose(ours[:, position], losses, rtol=1e-4, atol=1e-6)
        with torch.no_grad():
            expected = alone(seen[0])[:, 0]
            exported = heads[entry.spec](raw[0])[:, 0]
        # Evaluation mode: BatchNorm's running statistics took the same path.
        torch.testing.assert_close(outputs[entry.spec], expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(outputs[entry.spec], exported, rtol=1e-4, atol=1e-4)


SHAPES = {
    "kernel_size": st.sampled_from([1, 3, 5, 7]),
    "padding": st.integers(0, 3),
    "heads": st.integers(1, 3),
    "images": st.integers(1, 3),
    "channels": st.integers(1, 6),
}


@pytest.mark.parametrize("wide", [False, True])
@settings(max_examples=25, deadline=None)
@given(**SHAPES)
def test_first_products_are_convolutions(wide, kernel_size, padding, heads, images, channels):
    generator = torch.Generator().manual_seed(kernel_size + 10 * padding)
    features = torch.randn(images, channels, 28, 28, generator=generator)
    weight = torch.randn(heads, channels, kernel_size, kernel_size, generator=generator)
    rows = weight.permute(0, 2, 3, 1).reshape(-1, channels).clone().requires_grad_()
    if wide:
        ours = wide_product(as_maps(columns(features)), rows, kernel_size, padding)
    else:
        (ours,) = TapProduct.apply(columns(features), [(kernel_size, padding)], rows)
    weight.requires_grad_()
    expected = functional.conv2d(features, weight, padding=padding)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    gradient = torch.randn(ours.shape, generator=generator)
    ours.backward(gradient)
    expected.backward(gradient)
    same = weight.grad.permute(0, 2, 3, 1).reshape(rows.shape)
    torch.testing.assert_close(rows.grad, same, rtol=1e-4, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(**SHAPES, grid=st.integers(7, 12))
def test_the_last_product_is_a_grouped_convolution(
    kernel_size, padding, heads, images, channels, grid
):
    generator = torch.Generator().manual_seed(kernel_size + 10 * padding)
    maps = torch.randn(images, heads * channels, grid, grid, generator=generator)
    kernels = torch.randn(heads, channels, kernel_size, kernel_size, generator=generator)
    ours = [part.clone().requires_grad_() for part in (maps, kernels)]
    plain = [part.clone().requires_grad_() for part in (maps, kernels)]
    output = last_product(*ours, padding)
    expected = functional.conv2d(*plain, padding=padding, groups=heads)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
    gradient = torch.randn(output.shape, generator=generator)
    output.backward(gradient)
    expected.backward(gradient)
    for part, same in zip(ours, plain, strict=True):
        torch.testing.assert_close(part.grad, same.grad, rtol=1e-4, atol=1e-3)


def test_a_head_starts_alike_in_any_bank():
    recipe = PROTOCOLS["paper"].training
    alone = Bank([Entry(SPECS[4], 0.1)], LEVELS, recipe)
    together = Bank([Entry(spec, 0.1) for spec in SPECS], LEVELS, recipe)
    state = next(alone.heads())[1].state_dict()
    other = next(h for e, h in together.heads() if e.spec == SPECS[4]).state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)
    reseeded = build_head(replace(SPECS[4], seed=1), 9, recipe).state_dict()
    assert not torch.equal(state["0.weight"], reseeded["0.weight"])
