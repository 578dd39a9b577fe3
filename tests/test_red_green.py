"""Red-Green: the published images, the recipe against plain PyTorch, the exact part, table K2."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from killed import train_killed
from torch import nn
from torch.nn import functional

from analysis.config import TablesConfig
from analysis.make import make_tables
from analysis.read.small import small_tables
from analysis.tables.papers.red_green import FRESH_SET, PUBLISHED_SET, table_k2
from extract.tasks.cli import main
from extract.tasks.red_green import task as red_green
from extract.tasks.red_green.config import RedGreenConfig
from extract.tasks.red_green.images import PUBLISHED_SEED, red_green_images
from extract.tasks.red_green.network import build_network
from extract.tasks.red_green.task import RedGreenTask
from extract.tasks.train import train_backbone
from extract.tasks.trainer import train


def test_the_images_are_the_published_ones():
    images = red_green_images(2000, PUBLISHED_SEED)
    # Of the 2,000 images that the authors' generator gives, as bytes; computed apart from ours.
    digest = hashlib.sha256(images.similar.astype(np.uint8).tobytes()).hexdigest()
    assert digest == "7be969db4c00df516c5e410c34f7a1aa4c36649d76b9324554278e32441715bd"
    first = red_green_images(1000, PUBLISHED_SEED)
    np.testing.assert_array_equal(first.similar, images.similar[:1000])  # the published test
    assert images.labels.mean() == 0.5


@pytest.mark.parametrize("seed", [7, 1988])
def test_only_the_order_of_the_colours_and_the_rows_tell_the_classes(seed):
    images = red_green_images(200, seed)
    for similar, dissimilar, label in zip(
        images.similar, images.dissimilar, images.labels, strict=True
    ):
        assert similar.sum() == 32
        red, green = (np.argwhere(similar[channel]).min(0) for channel in (0, 1))  # row, column
        left, right = (red, green) if label == 0 else (green, red)
        assert right[1] - left[1] >= 5
        low, high = (3, 10) if label == 0 else (19, 26)
        assert low <= red[0] <= high
        assert low <= green[0] <= high
        np.testing.assert_array_equal(np.roll(similar, 16 * (1 - 2 * label), 1), dissimilar)


@pytest.mark.parametrize("padding", ["circular", "full"])
def test_rows_are_nothing_to_a_network_that_sees_no_border(padding):
    images = red_green_images(40, 3)
    network = build_network(padding, 0).double()
    similar, dissimilar = (
        network(torch.from_numpy(part).double()) for part in (images.similar, images.dissimilar)
    )
    torch.testing.assert_close(similar, dissimilar, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["zeros", "none", "reflect", "replicate"])
def test_some_images_look_different_at_the_border(padding):
    images = red_green_images(200, 3)
    network = build_network(padding, 0)
    similar, dissimilar = (
        network(torch.from_numpy(part)) for part in (images.similar, images.dissimilar)
    )
    assert (similar - dissimilar).abs().max() > 1e-4


def plain(seed: int, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> nn.Module:
    """The authors' zero-padded network after some epochs, written out."""
    torch.manual_seed(seed)
    convolutions = [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        for inputs, outputs, stride in ((3, 32, 1), (32, 32, 2), (32, 64, 2), (64, 64, 2))
    ]
    layers = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
    network = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    optimizer = torch.optim.Adadelta(
        network.parameters(), lr=1.0, rho=0.9, eps=1e-6, weight_decay=5e-5
    )
    for _ in range(epochs):
        for first in range(0, len(images), 200):
            batch = slice(first, first + 200)
            optimizer.zero_grad()
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    return network


def test_the_recipe_is_the_authors(tmp_path):
    task = RedGreenTask(RedGreenConfig("red-green", epochs=2, limit=220, seed=3))
    history = train(task, tmp_path / "x.pt", [])
    images = red_green_images(220, PUBLISHED_SEED)
    pixels, labels = torch.from_numpy(images.similar), torch.from_numpy(images.labels)
    expected = plain(3, pixels, labels, 2)(pixels).detach()
    torch.testing.assert_close(task.network(pixels), expected, rtol=1e-3, atol=1e-4)
    loss = functional.cross_entropy(expected[:110], labels[:110])  # validated on what is trained on
    assert history[-1]["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_nine_epochs_without_a_lower_loss_end_the_training(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 1.0, *[1.5] * 40])
    monkeypatch.setattr(
        RedGreenTask, "validate", lambda self: {"loss": next(losses), "accuracy_percent": 50.0}
    )
    config = RedGreenConfig("red-green", limit=2, results_dir=tmp_path)
    train_backbone(config)
    table = pd.read_csv(tmp_path / "red_green.csv")
    assert set(table["best_epoch"]) == {3}
    assert len(pd.read_csv(config.folder / "epochs.csv")) == 3 + 9
    train_backbone(config)  # ended is ended
    assert len(pd.read_csv(config.folder / "epochs.csv")) == 3 + 9


def test_killed_and_resumed_ends_with_the_same_weights(tmp_path, monkeypatch):
    whole, killed = (
        RedGreenConfig("red-green", epochs=3, limit=40, results_dir=tmp_path / name)
        for name in ("whole", "killed")
    )
    train_backbone(whole)
    train_killed(killed, 1, monkeypatch)
    train_backbone(killed)
    for ending in (".pt", "-last.pt"):
        first, second = (
            torch.load(config.folder / f"{config.run}{ending}", weights_only=True)
            for config in (whole, killed)
        )
        for part in ("state_dict", "decoder"):
            assert first[part].keys() == second[part].keys()
            assert all(torch.equal(first[part][key], second[part][key]) for key in first[part])
    assert (tmp_path / "whole" / "red_green.csv").read_bytes() == (
        tmp_path / "killed" / "red_green.csv"
    ).read_bytes()


def test_the_command_line_and_its_table(tmp_path, monkeypatch):
    monkeypatch.setattr(red_green, "TESTED", 4)
    words = ["--task", "red-green", "--padding", "none", "--limit", "20", "--epochs", "1"]
    done = CliRunner().invoke(main, [*words, "--results-dir", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    scores = pd.read_csv(tmp_path / "red_green.csv")
    assert list(scores["test_set"] + " " + scores["position"]) == [
        *("published similar", "published dissimilar", "fresh similar", "fresh dissimilar")
    ]
    make_tables(TablesConfig(results_dir=tmp_path, out=tmp_path / "t"))
    text = (tmp_path / "t" / "table_K2.md").read_text()
    assert "20 training images, at most 1 epochs" in text
    assert "train-backbone --task red-green --seeds 10 --padding circular" in text
    refused = CliRunner().invoke(main, ["--task", "red-green", "--padding", "partial"])
    assert refused.exit_code == 1
    assert "partial" in refused.stderr


def scores_of(*values: float) -> pd.DataFrame:
    row = {"padding": "zeros", "test_set": "published", "position": "similar", "n_train": 2000.0}
    seeds = [{**row, "value": value, "seed": seed} for seed, value in enumerate(values)]
    return pd.DataFrame(seeds).assign(n_test=1000.0, epochs=50.0)


@pytest.mark.parametrize("measured", [False, True])
def test_every_published_number_stands_in_its_cell(measured):
    scores = scores_of(99.0, 99.6)
    cells = table_k2(scores if measured else scores[:0]).set_index(
        ["border", "test_set", "position"]
    )
    published = small_tables().query("table == 'K2'")
    names = {"percent": "published_percent", "percent_sd": "published_percent_sd"}
    assert sum(int(cells[name].count()) for name in names.values()) == len(published) == 16
    for row in published.itertuples():
        found = cells[names[row.metric]][row.padding, PUBLISHED_SET, row.measure]
        assert found == row.value
    paper = {  # of the paper's text: similar, dissimilar
        "none": (100.0, 0.2),
        "zeros": (99.8, 8.4),
        "circular": (73.7, 73.7),
        "full": (89.7, 89.7),
    }
    for padding, pair in paper.items():
        values = [
            cells["published_percent"][padding, PUBLISHED_SET, position]
            for position in ("similar", "dissimilar")
        ]
        assert tuple(values) == pair
    assert FRESH_SET not in cells.index.get_level_values("test_set")
    ours = cells.loc[("zeros", PUBLISHED_SET, "similar")]
    if measured:
        assert (ours["percent"], ours["n_seeds"]) == (pytest.approx(99.3), 2)
        assert ours["percent_sd"] == pytest.approx(0.6 / np.sqrt(2))
        assert ours["percent_difference"] == pytest.approx(-0.5)
    else:
        assert "--padding zeros" in ours["fill"]


def test_runs_of_other_numbers_do_not_share_a_name():
    config = RedGreenConfig("red-green", padding="full", results_dir=Path("r"))
    assert config.run == "full-seed0"
    for changes in ({"limit": 40}, {"epochs": 3}, {"seed": 1}, {"padding": "none"}):
        assert replace(config, **changes).run != config.run
    assert [one.run for one in replace(config, seeds=2).each_run()] == ["full-seed0", "full-seed1"]
