"""Limited-memory BFGS for many functions at once (Nocedal and Wright 2006, algorithm 7.4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

MEMORY = 10  # pairs of steps and changes of the gradient
SUFFICIENT = 1e-4  # share of the decrease that the slope promises (Armijo)
HALVINGS = 10
ROUNDING = 1e-6  # share of a value, of float32, that is no change of it
LEAST = 1e-6  # gradient that is rounding, where values and curvatures are about 1

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def minimise(
    evaluate: Evaluate, start: Tensor, *, steps: int = 60, tolerance: float = 1e-4
) -> Tensor:
    """Points (S, p) at which each of S functions is least, or where the steps ended.

    `evaluate` is given the numbers (s,) of some of the functions and points (s, p), and gives
    their values (s,) and gradients (s, p). A function is done, and evaluated no more, once its
    gradient is `tolerance` of that at the start, or nothing, or no step lowers it by more than
    rounding does.
    """
    best, going = start.clone(), torch.arange(len(start))
    points = start
    values, gradients = evaluate(going, points)
    small = (tolerance * gradients.norm(dim=1)).clamp(min=LEAST)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(steps if (gradients.norm(dim=1) > small).any() else 0):
        direction = -_newton(gradients, pairs)
        found, found_values, found_gradients = _lowered(
            partial(evaluate, going), points, direction, values, gradients
        )
        best[going] = found
        step, change = found - points, found_gradients - gradients
        curvature = (step * change).sum(1)
        pairs.append((step, change, torch.where(curvature > 1e-12, 1 / curvature, 0.0)))
        del pairs[:-MEMORY]
        lowered = found_values < values - ROUNDING * values.abs()
        points, values, gradients = found, found_values, found_gradients
        more = lowered & (gradients.norm(dim=1) > small)
        if not more.any():
            break
        if not more.all():
            going, small = going[more], small[more]
            points, values, gradients = points[more], values[more], gradients[more]
            pairs = [(step[more], change[more], weight[more]) for step, change, weight in pairs]
    return best


def _lowered(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    points: Tensor,
    direction: Tensor,
    values: Tensor,
    gradients: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Points, values and gradients after a step that lowers every function enough.

    The step is halved for each function by itself, and is zero for those that no step lowers.
    """
    slopes = (direction * gradients).sum(1)
    length = torch.ones_like(values)
    for _ in range(HALVINGS):
        found = points + length[:, None] * direction
        found_values, found_gradients = evaluate(found)
        limit = values + SUFFICIENT * length * slopes + ROUNDING * values.abs()
        good = found_values <= limit
        if good.all():
            return found, found_values, found_gradients
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
