from pathlib import Path

import pytest
import torch

from data.tools.device import find_device, has_fast_bfloat16
from data.tools.errors import UserError


def test_auto_is_a_device_that_computes():
    device = find_device("auto")
    assert torch.ones(2, device=device).sum().item() == 2
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "mps", f"cuda:{torch.cuda.device_count()}"])
def test_other_devices_are_refused_with_the_remedy(name):
    with pytest.raises(UserError, match="use"):
        find_device(name)


def test_bfloat16_query_agrees_with_the_processor():
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("needs /proc/cpuinfo")
    flags = cpuinfo.read_text()
    expected = "avx512_bf16" in flags or "amx_bf16" in flags
    assert has_fast_bfloat16(torch.device("cpu")) == expected
