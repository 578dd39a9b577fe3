"""Finding the source of a backbone by the prefix of its name."""

from __future__ import annotations

from collections.abc import Callable

from extract.backbones.sources import module, timm, torchvision
from extract.backbones.sources.architecture import Architecture
from extract.backbones.table import TIMM_PREFIX

# (name, seed, pixels a side) -> the network, its own weights drawn from the seed.
Source = Callable[[str, int, int], Architecture]

_sources: dict[str, Source] = {TIMM_PREFIX: timm.build, module.PREFIX: module.build}


def add_source(prefix: str, source: Source) -> None:
    """Let `source` build every backbone whose name begins with `prefix`, such as `hub:`."""
    assert prefix.endswith(":"), "a prefix ends with a colon"
    _sources[prefix] = source


def build(name: str, *, seed: int, image_size: int) -> Architecture:
    """The architecture `name` with its source's own initialisation, drawn from `seed`.

    A name without a prefix is torchvision's. The global random state is left alone. `UserError`
    when the name is unknown, or the network cannot be built for images of `image_size` pixels.
    """
    prefix = name.partition(":")[0] + ":"
    return _sources.get(prefix, torchvision.build)(name, seed, image_size)
