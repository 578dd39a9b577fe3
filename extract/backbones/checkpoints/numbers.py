"""Whether tensors hold the numbers a network computes with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from data.tools.errors import UserError

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_numbers(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """`UserError` with the key of the first tensor that holds something else."""
    for key, tensor in state.items():
        what = _unfit(tensor, floating=expected[key].is_floating_point())
        if what:
            raise UserError(
                f"hold {what} for {key}: save dense tensors of real numbers, such as "
                "model.float().state_dict()"
            )


def _unfit(tensor: Tensor, *, floating: bool) -> str | None:
    """What a tensor holds instead of the numbers a network computes with; None if it does."""
    if tensor.is_meta:
        return "no values (a meta tensor)"
    if tensor.is_quantized:
        return f"quantised values ({tensor.dtype})"
    if tensor.layout != torch.strided:
        return f"sparse values ({tensor.layout})"
    # A counter of batches may have become a half with everything else.
    if tensor.dtype not in (_FLOATS if floating else (*_FLOATS, torch.int64, torch.int32)):
        return f"{tensor.dtype} values"
    return None if bool(tensor.float().isfinite().all()) else "NaN or infinite values"
