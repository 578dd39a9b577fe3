"""In which number format the backbone computes."""

from __future__ import annotations

import torch

from data.tools.device import has_fast_bfloat16
from data.tools.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(choice: str, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` is the fastest the device has hardware for.

    Raises `UserError` for fp16 on a CPU, which has no fast products in that format.
    """
    if choice == "fp16" and device.type == "cpu":
        raise UserError("--precision fp16 needs a GPU: use bf16 or fp32 on a CPU")
    if choice != "auto":
        return choice
    if has_fast_bfloat16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"
