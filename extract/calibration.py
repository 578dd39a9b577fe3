"""Statistics of untrained BatchNorms: estimated once, kept beside the cache, used by every job."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice

import h5py
import torch

from data.cache.files.members import CALIBRATION
from data.cache.identity import Calibration
from data.images.image_set import ImageSet
from data.tools.errors import UserError
from data.tools.hdf5 import own_dataset
from extract.backbones.backbone import Backbone, calibrate
from extract.shards.loading import load_batches

IMAGES = 64  # the first training images, in order
BATCH_SIZE = 16


def measure_statistics(
    backbone: Backbone, images: ImageSet, *, normalization: str, num_workers: int
) -> tuple[Calibration, bytes]:
    """Calibrate `backbone` in place: what was done, and the statistics as an HDF5 file.

    On the CPU, in fp32 and one thread whatever the device, so that it depends on as little as
    possible: sums that several threads share are rounded in another order.
    """
    trained = (row for row, record in enumerate(images.records) if record.images == "train")
    rows = list(islice(trained, IMAGES))
    if not rows:
        raise UserError(
            f"{backbone.name} with random weights needs training images to estimate the "
            "statistics of its BatchNorm layers, and there is none: see --train"
        )
    batches = load_batches(images, calibration_batches(rows), num_workers=num_workers)
    backbone.module.cpu()
    with _one_thread():
        calibrate(
            backbone,
            (batch.images.permute(0, 3, 1, 2).float().div_(255) for batch in batches),
            normalization=normalization,
        )
    content = _to_bytes(backbone)
    digest = hashlib.sha256(content).hexdigest()
    return Calibration(len(rows), BATCH_SIZE, digest), content


def calibration_batches(rows: list[int]) -> list[range]:
    """Neighbouring `rows` in batches of 16. An image that would be left alone joins the last one:
    where a map is a single cell, one image has no variance.
    """
    starts = list(range(rows[0], rows[-1] + 1, BATCH_SIZE))
    if len(starts) > 1 and starts[-1] == rows[-1]:
        starts.pop()
    stops = [*starts[1:], rows[-1] + 1]
    return [range(start, stop) for start, stop in zip(starts, stops, strict=True)]


def load_statistics(content: bytes, backbone: Backbone) -> None:
    """Give `backbone` the statistics of a file that `measure_statistics` made.

    Raises `UserError` when the file is of another network, or forged.
    """
    try:
        with h5py.File(BytesIO(content), "r") as file:
            for name, value in _statistics(backbone).items():
                value.copy_(torch.from_numpy(own_dataset(file, name)[()]))
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{CALIBRATION} does not hold the statistics of this network ({error}): remove it, "
            "then run extract-features again"
        ) from error


def _to_bytes(backbone: Backbone) -> bytes:
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, value in sorted(_statistics(backbone).items()):
            file.create_dataset(name, data=value.numpy())
    return buffer.getvalue()


def _statistics(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The running means and variances, by name: the network's own tensors."""
    return {
        name: buffer
        for name, buffer in backbone.module.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
