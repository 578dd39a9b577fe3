"""Whether a head's score may be read as what the features carry."""

from __future__ import annotations

import numpy as np

from data.vocabulary import CONSTANT, CONVERGED, DIVERGED, FALLING

FALLING_SHARE = 0.05  # a loss that fell by more than this over its last fifth is still falling
CONSTANT_SHARE = 0.98  # a loss above this share of a constant map's is no better than a constant
DIVERGED_SHARE = 2.0  # a loss above this multiple of a constant map's went the wrong way


def convergence(losses: list[float], constant_loss: float) -> str:
    """The status of a head from its training losses, one per epoch.

    `constant_loss` is the loss of the best constant map: the variance of the target.
    `diverged`: not finite, or more than twice the constant's; `constant`: not 2 % better than the
    constant; `falling`: the mean of the last fifth of the epochs is more than 5 % below the mean
    of the fifth before; otherwise `converged`.
    """
    history = np.asarray(losses)
    if not np.isfinite(history).all() or history[-1] > DIVERGED_SHARE * constant_loss:
        return DIVERGED
    if history[-1] > CONSTANT_SHARE * constant_loss:
        return CONSTANT
    span = max(1, len(history) // 5)
    recent, before = history[-span:], history[-2 * span : -span]
    if not len(before) or recent.mean() < (1.0 - FALLING_SHARE) * before.mean():
        return FALLING
    return CONVERGED
