"""Caches are listed with their states, and removed only where they are ours and at rest."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from extraction import make_photos, small_config

from data.cache.files.locks import CacheLocks
from data.cache.listing import cache_listing, cache_state, remove_cache
from data.tools.errors import UserError
from extract.cli import main
from extract.run import extract_features


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    photos = make_photos(tmp_path / "photos", train=3, test=1)
    return extract_features(small_config(photos, tmp_path / "features"))


def test_states_and_sizes(cache: Path) -> None:
    size = sum(path.stat().st_size for path in cache.iterdir() if path.name != ".lock")
    line = cache_listing(cache.parent)
    assert line.startswith(cache.name)
    assert f"{size / 1e6:.1f} MB  complete, 14 images" in line
    for words in (["--list", str(cache.parent)], ["--info", str(cache.parent)]):
        assert CliRunner().invoke(main, words).stdout == line + "\n"
    (cache / "cache.h5").unlink()
    assert cache_state(cache) == "unfinished, 1 of 1 shards of 14 images"
    (cache / "manifest.json").write_text("{")
    assert cache_state(cache).startswith("cannot be read: ")


def test_only_ours_is_removed(cache: Path, tmp_path: Path) -> None:
    (cache / "notes.txt").write_text("mine")
    assert "kept" in remove_cache(cache)
    assert {path.name for path in cache.iterdir()} <= {"notes.txt", ".lock"}
    with pytest.raises(UserError, match="no feature cache"):
        remove_cache(cache)
    with pytest.raises(UserError, match="no feature cache"):
        remove_cache(tmp_path / "photos")
    assert CliRunner().invoke(main, ["--list", str(cache.parent)]).exit_code == 1


def test_a_whole_folder_goes(cache: Path) -> None:
    outcome = CliRunner().invoke(main, ["--remove", str(cache)])
    assert outcome.exit_code == 0
    assert not cache.exists()


def test_a_cache_at_work_stays(cache: Path) -> None:
    before = sorted(path.name for path in cache.iterdir())
    with (
        CacheLocks(cache) as locks,
        locks.shards([0]),
        pytest.raises(UserError, match="another process is extracting shard 0"),
    ):
        remove_cache(cache)
    assert sorted({path.name for path in cache.iterdir()} - {".lock"}) == sorted(
        set(before) - {".lock"}
    )


def test_quiet_says_errors_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = make_photos(tmp_path / "photos", train=2, test=1)
    words = ["--backbone", "squeezenet1_1", "--weights", "random", "--image-size", "32"]
    words += ["--taps", "features.3.squeeze", "--train", str(photos / "train")]
    words += ["--test", str(photos / "test")]
    quiet = CliRunner().invoke(main, [*words, "--quiet"])
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert "complete: nothing to do" in CliRunner().invoke(main, words).stderr
    refused = CliRunner().invoke(main, [*words, "--seed", "-1", "--quiet"])
    assert refused.stderr.startswith("error: --seed -1")
