"""Backbones from code of one's own, `module:package.file:factory`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from torch import nn

from data.tools.errors import UserError
from extract.backbones.sources.architecture import TAP_RECIPES, Architecture, seeded

PREFIX = "module:"


def build(name: str, seed: int, image_size: int) -> Architecture:
    """The network that the factory returns, called without arguments.

    The factory may have an attribute `taps`, a tuple of one to five names of modules; --taps
    names others. Its weights are `own` as it returns them, `random` where `seed` drew them.
    """
    factory = _find(name)
    with seeded(seed):
        module = factory()
    if not isinstance(module, nn.Module):
        raise UserError(f"backbone {name!r} returns a {type(module).__name__}: return a nn.Module")

    def pretrained() -> NoReturn:
        raise UserError(
            f"weights 'imagenet' of {name} are not known here: use --weights own (as the factory "
            "returns it), random or FILE"
        )

    taps = tuple(getattr(factory, "taps", ()))
    return Architecture(
        module,
        taps=dict.fromkeys(TAP_RECIPES, taps),
        channels_last=False,
        pretrained=pretrained,
        has_own_weights=True,
    )


def _find(name: str) -> Callable[[], Any]:
    place, colon, attribute = name.removeprefix(PREFIX).partition(":")
    if not place or not colon or not attribute:
        raise UserError(f"backbone {name!r}: write module:package.file:factory")
    if os.getcwd() not in sys.path:  # where a command looks for modules is not where it was called
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(place), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"backbone {name!r} cannot be had ({error}): its file must be in the current folder "
            "or in PYTHONPATH"
        ) from error
    if not callable(found):
        raise UserError(f"backbone {name!r} is a {type(found).__name__}, not a factory")
    factory: Callable[[], Any] = found
    return factory
