"""Levels of a few images, in memory instead of a cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.cache.identity import Identity
from data.images.image_set import open_set
from data.tools.device import find_device
from data.tools.errors import UserError
from extract.backbones.backbone import Backbone
from extract.compute import LevelComputer
from extract.shards.job import CPU_BATCH
from extract.shards.loading import load_batches


def compute_levels(
    backbone: Backbone, identity: Identity, images: Any, *, num_workers: int = 1
) -> Iterator[dict[str, NDArray[np.float16]]]:
    """Batches of level -> (B, C, 28, 28) float16, as a cache of `identity` would hold them.

    `images`: one set of what `open_images` takes. Raises `UserError` when one cannot be used.
    """
    found = open_set("images", images, image_size=identity.image_size, num_workers=num_workers)
    for bad in found.bad:
        raise UserError(f"image {bad.name}: {bad.reason}")
    computer = LevelComputer(
        backbone,
        identity.features,
        device=find_device("cpu" if identity.device == "cpu" else "auto"),
        precision=identity.precision,
        engine=identity.engine,
        batch_size=CPU_BATCH,
    )
    count = len(found)
    parts = [range(start, min(start + CPU_BATCH, count)) for start in range(0, count, CPU_BATCH)]
    with torch.no_grad():
        for batch in load_batches(
            found, parts, num_workers=num_workers, with_inputs=computer.reads_inputs
        ):
            yield computer(batch.images, batch.inputs).arrays()[0]
