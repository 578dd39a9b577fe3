"""Statistics of untrained BatchNorms: estimated once, kept beside the cache, used by every job."""

from __future__ import annotations

from pathlib import Path

import torch

from data.cache.identity import Calibration
from data.cache.members import CALIBRATION
from data.images.study import ImageSet
from data.tools.errors import UserError
from data.tools.files import sha256_of
from data.tools.hdf5 import open_hdf5, writing_hdf5
from extract.backbones.backbone import Backbone, calibrate
from extract.loading import load_batches

IMAGES = 64  # the first training images, in order
BATCH_SIZE = 16


def write_calibration(
    folder: Path,
    backbone: Backbone,
    images: ImageSet,
    *,
    normalization: str,
    num_workers: int,
) -> Calibration:
    """Calibrate `backbone` in place and keep its statistics in the folder; what was done.

    On the CPU and in fp32 whatever the device, so that it depends on as little as possible.
    """
    rows = [row for row, record in enumerate(images.records) if record.images == "train"][:IMAGES]
    if not rows:
        raise UserError(
            f"{backbone.name} with random weights needs training images to estimate the "
            "statistics of its BatchNorm layers, and there is none: see --train"
        )
    starts = range(rows[0], rows[-1] + 1, BATCH_SIZE)
    parts = [range(start, min(start + BATCH_SIZE, rows[-1] + 1)) for start in starts]
    batches = load_batches(images, parts, num_workers=num_workers)
    backbone.module.cpu()
    calibrate(
        backbone,
        (batch.images.permute(0, 3, 1, 2).float().div_(255) for batch in batches),
        normalization=normalization,
    )
    path = folder / CALIBRATION
    with writing_hdf5(path) as file:
        for name, value in sorted(_statistics(backbone).items()):
            file.create_dataset(name, data=value.numpy())
    return Calibration(len(rows), BATCH_SIZE, sha256_of(path))


def read_calibration(folder: Path, backbone: Backbone, expected: Calibration) -> bool:
    """Give `backbone` the statistics kept in the folder; False when they are not those expected."""
    path = folder / CALIBRATION
    if not path.exists() or sha256_of(path) != expected.sha256:
        return False
    with open_hdf5(path) as file:
        for name, value in _statistics(backbone).items():
            value.copy_(torch.from_numpy(file[name][()]))
    return True


def _statistics(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The running means and variances, by name: the network's own tensors."""
    return {
        name: buffer
        for name, buffer in backbone.module.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }
