import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn
from torch.nn import functional
from torchvision import models

from benchmarks.fuzz_images import damaged_files
from data.cache.reader import FeatureCache
from data.tools.errors import UserError
from extract.backbones.audit import place_changes
from extract.backbones.backbone import wrap_module
from extract.cli import main
from extract.run import extract_features
from tests.extraction import (
    ONE_THREAD,
    command_line,
    contents,
    make_photos,
    run_command,
    small_config,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SUFFIX = {"jpeg": "jpg", "png": "png", "gif": "gif", "tiff": "tif", "webp": "webp"}


def call(*arguments: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(main, list(arguments))


def test_features_are_those_of_a_plain_forward_pass(photos: Path, tmp_path: Path) -> None:
    config = small_config(photos, tmp_path, backbone="vgg11", taps=None, limit=4)
    cache = FeatureCache(extract_features(config))
    torch.manual_seed(0)
    network = models.vgg11().features.eval()
    row = cache.rows("test")[3]
    path = photos / "test" / "photo-003.png"
    image = Image.open(path).resize((32, 32), Image.Resampling.BILINEAR)
    maps = torch.tensor(np.array(image)).permute(2, 0, 1)[None].float() / 255
    expected = {"input": maps}
    for index, layer in enumerate(network):
        maps = layer(maps).detach()
        level = {1: "f1", 4: "f2", 9: "f3", 14: "f4", 19: "f5"}.get(index)
        if level:
            expected[level] = maps.clone()
    assert cache.records[row].name == "photo-003.png"
    assert list(cache.levels) == list(expected)
    for level, maps in expected.items():
        aligned = functional.interpolate(maps, (28, 28), mode="bilinear", align_corners=True)
        np.testing.assert_allclose(
            cache.read(level, [row])[0], aligned[0].numpy(), rtol=1e-3, atol=1e-4
        )


def test_the_audit_bounds_the_conversion_to_float16(reference: Path) -> None:
    cache = FeatureCache(reference)
    everything = np.arange(len(cache.records))
    for level, audit in cache.audit.items():
        largest = np.abs(cache.read(level, everything)).max()
        assert audit["max_magnitude"] == largest
        assert 0 < audit["max_float16_error"] <= np.spacing(largest) / 2


def test_identity_names_what_moves_a_feature(reference: Path) -> None:
    identity = FeatureCache(reference).identity
    assert reference.name == "squeezenet1_1-random-zeros-image-size-32"
    assert identity.precision == "fp32"
    assert identity.levels == {"input": 3, "f1": 16, "f2": 32}
    assert identity.taps == ("features.3.squeeze", "features.6.squeeze")
    assert identity.layers_run == {"f1": 2, "f2": 8}  # the stem; three layers a fire module
    assert identity.layers_in_all == 25  # the classifier is dropped
    assert identity.features.crop_border == 0
    assert identity.images.counts == {
        "train": 130,
        "test": 10,
        "black": 1,
        "white": 1,
        "noise": 8,
    }


def test_a_complete_cache_is_left_alone(
    resumable: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in resumable.iterdir()}
    assert extract_features(small_config(photos, resumable.parent)) == resumable
    assert {path: path.stat().st_mtime_ns for path in resumable.iterdir()} == before
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize(
    "lost", [["cache.h5"], ["cache.h5", "shard-00001.h5"], ["shard-00002.h5"], ["SHA256SUMS"]]
)
def test_what_is_missing_is_made_again(
    resumable: Path, reference: Path, photos: Path, lost: list[str]
) -> None:
    kept = (resumable / "shard-00000.h5").stat().st_mtime_ns
    for name in lost:
        (resumable / name).unlink()
    extract_features(small_config(photos, resumable.parent))
    assert contents(resumable) == contents(reference)
    assert (resumable / "shard-00000.h5").stat().st_mtime_ns == kept


def test_jobs_in_any_order_give_the_same_bytes(
    reference: Path, photos: Path, tmp_path: Path
) -> None:
    for index in (2, 0, 1):
        assert not (tmp_path / reference.name / "cache.h5").exists()
        config = small_config(photos, tmp_path, num_shards=3, shard_index=index)
        extract_features(config)
    assert contents(tmp_path / reference.name) == contents(reference)


def test_worker_processes_give_the_same_bytes(
    reference: Path, photos: Path, tmp_path: Path
) -> None:
    done = run_command(small_config(photos, tmp_path, jobs=2))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / reference.name
    assert contents(tmp_path / reference.name) == contents(reference)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"precision": "bf16"}, 'precision: "fp32" in the cache, "bf16" now'),
        ({"taps": "features.0"}, 'taps: ["features.3.squeeze","features.6.squeeze"] in the cache'),
        ({"limit": 100}, "150 images in the cache, 120 now, 30 gone (first train photo-100.png)"),
        ({"compression": "bitshuffle-lz4"}, 'compression: "none" in the cache'),
    ],
)
def test_caches_of_other_features_are_refused(
    resumable: Path, photos: Path, changes: dict[str, Any], told: str
) -> None:
    before = contents(resumable)
    with pytest.raises(UserError) as refused:
        extract_features(small_config(photos, resumable.parent, **changes))
    assert told in str(refused.value)
    assert "--overwrite" in str(refused.value)
    assert contents(resumable) == before


def test_an_image_whose_content_changed_is_noticed(
    reference: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(reference, tmp_path / reference.name)
    changed = Path(shutil.copytree(photos, tmp_path / "photos"))
    Image.new("RGB", (40, 40)).save(changed / "test" / "photo-004.png")
    with pytest.raises(UserError, match=r"1 changed \(first test photo-004\.png\)"):
        extract_features(small_config(changed, tmp_path))


def test_moved_images_are_the_same_images(reference: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(reference, tmp_path / reference.name)
    moved = Path(shutil.copytree(photos, tmp_path / "elsewhere"))
    extract_features(small_config(moved, tmp_path))
    assert contents(tmp_path / reference.name) == contents(reference)


def test_overwrite_makes_the_cache_again(resumable: Path, photos: Path) -> None:
    config = small_config(photos, resumable.parent, limit=5, overwrite=True)
    assert len(FeatureCache(extract_features(config)).records) == 20
    assert not (resumable / "shard-00001.h5").exists()


class Huge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Conv2d(3, 2, 1)
        nn.init.constant_(self.scale.weight, 1e5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale(images)


def test_values_beyond_float16_are_refused(photos: Path, tmp_path: Path) -> None:
    backbone = wrap_module(Huge(), name="huge", taps=("scale",), image_size=32)
    with pytest.raises(UserError, match=r"level f1 of train image photo-000\.png"):
        extract_features(small_config(photos, tmp_path), backbone)


def test_your_own_module_fills_a_cache(photos: Path, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    backbone = wrap_module(module, name="mine", taps=("1", "2"), image_size=32)
    folder = extract_features(
        small_config(photos, tmp_path, limit=3, compression="bitshuffle-lz4"),
        backbone,
    )
    assert folder.name == "mine-own-zeros-image-size-32"
    assert FeatureCache(folder).levels == {"input": 3, "f1": 4, "f2": 4}
    maps = module(torch.zeros(1, 3, 32, 32)).detach()
    aligned = functional.interpolate(maps, (28, 28), mode="bilinear", align_corners=True)
    black = FeatureCache(folder).rows("black")
    np.testing.assert_allclose(
        FeatureCache(folder).read("f2", black), aligned.numpy(), rtol=1e-3, atol=1e-4
    )


def test_bad_images_are_listed_and_the_good_ones_go_on(photos: Path, tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(photos, tmp_path / "photos"))
    (mixed / "train" / "photo-000.png").write_bytes(b"no image")
    config = small_config(mixed, tmp_path, limit=5)
    strict = call(*command_line(small_config(mixed, tmp_path, limit=5, strict=True))[3:])
    assert strict.exit_code == 1
    assert "1 images cannot be used and --strict is on" in strict.stderr.splitlines()[-1]
    done = call(*command_line(config)[3:])
    assert done.exit_code == 0
    assert "bad image: train photo-000.png:" in done.stderr
    cache = FeatureCache(Path(done.stdout.strip()))
    assert [bad.name for bad in cache.bad] == ["photo-000.png"]
    assert cache.records[cache.rows("train")[0]].name == "photo-001.png"


def test_damaged_files_are_each_cached_or_listed(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (kind, content) in enumerate(damaged_files(80, seed=1)):
        (folder / f"{number:02d}.{SUFFIX[kind.split()[0]]}").write_bytes(content)
    cache = FeatureCache(extract_features(small_config(photos, tmp_path, train=folder)))
    good = [cache.records[row].name for row in cache.rows("train")]
    bad = [image.name for image in cache.bad]
    assert sorted(good + bad) == sorted(path.name for path in folder.iterdir())
    assert len(good) > 5
    assert len(bad) > 5
    assert all(image.reason for image in cache.bad)


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    peaks = []
    for train in (1, 330):  # features of 3 MB and 60 MB
        photos = make_photos(tmp_path / f"photos-{train}", train=train, test=1)
        config = small_config(
            photos, tmp_path / f"features-{train}", backbone="vgg11", taps="features.1"
        )
        arguments = command_line(config)
        arguments[2] += "; import resource; print(resource.getrusage(resource.RUSAGE_SELF)[2])"
        arguments[2] = arguments[2].replace("main()", "main(standalone_mode=False)")
        done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=ONE_THREAD)
        peaks.append(int(done.stdout.split()[-1]) * 1024)
    assert peaks[1] < peaks[0] + 20e6


def test_command_line_errors() -> None:
    missing = call()
    assert missing.exit_code == 2
    assert "Missing option '--backbone'" in missing.stderr
    assert {"vgg16", "resnet152"} <= set(call("--list-backbones").stdout.split())
    unknown = call("--backbone", "vgg99", "--weights", "random")
    assert unknown.exit_code == 1
    assert len(unknown.stderr.splitlines()) == 1
    nowhere = call("--info", "/nowhere")
    assert (nowhere.exit_code, nowhere.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_size": 0}, "batch_size 0 must be at least 1"),
        ({"num_shards": 2, "shard_index": 2}, "shard_index 2 must be 0 to 1"),
        ({"num_shards": 2, "overwrite": True}, "would delete what the other jobs have done"),
        ({"seed": -1}, "seed -1"),
        ({"precision": "fp16"}, "--precision fp16 needs a GPU"),
        ({"backend": "dask"}, "backend dask needs scheduler"),
        ({"train": Path("/nowhere")}, "/nowhere"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    photos: Path, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError) as refused:
        extract_features(small_config(photos, tmp_path, **changes))
    assert told in str(refused.value)


def test_info_shows_identity_and_audit(reference: Path) -> None:
    info = json.loads(call("--info", str(reference)).stdout)
    assert info["backbone"] == "squeezenet1_1"
    assert info["audit"]["f2"]["max_magnitude"] > 0
    assert info["place_changes"] == {}  # a patch of 32 pixels has one place alone
    assert info["uneven_strides"] == uneven_of_squeezenet(info["image_size"])


def uneven_of_squeezenet(size: int) -> dict[str, list[int]]:
    """(n - k) mod s of its first convolution and of its max pools, which round up."""
    uneven = {}
    for node, hangs_over in (("0", False), ("2", True), ("5", True), ("8", True)):
        rest = (size - 3) % 2
        if rest and not hangs_over:
            uneven[f"features.{node}"] = [rest, rest]
        size = (size - 3 + hangs_over) // 2 + 1
    return uneven


def test_a_cache_keeps_the_audit_of_its_network(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU())
    for padding in ("zeros", "circular"):
        backbone = wrap_module(layers, name="own", taps=("1",), padding=padding, image_size=64)
        config = small_config(photos, tmp_path, image_size=64, padding=padding, limit=2)
        identity = FeatureCache(extract_features(config, backbone)).identity
        changes = place_changes(backbone, normalization="none", image_size=64)
        assert identity.place_changes == {"f1": pytest.approx(changes["f1"], rel=5e-3)}
        assert (identity.place_changes["f1"] > 1e-3) == (padding == "zeros")
        assert identity.uneven_strides == {"0": (1, 1)}  # (64 + 2 - 3) mod 2


def test_help_does_not_import_torch() -> None:
    code = "import sys, extract.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_verify_sets_damage_aside_and_extraction_repairs_it(
    resumable: Path, reference: Path, photos: Path
) -> None:
    shard = resumable / "shard-00001.h5"
    kept = (resumable / "shard-00000.h5").stat().st_mtime_ns
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)
    verified = call("--verify", str(resumable))
    assert verified.exit_code == 1
    assert "shard-00001.h5: changed in f2 of train image photo-" in verified.stdout
    assert "1 files" in verified.stderr
    extract_features(small_config(photos, resumable.parent))
    assert contents(resumable) == contents(reference)
    assert (resumable / "shard-00000.h5").stat().st_mtime_ns == kept
    assert call("--verify", str(resumable)).stdout == f"{resumable} is whole\n"


def test_a_cropped_cache_stands_beside_the_whole_one(photos: Path, tmp_path: Path) -> None:
    settings = {"limit": 4, "image_size": 64, "crop_border": 1}
    folder = extract_features(small_config(photos, tmp_path, **settings))
    assert folder.name == "squeezenet1_1-random-zeros-image-size-64-crop-border-1"
    assert FeatureCache(folder).identity.features.crop_border == 1
    with pytest.raises(UserError, match="--crop-border 9: level f1 has 15x15 cells"):
        extract_features(small_config(photos, tmp_path, **{**settings, "crop_border": 9}))
    with pytest.raises(UserError, match="crop_border -1 must be at least 0"):
        small_config(photos, tmp_path, crop_border=-1)


def test_random_weights_of_another_seed_have_a_cache_of_their_own(
    resumable: Path, photos: Path
) -> None:
    folder = extract_features(small_config(photos, resumable.parent, seed=1, limit=2))
    assert folder.name == "squeezenet1_1-random-seed1-zeros-image-size-32"
    assert len(FeatureCache(resumable).records) == 150


def test_the_folder_says_the_padding_of_your_own_module(photos: Path, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    backbone = wrap_module(
        module, name="../../mine", taps=("1",), weights="a/b\n", padding="reflect", image_size=32
    )
    folder = extract_features(small_config(photos, tmp_path, limit=2), backbone)
    assert folder == tmp_path / "mine-a-b--reflect-image-size-32"


def test_maps_of_a_single_cell_are_refused(photos: Path, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    backbone = wrap_module(module, name="flat", taps=("1",), image_size=32)
    with pytest.raises(UserError, match="level f1 has 1x1 cells, which cannot carry position"):
        extract_features(small_config(photos, tmp_path, limit=2), backbone)
