"""Which device and which number format a stage computes in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from data.tools.errors import UserError

if TYPE_CHECKING:
    import torch


def check_device(name: str) -> None:
    """Raise `ValueError` unless `name` can be a device; whether there is one is seen later."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("use auto, cpu, cuda or cuda:N")


def find_device(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is the first GPU, if any.

    Raises `UserError` when there is no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(f"no device {name!r}, {found} GPU(s) visible: use --device auto or cpu")
    return device


@contextmanager
def arithmetic_threads(count: int) -> Iterator[None]:
    """Let torch cut its sums into `count` parts inside the block, one for each thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Private queries, absent from some releases: without them, assume the slow case.
    queries = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, query, bool)() for query in queries)


def same_kernels(device: torch.device) -> AbstractContextManager[None]:
    """On a GPU, the same convolution kernels in every run, and float32 not rounded to TF32."""
    import torch

    if device.type == "cpu":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
