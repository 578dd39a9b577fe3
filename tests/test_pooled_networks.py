"""Networks with global pooling: heads, cells, shifts, the blur and scores against plain sums."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from killed import train_killed
from torch.nn import functional

from data.tools.errors import UserError
from extract.tasks.cli import main
from extract.tasks.pooled.config import PooledConfig
from extract.tasks.pooled.consistency import agreement
from extract.tasks.pooled.images import laid, moved
from extract.tasks.pooled.network import Blur, build_network
from extract.tasks.pooled.position import odd_percent
from extract.tasks.pooled.task import PooledTask
from extract.tasks.train import train_backbone

SMALL = PooledConfig("location", patch_size=8, patch_limit=20, epochs=2, batch_size=7, device="cpu")


def test_patches_lie_where_their_cells_are():
    patches = torch.arange(1.0, 2 * 3 * 4 + 1).reshape(2, 3, 2, 2)
    images = laid(patches, torch.tensor([5, 0]), 3)
    expected = torch.zeros(2, 3, 6, 6)
    expected[0, :, 2:4, 4:6] = patches[0]  # row 1, column 2
    expected[1, :, 0:2, 0:2] = patches[1]
    assert torch.equal(images, expected)


def test_every_image_is_moved_by_its_own_pixels():
    images = torch.arange(1.0, 3 * 2 * 25 + 1).reshape(3, 2, 5, 5)
    rows, columns = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 2])
    rolled, zeros, crops = (
        moved(images, rows, columns, kind, size)
        for kind, size in (("roll", 5), ("zero", 5), ("crop", 3))
    )
    for index, (down, right) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        image = images[index]
        assert torch.equal(rolled[index], torch.roll(image, (down, right), (1, 2)))
        filled = torch.zeros_like(image)
        filled[:, down:, right:] = image[:, : 5 - down, : 5 - right]
        assert torch.equal(zeros[index], filled)
        assert torch.equal(crops[index], image[:, 2 - down : 5 - down, 2 - right : 5 - right])
    back = moved(zeros, -rows, -columns, "zero", 5)
    assert torch.equal(back[1, :, :3], images[1, :, :3])  # what was cut does not come back
    assert not back[1, :, 3:].any()


def test_the_blur_is_tri_3_at_every_second_place():
    maps = torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    padded = np.pad(maps.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    expected = [
        [(padded[0, :, y : y + 3, x : x + 3] * weights).sum((1, 2)) for x in (0, 2)]
        for y in (0, 2, 4)
    ]
    np.testing.assert_allclose(
        Blur()(maps)[0].numpy(), np.moveaxis(np.array(expected), 2, 0), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(UserError, match="a map of 1x3 is too small"):
        Blur()(torch.zeros(1, 1, 1, 3))


@pytest.mark.parametrize("network", ["small", "resnet18"])
def test_a_blur_takes_the_place_of_every_stride(network):
    images = torch.zeros(1, 3, 64, 64)
    plain, blurred = (
        build_network(replace(SMALL, network=network, downsample=how), 9).eval().backbone
        for how in ("stride", "blur")
    )
    assert plain(images).shape == blurred(images).shape
    strides = [module.stride for module in blurred.modules() if isinstance(module, torch.nn.Conv2d)]
    assert set(strides) == {(1, 1)}


def test_the_heads_are_those_of_the_authors():
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    gap, permute, linear = (
        build_network(replace(SMALL, head=head), 9).eval() for head in ("gap", "permute", "linear")
    )
    maps = gap.backbone(images)
    scores = functional.conv2d(maps, gap.head.weight, gap.head.bias, padding=1)
    torch.testing.assert_close(gap(images)[0], scores.mean((2, 3)))
    # The matched pair: the same weights, and the shuffle is all that differs.
    order = torch.randperm(128, generator=torch.Generator().manual_seed(2))
    vectors = permute.backbone(images).mean((2, 3))
    shuffled = vectors[:, order] @ permute.head.weight.T + permute.head.bias
    torch.testing.assert_close(permute(images, order)[0], shuffled)
    torch.testing.assert_close(permute(images)[0], linear(images)[0], rtol=0, atol=0)


def test_channels_are_shuffled_in_training_and_in_tests_for_the_permuted_head_alone():
    for head in ("gap", "permute", "linear"):
        orders = [batch.order for batch in PooledTask(replace(SMALL, head=head)).batches(0)]
        assert all((order is None) == (head != "permute") for order in orders)
    task = PooledTask(replace(SMALL, head="permute"))
    first, second = [batch.order for batch in task.batches(0)][:2]
    assert not torch.equal(first, second)
    assert torch.equal(first, next(iter(task.batches(0))).order)  # of the seed and the epoch


@pytest.mark.parametrize(("head", "downsample"), [("gap", "stride"), ("linear", "blur")])
@pytest.mark.parametrize("network", ["small", "resnet18"])
def test_without_a_border_there_is_no_place(network: str, head: str, downsample: str):
    """Circular: the pooled vectors of a patch are those of any other cell, its answers too."""
    side = {"small": 8, "resnet18": 16}[network]  # whole strides, or sampling tells the cells
    config = replace(SMALL, network=network, head=head, downsample=downsample, patch_size=side)
    patch = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(3)).double()
    for padding, equal in (("circular", True), ("zeros", False)):
        built = build_network(replace(config, padding=padding), 9).double().eval()
        with torch.no_grad():
            found = built(laid(patch.expand(4, -1, -1, -1), torch.tensor([0, 1, 4, 8]), 3))
        for values in found:
            spread = float((values - values[:1]).abs().max() / values.abs().max())
            assert (spread < 1e-12) == equal, (padding, spread)


def test_paddings_that_cannot_be_are_refused_before_any_training():
    for changes, reason in (
        ({"network": "resnet18", "padding": "none"}, "none"),
        ({"padding": "none", "patch_size": 8, "task": "classification"}, "does not work for small"),
        # Windows of 7/8 are scored: 8 of 9 pixels, of which the last blur would see one.
        ({"network": "resnet18", "downsample": "blur", "patch_size": 9, "grid": 1}, "too small"),
    ):
        with pytest.raises(UserError, match=reason):
            PooledTask(replace(SMALL, **({"task": "classification"} | changes)))


def test_sgd_is_the_recipe_of_cifar():
    task = PooledTask(replace(SMALL, optimizer="sgd"))
    assert [task.rate(step, 10) for step in range(10)] == pytest.approx(
        [0.1] * 4 + [0.01] * 4 + [0.001] * 2
    )
    group = task.optimizer.param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (0.9, 5e-4)
    assert PooledTask(replace(SMALL, optimizer="sgd", learning_rate=0.5)).rate(0, 10) == 0.5
    assert PooledTask(SMALL).rate(0, 10) is None
    assert PooledTask(SMALL).optimizer.param_groups[0]["lr"] == 1e-3


def test_a_network_for_every_lambda_and_seed():
    several = replace(SMALL, task="classification", augshift=(0.1, 10), seeds=2)
    runs = several.each_run()
    assert [(run.augshift, run.seed) for run in runs] == [
        ((weight,), seed) for weight in (0.1, 10) for seed in (0, 1)
    ]
    assert len({run.run for run in runs}) == 4
    assert "augshift10-" in runs[2].run
    named = replace(several, out=Path("net.pt")).each_run()
    assert [str(run.out) for run in named] == [
        *("net-augshift0.1.pt", "net-augshift0.1-seed1.pt"),
        *("net-augshift10.pt", "net-augshift10-seed1.pt"),
    ]


def test_augshift_is_its_formula():
    config = replace(SMALL, task="classification", augshift=(3.0,))
    task = PooledTask(config)
    batch = next(iter(task.batches(0)))
    count = len(batch.labels)
    assert batch.images.shape == (2 * count, 3, 8, 8)
    assert not torch.equal(batch.images[:count], batch.images[count:])
    loss = task.loss(batch)
    logits, vectors = task.network.train()(batch.images)
    one, two = logits[:count], logits[count:]
    expected = -sum(
        torch.log_softmax(part, 1)[range(count), batch.labels].mean() for part in (one, two)
    )
    expected = expected + 3 * ((vectors[:count] - vectors[count:]) ** 2).mean()
    torch.testing.assert_close(loss, expected)


def test_agreement_by_hand():
    shown = np.array([0, 0, 1, 1, 1])
    first, second = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 1])
    scores = agreement(first, second, shown)
    assert scores["consistency_percent"] == pytest.approx(60)
    assert scores["consistency_wrong_percent"] == pytest.approx(100 / 3)  # images 1, 2, 3
    assert scores["kappa"] == pytest.approx((0.6 - (0.4**2 + 0.6**2)) / (1 - 0.52))
    perfect = agreement(shown, shown, shown)
    assert perfect["kappa"] == 1
    assert np.isnan(perfect["consistency_wrong_percent"])
    assert np.isnan(agreement(0 * shown, 0 * shown, shown)["kappa"])


def test_what_is_odd_in_a_mirror():
    columns = torch.tensor([-1.0, 0, 1]).expand(3, 3)  # left told from right, rows are nothing
    edges = torch.tensor([1.0, 0, 1]).expand(3, 3)
    assert odd_percent(columns[..., None], "x") == pytest.approx(100)
    assert odd_percent(edges[..., None], "x") == pytest.approx(0)
    assert odd_percent(edges.T[..., None], "y") == pytest.approx(0)
    assert np.isnan(odd_percent(columns[..., None], "y"))
    assert np.isnan(odd_percent(1 + 1e-8 * columns.double()[..., None], "x"))  # rounding alone
    # Odd (-1, 0, 1): squares 2. Even (1, -2, 1) / 3: squares 2 / 3.
    assert odd_percent((columns + edges)[..., None], "x") == pytest.approx(100 * 2 / (2 + 2 / 3))


def test_mirrored_training_turns_patches_and_leaves_their_labels():
    plain, turned = (PooledTask(replace(SMALL, mirror=mirror)) for mirror in (False, True))
    generator = np.random.default_rng(0)
    which, labels, found = np.arange(14), [], []
    batch = turned.draw(generator, which)
    for index, cell in enumerate(batch.labels.tolist()):
        row, column = divmod(cell, 3)
        patch = batch.images[index, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        original = plain.training.patches[index]
        labels.append(torch.equal(patch, original) or torch.equal(patch, original.flip(2)))
        found.append(torch.equal(patch, original))
    assert all(labels)
    assert 0 < sum(found) < 14


def test_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path, monkeypatch):
    whole, killed = (
        replace(SMALL, head="permute", mirror=True, results_dir=tmp_path / name)
        for name in ("whole", "killed")
    )
    train_backbone(whole)
    train_killed(killed, 3, monkeypatch)
    train_backbone(killed)
    first, second = (
        torch.load(config.folder / f"{config.run}-last.pt", weights_only=True)
        for config in (whole, killed)
    )
    for part in ("state_dict", "decoder"):
        assert all(torch.equal(first[part][key], second[part][key]) for key in first[part])
    assert (tmp_path / "whole" / "pooled.csv").read_bytes() == (
        tmp_path / "killed" / "pooled.csv"
    ).read_bytes()


def test_the_command_line(tmp_path: Path):
    words = ["--patch-size", "8", "--patch-limit", "30", "--epochs", "1"]
    words += ["--results-dir", str(tmp_path)]
    done = CliRunner().invoke(main, ["--task", "classification", "--augshift", "0.1", *words])
    assert done.exit_code == 0, done.stderr
    scores = pd.read_csv(tmp_path / "pooled.csv")
    names = ["consistency_percent", "consistency_wrong_percent", "kappa"]
    shifted = [f"{kind}_{name}" for kind in ("crop", "zero", "roll") for name in names]
    assert list(scores["metric"]) == ["accuracy_percent", "heldout_accuracy_percent", *shifted]
    assert set(scores["chance"]) == {0.1}
    for refused, reason in (
        (["--task", "location", "--grid", "1"], "--grid 1"),
        (["--task", "location", "--classes", "9"], "--classes 9"),
        (["--task", "classification", "--grid", "3", "--augshift", "1"], "--augshift 1"),
        (["--task", "classification", "--classes", "11"], "--classes 11"),
        (["--task", "classification", "--patches", "cifar10"], "--patch-root"),
    ):
        answer = CliRunner().invoke(main, [*refused, *words])
        assert answer.exit_code == 1
        assert reason in answer.stderr


def test_other_settings_have_another_name():
    for changes in ({"head": "gap"}, {"mirror": True}, {"grid": 7}, {"patches": "digits"}):
        assert replace(SMALL, **changes).run != SMALL.run
