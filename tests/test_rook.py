"""The rook's networks: against plain PyTorch, the exact part for any kernel, and table K1."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from killed import train_killed
from PIL import Image
from torch import nn
from torch.nn import functional

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.small import small_tables
from analysis.tables.papers.rook import rook_measures, table_k1
from data.tools.errors import UserError
from extract.tasks.cli import main
from extract.tasks.rook.bank import RookBank
from extract.tasks.rook.config import RookConfig
from extract.tasks.rook.images import placed_twice, read_greys, stamp
from extract.tasks.rook.task import EPOCHS, RookTask
from extract.tasks.train import train_backbone
from extract.tasks.trainer import train

KERNELS = arrays(np.float32, (2, 25), elements=st.floats(-4, 4, width=32))
PATCHES = arrays(np.float32, (6, 5), elements=st.floats(0, 1, width=32))


def plain(padding: str, seed: int, images: torch.Tensor) -> list[float]:
    """Logits of one network of the notebook after its training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convolution = nn.Conv2d(1, 1, 5, padding=2, bias=False)
        linear = nn.Linear(1, 2)
    convolution.padding = {"zeros": (2, 2), "full": (4, 4)}[padding]
    network = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), linear)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(EPOCHS):
        for label in (0, 1):
            loss = functional.cross_entropy(network(images[label, None]), torch.tensor([label]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network(images).detach().flatten().tolist()


@pytest.mark.parametrize("padding", ["zeros", "full"])
def test_a_network_of_the_bank_is_the_notebooks(padding, tmp_path):
    images = torch.from_numpy(placed_twice(stamp(), 0))
    task = RookTask(RookConfig("rook", padding=padding, seeds=2))
    train(task, tmp_path / "rook.pt", [])
    found = task.network(images).detach()
    for seed in range(2):
        assert found[seed].flatten().tolist() == pytest.approx(plain(padding, seed, images), 1e-3)


def pooled(padding: str, kernels: np.ndarray, patch: np.ndarray, margin: int) -> torch.Tensor:
    bank = RookBank(padding, range(2))
    bank.kernels.data = torch.from_numpy(kernels)
    return bank.pooled(torch.from_numpy(placed_twice(patch, margin))).detach()


@pytest.mark.parametrize(
    ("padding", "margin"),
    [
        *(("circular", margin) for margin in range(5)),
        *(("full", margin) for margin in range(5)),
        *(("zeros", 2), ("replicate", 2), ("reflect", 3), ("none", 4)),
    ],
)
@given(kernels=KERNELS, patch=PATCHES)
@settings(max_examples=15)
def test_no_border_effect_for_any_kernel(padding, margin, kernels, patch):
    first, second = pooled(padding, kernels, patch, margin).unbind(1)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("padding", "margin"), [("zeros", 1), ("replicate", 1), ("reflect", 2), ("none", 3)]
)
def test_one_pixel_less_and_some_kernel_sees_the_border(padding, margin):
    different = 0
    for seed in range(60):
        kernels = np.random.default_rng(seed).normal(size=(2, 25)).astype(np.float32)
        first, second = pooled(padding, kernels, stamp(), margin).unbind(1)
        different += int((first != second).sum())
    assert different


def test_the_networks_tell_the_places_only_where_a_border_is_seen(tmp_path):
    for padding in ("zeros", "circular"):
        path = train_backbone(RookConfig("rook", padding=padding, seeds=8, results_dir=tmp_path))
    table = pd.read_csv(path)
    perfect = table["accuracy_percent"].eq(100).groupby(table["padding"]).mean()
    assert perfect["zeros"] > 0.5
    assert perfect["circular"] == 0
    assert table[table["padding"] == "circular"]["equal"].eq(1).all()
    before = path.read_bytes()
    train_backbone(RookConfig("rook", padding="circular", seeds=8, results_dir=tmp_path))
    assert path.read_bytes() == before  # replaced by the same
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "t", format=("md",)))
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "all"))  # with the report
    text = (tmp_path / "t" / "table_K1.md").read_text()
    assert "train-backbone --task rook" not in text
    assert "kernels, margin 2" in text


def test_a_killed_bank_is_resumed_to_the_same_weights(tmp_path, monkeypatch):
    whole, killed = (
        RookConfig("rook", seeds=2, results_dir=tmp_path / name) for name in ("whole", "killed")
    )
    train_backbone(whole)
    train_killed(killed, 90, monkeypatch)
    train_backbone(killed)
    states = [torch.load(config.checkpoint, weights_only=True) for config in (whole, killed)]
    for key, value in states[0]["decoder"].items():
        assert torch.equal(value, states[1]["decoder"][key])
    assert states[0]["provenance"] == states[1]["provenance"]
    tables = [(tmp_path / name / "rook.csv").read_bytes() for name in ("whole", "killed")]
    assert tables[0] == tables[1]


def test_every_published_number_stands_in_its_cell():
    for measured in (rook_measures(Path("nowhere")), measures_of_one()):
        cells = table_k1(measured).set_index(["border", "measure"])
        published = small_tables().query("table == 'K1'")
        assert cells["published_percent"].count() == len(published) == 1
        for row in published.itertuples():
            assert cells["published_percent"][row.padding, row.measure] == row.value == 100
    assert cells["percent_difference"]["zeros", "accuracy"] == pytest.approx(-10)


def measures_of_one() -> pd.DataFrame:
    row = ("x", "drawn rook", "zeros", "accuracy", 90.0, 30)
    return pd.DataFrame(
        [row], columns=["condition", "images", "padding", "measure", "percent", "n_images"]
    )


def test_two_images_of_ones_own(tmp_path):
    images = (255 * placed_twice(stamp(), 0)).round().astype(np.uint8)
    paths = tuple(tmp_path / f"{label}.png" for label in (0, 1))
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[0]).save(path)
    np.testing.assert_allclose(read_greys(paths), images / 255, atol=1e-6)
    path = train_backbone(RookConfig("rook", seeds=3, images=paths, results_dir=tmp_path))
    assert set(pd.read_csv(path)["images"]) == {"0.png+1.png"}
    with pytest.raises(UserError, match="give two"):
        RookConfig("rook", images=paths[:1])
    with pytest.raises(UserError, match="margin 2 is of the drawn rook"):
        RookConfig("rook", images=paths, margin=2)
    paths[0].write_bytes(b"none")
    with pytest.raises(UserError, match=r"0\.png"):
        train_backbone(RookConfig("rook", images=paths, results_dir=tmp_path))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--task", "rook", "--levels", "f1"], "--levels is no option of --task rook"),
        (["--task", "rook", "--padding", "partial"], "partial"),
        (["--task", "saliency", "--out", "x.pt", "--margin", "2"], "--margin is no option"),
        (["--task", "saliency"], "Missing option '--out' of --task saliency"),
    ],
)
def test_options_of_other_tasks_are_refused(arguments, reason):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code in (1, 2)
    assert reason in done.stderr


def test_the_command_line(tmp_path):
    for padding in ("none", "replicate"):
        arguments = ["--task", "rook", "--padding", padding, "--seeds", "1"]
        done = CliRunner().invoke(main, [*arguments, "--results-dir", str(tmp_path)])
        assert done.exit_code == 0, done.stderr
    assert list(pd.read_csv(tmp_path / "rook.csv")["padding"]) == ["none", "replicate"]


def test_quiet_is_an_option_of_every_task(tmp_path: Path) -> None:
    words = ["--task", "rook", "--seeds", "1", "--results-dir", str(tmp_path), "--quiet"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stderr) == (0, "")
    refused = CliRunner().invoke(main, ["--task", "rook", "--margin", "99", "--quiet"])
    assert refused.exit_code == 1
    assert "margin" in refused.stderr  # errors are always said
