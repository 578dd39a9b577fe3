"""The line printed before a pass starts."""

import pytest
import torch
from caches import CHANNELS, make_cache

from data.protocols import PROTOCOLS
from probe.batches import FeatureBatches
from probe.heads.spec import HeadSpec
from probe.sgd.bank import Bank
from probe.sgd.entry import Entry
from probe.sgd.estimate import clock, estimate, scaled


def test_line_counts_what_will_be_done_and_changes_nothing(tmp_path):
    recipe = PROTOCOLS["paper"].training
    spec = HeadSpec(("f1",), 3, 1, 0, "H")
    bank = Bank([Entry(spec, 0.1)], {"f1": CHANNELS["f1"]}, recipe)
    before = {key: value.clone() for key, value in bank.state_dict().items()}
    source = FeatureBatches(
        make_cache(tmp_path), ("f1",), torch.float32, torch.device("cpu"), "none"
    )
    line = estimate(bank, source, 24, 6, recipe)
    # 30 images, 6 channels, 784 cells, 2 bytes, 15 epochs; 9 taps, forward and gradient.
    assert "1 heads, 24 training images, 15 epochs" in line
    assert f"{30 * 6 * 784 * 2 * 15 / 1e6:.3g} MB to read (preload none)" in line
    assert f"{2 * 9 * 6 * 784 * 15 * (2 * 24 + 6) / 1e6:.3g} MFLOP" in line
    assert all(torch.equal(before[key], value) for key, value in bank.state_dict().items())


@pytest.mark.parametrize(("number", "text"), [(999, "999 "), (1400, "1.4 k"), (2.5e16, "25 P")])
def test_scaled(number, text):
    assert scaled(number) == text


def test_hours_stand_out():
    assert clock(90) == "90 s"
    assert clock(600) == "10 min"
    assert clock(4 * 3600).startswith("4.0 HOURS")
