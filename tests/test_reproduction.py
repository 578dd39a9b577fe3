"""The protocol `reproduction` against the report's own arithmetic, written out here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from caches import make_cache
from PIL import Image
from results_builder import ResultsBuilder
from scipy.stats import spearmanr
from torch import Tensor, nn
from torchvision.transforms import Compose, Resize, ToTensor

from analysis.figures.content_loss import content_loss
from analysis.read.photographs import photograph
from analysis.read.results import read_results
from analysis.tables.compare import compare
from analysis.tables.grid import grids
from analysis.write.markdown import markdown
from data.cache.identity import Identity
from data.cache.reader import FeatureCache
from data.images.synthetic import noise_image
from data.protocols import PROTOCOLS
from data.targets import position_map
from data.tools.errors import UserError
from extract.run import extract_features
from probe.batches import epoch_windows
from probe.config import ProbeConfig
from probe.heads.dense import build_head
from probe.heads.spec import HeadSpec
from probe.sgd.fit import SHUFFLE_SEED
from probe.train import train_probes
from tests.extraction import small_config

RECIPE = PROTOCOLS["reproduction"]
TRAIN, TEST = 10, 3
DIGESTS = {  # of caches made before `reproduction` was exact
    "paper": "02c0a81e9aeb23344c22a66866e347e508ee76d9325bf663d5ea021b44cafb5c",
    "released": "b694bce9ba5e25c2dbde8b25fa15106a17ffb4e178f11a3cd7bdef8f646d8a2f",
}


def reports_map(pattern: str, size: int = 26) -> Tensor:
    """A position map as the notebooks have it: an 8-bit image, resized by torchvision, (s, s)."""
    y, x = np.mgrid[0:224, 0:224] / 223
    bump = np.exp(-((2 * x - 1) ** 2 + (2 * y - 1) ** 2) / 2)
    values = {
        "H": x,
        "V": y,
        "G": (bump - bump.min()) / np.ptp(bump),
        "HS": 0.5 + 0.5 * np.cos(5 * np.pi * y),
        "VS": 0.5 + 0.5 * np.cos(5 * np.pi * x),
    }[pattern]
    image = Image.fromarray(np.round(255 * values).astype(np.uint8))
    return Compose([Resize((size, size)), ToTensor()])(image)[0]


def reports_image(path: Path) -> Tensor:
    """An image as PosENet alone reads it, (3, 28, 28) in [0, 255]."""
    return Compose([Resize((28, 28)), ToTensor()])(Image.open(path)) * 255


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that are no squares, with a ramp across, so that something can be read from them."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for images, count in (("train", TRAIN), ("test", TEST)):
        (folder / images).mkdir()
        for number in range(count):
            height, width = generator.integers(60, 140, 2)
            pixels = generator.integers(0, 256, (height, width, 3)) * 0.6
            pixels += 100 * np.linspace(0, 1, width)[:, None]
            image = Image.fromarray(pixels.astype(np.uint8))
            image.save(folder / images / f"photo-{number:03d}.png")
    return folder


def extract(photos: Path, folder: Path, **changes: object) -> FeatureCache:
    settings = {"protocol": "reproduction", "score_transposed": True, **changes}
    return FeatureCache(extract_features(small_config(photos, folder / "features", **settings)))


@pytest.mark.parametrize("pattern", ["H", "V", "G", "HS", "VS"])
@pytest.mark.parametrize("size", [22, 26, 28])
def test_maps_are_resized_as_images(pattern: str, size: int):
    expected = reports_map(pattern, size).double().numpy()
    np.testing.assert_allclose(position_map(pattern, size, eight_bit=True), expected, atol=1e-7)


def test_the_best_constant_map_is_as_good_as_the_reports():
    gaussian = position_map("G", 26, eight_bit=True)
    assert np.abs(gaussian - np.median(gaussian)).mean() == pytest.approx(0.196, abs=5e-4)
    for pattern in ("G", "HS", "VS"):
        plain, ours = position_map(pattern, 26), position_map(pattern, 26, eight_bit=True)
        errors = [np.abs(values - np.median(values)).mean() for values in (plain, ours)]
        assert errors[1] < errors[0] - 1e-3


def test_rows_of_the_pixels_follow_the_reports_arithmetic(photos: Path, tmp_path: Path):
    cache = extract(photos, tmp_path)
    scores = pd.read_csv(
        train_probes(
            ProbeConfig(
                cache_dir=tmp_path / "features",
                results_dir=tmp_path / "results",
                levels=("input",),
                precision="fp32",
            )
        ),
    ).set_index(["pattern", "images"])
    train = torch.stack([reports_image(p) for p in sorted((photos / "train").iterdir())])
    scored = {
        "test": [reports_image(path) for path in sorted((photos / "test").iterdir())],
        "black": [torch.zeros(3, 28, 28)],
        "white": [torch.full((3, 28, 28), 255.0)],
    }
    image_bytes = sum(cache.levels.values()) * 28 * 28 * 2
    for pattern in ("H", "V", "G", "HS", "VS"):
        target = reports_map(pattern)
        convolution = nn.Conv2d(3, 1, 3)
        start = build_head(HeadSpec(("input",), 3, 1, 0, pattern), 3, RECIPE.training)
        convolution.load_state_dict(start[0].state_dict())
        optimizer = torch.optim.Adam(convolution.parameters(), lr=1e-3, weight_decay=1e-4)
        for epoch in range(15):
            for window in epoch_windows(np.arange(TRAIN), image_bytes, 4, SHUFFLE_SEED, epoch):
                for begin in range(0, len(window), 4):
                    optimizer.zero_grad()
                    maps = convolution(train[window[begin : begin + 4]])[:, 0]
                    nn.functional.mse_loss(maps, target.expand_as(maps)).backward()
                    optimizer.step()
        for images, tensors in scored.items():
            with torch.no_grad():
                maps = [convolution(t.permute(0, 2, 1)[None])[0, 0] for t in tensors]
            row = scores.loc[pattern, images]
            assert row["mae"] == pytest.approx(
                np.mean([(m - target).abs().mean() for m in maps]), abs=1e-3
            )
            if images == "test":
                spc = [spearmanr(m.ravel(), target.ravel()).statistic for m in maps]
                assert row["spc"] == pytest.approx(np.mean(spc), abs=1e-3)
            else:
                assert np.isnan(row["spc"])
    # Transposed, the ramp across the images lies along y.
    assert scores.loc[("H", "test"), "spc"] < 0.2


def test_the_level_input_is_the_image_itself(photos: Path, tmp_path: Path):
    cache = extract(photos, tmp_path, score_transposed=False)
    paths = [p for images in ("train", "test") for p in sorted((photos / images).iterdir())]
    expected = np.stack([reports_image(path).numpy() for path in paths])
    found = cache.read("input", range(len(paths)))
    np.testing.assert_array_equal(found, expected.round())
    made = Image.fromarray(noise_image(0, 0, 32)).resize((28, 28), Image.Resampling.BILINEAR)
    noise = cache.read("input", cache.rows("noise"))[0]
    np.testing.assert_array_equal(noise, np.asarray(made).transpose(2, 0, 1))


def test_only_scored_images_are_transposed(photos: Path, tmp_path: Path):
    upright = extract(photos, tmp_path, score_transposed=False)
    cache = extract(photos, tmp_path)
    assert cache.folder.name == f"{upright.folder.name}-score-transposed"
    for images in cache.image_sets:
        rows = cache.rows(images)
        same = np.array_equal(cache.read("f1", rows), upright.read("f1", rows))
        assert same == (images in ("train", "black", "white"))
    rows = cache.rows("test")
    np.testing.assert_array_equal(
        cache.read("input", rows), upright.read("input", rows).swapaxes(2, 3)
    )
    # The backbone saw transposed images: the same as from files that are transposed.
    turned = tmp_path / "turned"
    (turned / "test").mkdir(parents=True)
    for path in (photos / "test").iterdir():
        image = Image.open(path).resize((32, 32), Image.Resampling.BILINEAR)
        image.transpose(Image.Transpose.TRANSPOSE).save(turned / "test" / path.name)
    by_file = extract(photos, turned, test=turned / "test", score_transposed=False)
    np.testing.assert_array_equal(by_file.read("f1", rows), cache.read("f1", rows))
    shown = [photograph(each.identity, "photo-000.png") for each in (cache, upright)]
    np.testing.assert_array_equal(shown[0], np.swapaxes(shown[1], 0, 1))


def test_caches_of_what_the_protocol_was_are_refused_with_the_command(tmp_path: Path):
    old = replace(RECIPE.features, input_antialiased=False)
    command = (
        "extract-features --backbone vgg16 --weights random --train 'made up' --test 'made up' "
        f"--protocol reproduction --cache-dir {tmp_path / 'features'} --overwrite"
    )
    with pytest.raises(UserError) as refused:
        make_cache(tmp_path / "features", protocol="reproduction", features=old)
    assert str(refused.value).endswith(f"make it again, {command}")
    config = ProbeConfig(cache_dir=tmp_path / "features", results_dir=tmp_path / "results")
    with pytest.raises(UserError, match="make it again"):
        train_probes(config)
    # Options are no other protocol.
    changed = replace(RECIPE.features, crop_border=1, normalization="none", score_transposed=True)
    make_cache(tmp_path / "more", protocol="reproduction", features=changed)


def test_extracting_over_such_a_cache_is_refused(photos: Path, tmp_path: Path, monkeypatch, capsys):
    with monkeypatch.context() as earlier:
        old = replace(RECIPE.features, input_antialiased=False)
        earlier.setitem(PROTOCOLS, "reproduction", replace(RECIPE, features=old))
        extract(photos, tmp_path)
    capsys.readouterr()
    with pytest.raises(UserError, match=r"gave other features: make it again, .* --overwrite"):
        extract(photos, tmp_path)
    assert "repairing" not in capsys.readouterr().err
    assert extract(photos, tmp_path, overwrite=True).identity.features.input_antialiased


@pytest.mark.parametrize(("protocol", "backbone"), [("paper", "pixels"), ("released", "vgg16")])
def test_other_caches_are_what_they_were(protocol: str, backbone: str):
    features = PROTOCOLS[protocol].features
    identity = Identity(protocol=protocol, features=features, backbone=backbone)
    assert identity.digest == DIGESTS[protocol]
    assert Identity.from_json(identity.to_json()) == identity
    turned = replace(identity, features=replace(features, score_transposed=True))
    assert turned.digest != identity.digest
    assert Identity.from_json(turned.to_json()) == turned


def test_results_of_what_the_protocol_was_are_left_out(tmp_path: Path, monkeypatch):
    with monkeypatch.context() as earlier:
        old = replace(RECIPE.features, input_antialiased=False)
        earlier.setitem(PROTOCOLS, "reproduction", replace(RECIPE, features=old))
        builder = ResultsBuilder(tmp_path).add(protocol="reproduction")
    with pytest.raises(UserError, match=r"nothing to show: .* is left out: when it was made"):
        read_results(tmp_path)
    results = read_results(builder.add().folder)
    assert set(results.runs) == {"vgg16-random-zeros"}
    assert "vgg16-random-zeros-reproduction is left out" in results.left_out[0]
    assert set(results.scores["run"]) == set(results.image_scores["run"]) == set(results.runs)


def test_table_r2_is_of_transposed_images_where_there_are_any(tmp_path: Path):
    builder = ResultsBuilder(tmp_path).add(protocol="reproduction")
    table = compare("R2", read_results(tmp_path))
    assert set(table["run"].dropna()) == {"vgg16-random-zeros-reproduction"}
    builder.add(protocol="reproduction", score_transposed=True)
    results = read_results(tmp_path)
    table = compare("R2", results)
    assert set(table["run"].dropna()) == {"vgg16-random-zeros-reproduction-score-transposed"}
    assert table["condition"].str.endswith("scored on transposed images").all()
    fill = table[table["backbone"] == "resnet152"]["fill"].iloc[0]
    assert "--protocol reproduction --score-transposed" in fill
    (grid,) = grids(table)
    assert "scored on transposed images (--score-transposed)" in markdown(grid)
    builder = ResultsBuilder(tmp_path / "none").add()
    fill = compare("R2", read_results(builder.folder))["fill"].iloc[0]
    assert "--protocol reproduction --score-transposed" in fill


def test_figure_7_compares_with_the_maps_of_the_scores():
    rows = {name: reports_map(name).double().numpy() for name in ("H", "V", "G")}
    assert np.abs(content_loss(rows, eight_bit=True)).max() < 1e-6
    assert np.abs(content_loss(rows)).max() > 1e-3
