"""Files of the safetensors format: eight bytes of length, a JSON header, and the tensors' bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.tools.errors import UserError

_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool, "C64": torch.complex64},
    **{"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2},
}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Name -> tensor; `UserError` when the file is cut short or says what cannot be."""
    buffer = bytearray(path.stat().st_size)
    with path.open("rb") as file:
        file.readinto(buffer)
    begin = 8 + int.from_bytes(buffer[:8], "little")
    try:
        header = json.loads(buffer[8:begin])
        header.pop("__metadata__", None)
        return {name: _tensor(entry, buffer, begin) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise UserError(
            f"weights {str(path)!r}: not a whole safetensors file ({type(error).__name__}: "
            f"{error}); get it again"
        ) from error


def _tensor(entry: dict[str, Any], buffer: bytearray, begin: int) -> Tensor:
    dtype, shape = _DTYPES[entry["dtype"]], [int(size) for size in entry["shape"]]
    first, last = (begin + int(offset) for offset in entry["data_offsets"])
    count = math.prod(shape)
    if min(shape, default=0) < 0 or not begin <= first <= last <= len(buffer):
        raise ValueError("a tensor lies beyond the end of the file")
    if count * dtype.itemsize != last - first:
        raise ValueError(f"{last - first} bytes are no {entry['dtype']} of shape {shape}")
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(buffer, dtype=dtype, count=count, offset=first).view(shape)
