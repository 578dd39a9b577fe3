"""Limited-memory BFGS for many functions at once (Nocedal and Wright 2006, algorithm 7.4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MEMORY = 10  # pairs of steps and changes of the gradient
SUFFICIENT = 1e-4  # share of the decrease that the slope promises (Armijo)
HALVINGS = 20

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]


def minimise(
    evaluate: Evaluate, start: Tensor, *, steps: int = 60, tolerance: float = 1e-4
) -> Tensor:
    """Points (S, p) at which each of S functions is least, or where the steps ended.

    `evaluate` gives their values (S,) and gradients (S, p) at points (S, p). A function stands
    still once its gradient is `tolerance` of that at the start, or no step lowers it any more.
    """
    points = start
    values, gradients = evaluate(points)
    small = tolerance * gradients.norm(dim=1)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(steps):
        active = gradients.norm(dim=1) > small
        if not active.any():
            break
        direction = -_newton(gradients, pairs)
        found, found_values, found_gradients = _lowered(
            evaluate, points, direction, active, values, (direction * gradients).sum(1)
        )
        if torch.equal(found, points):
            break
        step, change = found - points, found_gradients - gradients
        curvature = (step * change).sum(1)
        usable = curvature > 1e-12
        pairs.append((step, change, torch.where(usable, curvature.reciprocal(), 0.0)))
        del pairs[:-MEMORY]
        points, values, gradients = found, found_values, found_gradients
    return points


def _lowered(
    evaluate: Evaluate,
    points: Tensor,
    direction: Tensor,
    active: Tensor,
    values: Tensor,
    slopes: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Points, values and gradients after a step that lowers every active function enough.

    The step is halved for each function by itself, and is zero for those that no step lowers.
    """
    length = active.to(points.dtype)
    for _ in range(HALVINGS):
        found = points + length[:, None] * direction
        found_values, gradients = evaluate(found)
        good = found_values <= values + SUFFICIENT * length * slopes
        if good.all():
            return found, found_values, gradients
        length = torch.where(good, length, length / 2)
    found = points + torch.where(good, length, 0.0)[:, None] * direction
    return found, *evaluate(found)


def _newton(gradients: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The two-loop recursion; a pair of weight 0 leaves its function alone."""
    direction, shares = gradients, []
    for step, change, weight in reversed(pairs):
        share = weight * (step * direction).sum(1)
        direction = direction - share[:, None] * change
        shares.append(share)
    if pairs:
        _, change, weight = pairs[-1]
        squares = change.square().sum(1)
        scale = torch.where(weight > 0, 1 / (weight * squares).clamp(min=1e-30), 1.0)
        direction = scale[:, None] * direction
    for (step, change, weight), share in zip(pairs, reversed(shares), strict=True):
        again = weight * (change * direction).sum(1)
        direction = direction + (share - again)[:, None] * step
    return direction
