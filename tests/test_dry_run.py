"""--dry-run says what would be made and what it would cost, exactly, and writes nothing."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from extraction import make_photos

from analysis.cli import main as make_tables
from data.cache.pooled.reader import POOLINGS, PooledCache
from data.cache.reader import FeatureCache
from extract.cli import main as extract_features
from extract.tasks.cli import main as train_backbone
from probe.cli import main as train_probes

SMALL = ["--backbone", "squeezenet1_1", "--weights", "random", "--precision", "fp32"]
SMALL += ["--num-workers", "1", "--image-size", "32"]
TAPS = ["--taps", "features.3.squeeze,features.6.squeeze"]
TRAIN = ["--levels", "f1", "--pattern", "H", "--epochs", "2", "--batch-size", "8"]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def dry(command, words: list[str], folder: Path) -> str:
    """What a dry run prints; it leaves the folder as it was, folders and all."""
    before, paths = everything(folder), set(folder.rglob("*"))
    done = CliRunner().invoke(command, [*words, "--dry-run"])
    assert done.exit_code == 0, done.stderr
    assert (everything(folder), set(folder.rglob("*"))) == (before, paths)
    return done.stdout


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos", train=60, test=8)
    return tmp_path


def test_the_size_is_that_of_the_cache_then_made(work: Path) -> None:
    words = [*SMALL, *TAPS, "--train", "photos/train", "--test", "photos/test"]
    several = [*words, "--padding", "zeros", "--padding", "reflect"]
    planned = dry(extract_features, several, work)
    sizes = [int(text) for text in re.findall(r"size: (\d+) bytes in 2 shards", planned)]
    assert planned.count(": to be made") == 2
    assert planned.count("images: train 60, test 8, black 1, white 1, noise 8: 78") == 2
    assert planned.count("levels: input 3, f1 16, f2 32: 51 channels, 28x28 float16") == 2
    assert planned.count("work: 78 images in 5 batches of at most 16, on cpu in fp32") == 2
    made = CliRunner().invoke(extract_features, several)
    folders = [Path(line) for line in made.stdout.splitlines()]
    files = [sum(p.stat().st_size for p in folder.glob("shard-*.h5")) for folder in folders]
    assert sizes == files == [FeatureCache(folder).size for folder in folders]
    assert dry(extract_features, several, work).count("complete: nothing to do") == 2
    # Unfinished: the shard that is missing, to the byte.
    shard = folders[0] / "shard-00001.h5"
    lost = shard.stat().st_size
    shard.unlink()
    (folders[0] / "cache.h5").unlink()
    planned = dry(extract_features, words, work)
    assert "unfinished, 1 of 2 shards are there" in planned
    assert f"to write: {lost} bytes" in planned
    assert "work: 14 images in 1 batches" in planned


def test_another_cache_in_the_folder_is_said(work: Path) -> None:
    words = [*SMALL, *TAPS, "--train", "photos/train", "--test", "photos/test"]
    CliRunner().invoke(extract_features, [*words, "--limit", "3"])
    refused = CliRunner().invoke(extract_features, [*words, "--limit", "4", "--dry-run"])
    assert refused.exit_code == 1
    assert "was made from something else" in refused.stderr


def test_training_and_tables(work: Path) -> None:
    CliRunner().invoke(extract_features, [*SMALL, *TAPS, "--train=photos/train", "--limit", "9"])
    planned = dry(train_probes, TRAIN, work)
    assert planned.startswith("results/squeezenet1_1-random-zeros-image-size-32: 1 heads to train")
    assert "1 heads, 9 training images, 2 epochs: " in planned
    assert "; 4 steps, where " in planned  # two batches an epoch
    assert CliRunner().invoke(train_probes, TRAIN).exit_code == 0
    assert "0 heads to train, 1 finished" in dry(train_probes, TRAIN, work)
    more = dry(train_probes, [*TRAIN, "--pattern", "V"], work)
    assert "1 heads to train, 1 finished" in more
    exact = dry(train_probes, ["--levels", "f1", "--pattern", "H", "--solver", "exact"], work)
    images = len(FeatureCache(next(Path("features").glob("*/cache.h5")).parent))
    assert f"{images * 16 * 28 * 28 * 2} bytes to read" in exact
    planned = dry(make_tables, ["--format", "csv"], work)
    assert "results: 1 runs, " in planned
    CliRunner().invoke(make_tables, ["--format", "csv"])
    tables = {path.stem for path in Path("tables").glob("table_*.csv")}
    assert tables == {f"table_{name}" for name in re.findall(r"table (\S+):", planned)}


def test_a_target_of_ones_own_is_not_kept(work: Path) -> None:
    import numpy as np

    CliRunner().invoke(extract_features, [*SMALL, *TAPS, "--train=photos/train", "--limit", "3"])
    np.save(work / "corner.npy", np.eye(5))
    words = ["--levels", "f1", "--target", "corner=corner.npy", "--epochs", "1"]
    assert "1 heads to train" in dry(train_probes, words, work)


def test_placed_studies(work: Path) -> None:
    words = [*SMALL[:-2], *TAPS, "--placed", "grid", "--grid", "3", "--patch-limit", "10"]
    words += ["--patch-size", "16"]
    planned = dry(extract_features, words, work)
    assert "10 patches at 9 places of 48x48 pixels: 90" in planned
    (folder,) = CliRunner().invoke(extract_features, words).stdout.split()
    cache = PooledCache(Path(folder))
    vectors = [cache.read(level, pooling) for level in cache.levels for pooling in POOLINGS]
    labels = 90 * (4 + 2 + 2 + 1)
    assert f"size: {sum(v.nbytes for v in vectors) + labels} bytes" in planned
    assert "complete: nothing to do" in dry(extract_features, words, work)
    planned = dry(train_probes, ["--placed", "--levels", "f1"], work)
    assert "readings to solve for, 0 heads finished" in planned
    assert "48 channels of 2 levels" in dry(
        train_probes, ["--channels", "--levels", "f1", "--levels", "f2"], work
    )


def test_tasks(work: Path) -> None:
    planned = dry(train_backbone, ["--task", "rook", "--seeds", "2"], work)
    assert "0 of 5 epochs finished; 40 steps an epoch, 200 to go" in planned
