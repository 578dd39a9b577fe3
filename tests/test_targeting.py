"""Targeting: channels removed before the decoder, against hooks and plain networks."""

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from killed import train_killed
from torch import Tensor, nn
from torchvision.models import segmentation

from analysis.config import TablesConfig
from analysis.make import make_tables
from data.channels.draws import random_order
from data.tools.errors import UserError
from extract.backbones.normalization import normalize
from extract.tasks.cli import main
from extract.tasks.maps.config import MapConfig
from extract.tasks.maps.network import MapNetwork, build_network
from extract.tasks.targeting import task as target_task
from extract.tasks.targeting.bank import RANDOM, TOP, DecoderBank, Removal
from extract.tasks.targeting.config import TargetingConfig
from extract.tasks.targeting.ranking import rank_channels
from extract.tasks.targeting.segmenters import DeepLab
from extract.tasks.targeting.task import TargetingTask
from extract.tasks.train import train_backbone

SIZE = 32


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small segmentation network of two levels, with its scores."""
    folder = tmp_path_factory.mktemp("segmentation")
    config = MapConfig(
        *("segmentation", folder / "seg.pt"),
        results_dir=folder / "results",
        levels="f1+f2",
        image_size=SIZE,
        limit=10,
        epochs=1,
        precision="fp32",
    )
    train_backbone(config)
    return config


def targeting(trained: MapConfig, **changes) -> TargetingConfig:
    quick = {"limit": 10, "epochs": 1, "remove": (5,), "draws": 2, "device": "cpu"}
    folder = trained.out.parent / "targeting"
    options = {"weights": str(trained.out), "results_dir": folder, **quick, **changes}
    return TargetingConfig("targeting", **options)


def network() -> MapNetwork:
    config = MapConfig("segmentation", "x.pt", levels="f1+f2", image_size=SIZE)
    return build_network(config, 5).requires_grad_(False)


def test_a_removed_channel_is_what_a_hook_in_the_backbone_makes_it():
    whole, images = network(), torch.rand(2, 3, SIZE, SIZE)
    removed = random_order(128, 0, 1)[:40]
    filled = torch.randn(128)
    bank = DecoderBank(whole, 1, 1)
    bank.remove([Removal(RANDOM, 1, removed)], filled)
    levels = bank.levels(images)
    found = bank.kept(0, levels, images.shape[-2:])
    assert torch.equal(found, bank.retrained(0, levels, images.shape[-2:]))  # not yet trained

    def fill(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        output = output.clone()
        for channel in removed:
            output[:, channel] = filled[channel]
        return output

    whole.backbone.get_submodule(whole.nodes[1]).register_forward_hook(fill)
    torch.testing.assert_close(found, whole(images))


def test_only_the_decoders_are_trained_and_each_by_its_own_loss(trained):
    task = TargetingTask(targeting(trained))
    task.prepare()
    before = {key: value.clone() for key, value in task.network.state_dict().items()}
    assert not any("backbone" in key for key in before)
    batch = next(iter(task.batches(0)))
    task.loss(batch).backward()
    alone = TargetingTask(targeting(trained, remove=(5,)))
    alone.prepare()
    images, masks = batch
    levels = alone.network.levels(images)
    logits = alone.network.retrained(2, levels, masks.shape[-2:])
    nn.functional.cross_entropy(logits, masks).backward()
    pairs = zip(
        task.network.decoders[2].parameters(), alone.network.decoders[2].parameters(), strict=True
    )
    for joint, own in pairs:
        torch.testing.assert_close(joint.grad, own.grad)
    assert all(p.grad is None for p in task.material.segmenter.backbone.parameters())


class FakeSegmenter:
    """Channels: the row, the column, the brightness of the image, and nothing."""

    backbone = nn.Identity()

    def levels(self, images: Tensor) -> list[Tensor]:
        row, column = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
        bright = images.mean((1, 2, 3))[:, None, None].expand(-1, 4, 4)
        constant = [row.expand_as(bright), column.expand_as(bright), torch.ones_like(bright)]
        left = images[:, :1, :, : images.shape[3] // 2].mean((1, 2, 3))[:, None, None]
        return [torch.stack([bright, *constant, left.expand_as(bright)], 1)]


def test_channels_are_ranked_by_what_they_say_of_the_place():
    images = torch.rand(6, 3, 8, 8) * torch.linspace(0.2, 1, 6)[:, None, None, None]
    batches = [(images[:4], images), (images[4:], images)]
    ranking = rank_channels(FakeSegmenter(), 0, "eta", batches)
    assert set(ranking.order[:2]) == {1, 2}
    assert ranking.scores[[1, 2]] == pytest.approx(1.0)
    assert ranking.scores[[0, 3, 4]] == pytest.approx(0.0, abs=1e-9)
    assert ranking.means[[1, 3]] == pytest.approx([1.5, 1.0])
    assert rank_channels(FakeSegmenter(), 0, "eta_row", batches).order[0] == 1
    assert rank_channels(FakeSegmenter(), 0, "eta_column", batches).order[0] == 2
    flip = rank_channels(FakeSegmenter(), 0, "flip", batches)
    halves = [images[:, 0, :, :4].mean((1, 2)), images[:, 0, :, 4:].mean((1, 2))]
    assert flip.order[0] == 4
    assert flip.scores[4] == pytest.approx(float((halves[0] - halves[1]).abs().mean()), rel=1e-5)


def test_scores_with_nothing_removed_are_those_of_the_training(trained):
    config = targeting(trained)
    table = pd.read_csv(train_backbone(config))
    assert len(table) == 4 * 2 * 5 * 6  # removals, decoders, regions, metrics
    assert set(table["which"]) == {TOP, RANDOM}
    assert set(table[table["which"] == RANDOM]["draw"]) == {0, 1}
    whole = table.query("removed == 0 and decoder == 'kept' and region == 'whole'")
    known = pd.read_csv(trained.results_dir / "tasks.csv").set_index("metric")["value"]
    for row in whole.itertuples():
        assert row.value == pytest.approx(known[row.metric], nan_ok=True)
    make_tables(TablesConfig(results_dir=config.results_dir, out=config.results_dir / "tables"))
    cells = pd.read_csv(config.results_dir / "tables" / "table_T.csv")
    cells = cells.set_index(["decoder", "measure", "which", "removed"])["percent"]
    for which in ("top", "random"):
        start = cells["kept", "mIoU", which, 0]
        assert start == pytest.approx(known["miou_percent"], rel=1e-3)
    drawn = table.query("removed == 5 and which == 'random' and decoder == 'retrained'")
    drawn = drawn[(drawn["metric"] == "miou_percent") & (drawn["region"] == "left half")]
    mean = cells["retrained", "mIoU, left half", "random", 5]
    assert mean == pytest.approx(drawn["value"].mean(), rel=1e-3)
    assert len(drawn) == 2
    ranks = pd.read_csv(config.folder / "ranks.csv")
    assert sorted(ranks["channel"]) == list(range(128))
    assert ranks["score"].is_monotonic_decreasing


def test_killed_and_resumed_ends_with_the_same_scores(trained, tmp_path, monkeypatch):
    whole, killed = (
        targeting(trained, epochs=2, results_dir=tmp_path / name) for name in ("whole", "killed")
    )
    first = train_backbone(whole).read_bytes()
    train_killed(killed, 2, monkeypatch)  # two an epoch
    assert train_backbone(killed).read_bytes() == first


@pytest.fixture(scope="module")
def deeplab(tmp_path_factory):
    """A stand-in for torchvision's weights: its network of three classes, untrained, with aux."""
    torch.manual_seed(0)
    model = segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=3)
    state = model.state_dict() | {"aux_classifier.4.weight": torch.zeros(3, 256, 1, 1)}
    path = tmp_path_factory.mktemp("deeplab") / "stand-in.pt"
    torch.save(state, path)
    return model.eval(), path


def test_a_plan_ranks_nothing(trained, monkeypatch):
    def ranked(*_arguments):
        raise AssertionError("the channels are ranked")

    monkeypatch.setattr(target_task, "rank_channels", ranked)
    words = ["--task", "targeting", "--weights", str(trained.out), "--limit", "10", "--dry-run"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "0 of 5 epochs finished" in done.stdout


def test_deeplab_is_torchvisions(deeplab):
    model, path = deeplab
    images = torch.rand(1, 3, 40, 40)
    ours = DeepLab(torch.load(path, weights_only=True))
    with torch.no_grad():
        expected = model(normalize(images, "imagenet"))["out"]
        found = ours.decode(ours.levels(images), images.shape[-2:])
    torch.testing.assert_close(found, expected)


def test_deeplab_without_channels_from_a_file(deeplab, tmp_path):
    from task_folders import write_pairs

    data = write_pairs(tmp_path / "own", "images", "masks", value=1)
    words = ["--task", "targeting", "--weights", str(deeplab[1]), "--data", str(data)]
    words += ["--test", str(data), "--image-size", "32", "--limit", "10", "--remove", "7"]
    words += ["--epochs", "1", "--draws", "1", "--rank", "flip", "--fill", "zero"]
    words += ["--results-dir", str(tmp_path), "--device", "cpu"]
    done = CliRunner().invoke(main, [*words, "--classes", "3"])
    assert done.exit_code == 0, done.stderr
    table = pd.read_csv(tmp_path / "targeting.csv")
    assert set(table["network"]) == {"deeplabv3_resnet50"}
    assert set(table["channels"]) == {2048}
    refused = CliRunner().invoke(main, [*words, "--classes", "2", "--overwrite"])
    assert refused.exit_code == 1
    assert "own has 2 classes and the network 3" in refused.stderr


def test_what_cannot_be_targeted_is_refused(trained, tmp_path):
    saliency = MapConfig(
        *("saliency", tmp_path / "saliency.pt"),
        results_dir=tmp_path,
        levels="f1",
        image_size=SIZE,
        limit=10,
        epochs=1,
    )
    train_backbone(saliency)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    for changes, reason in (
        ({"weights": str(tmp_path / "none.pt")}, "no such file"),
        ({"weights": str(saliency.out)}, "was trained for saliency"),
        ({"weights": str(tmp_path / "other.pt")}, "neither a checkpoint of train-backbone"),
        ({"level": "f5"}, "the decoder reads f1, f2"),
        ({"remove": (128,)}, "the level has 128 channels: remove fewer"),
    ):
        with pytest.raises(UserError, match=reason):
            TargetingTask(targeting(trained, **changes))
    missing = CliRunner().invoke(main, ["--task", "targeting"])
    assert missing.exit_code == 2
    assert "Missing option '--weights' of --task targeting" in missing.stderr
    with pytest.raises(UserError, match="the network is one"):
        targeting(trained, seeds=2)
