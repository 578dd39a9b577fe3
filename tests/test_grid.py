"""Several backbones and paddings in one call: a cache for each, none lost for another's fault."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from extraction import contents, make_photos

from data.cache.reader import FeatureCache
from data.tools.errors import UserError
from extract.cli import main as extract_features
from probe.caches import find_caches
from probe.config import CacheConfig

# No padding is defined for plain chains alone, and a SqueezeNet has branches.
SMALL = ["--weights", "random", "--image-size", "32", "--precision", "fp32", "--num-workers", "1"]
TAPS = ["--taps", "features.3.squeeze,features.4.squeeze"]


def words(photos: Path, *more: str) -> list[str]:
    folders = [f"--{name}={photos / name}" for name in ("train", "test")]
    return [*SMALL, *TAPS, *folders, *more]


def test_every_combination_has_the_cache_it_has_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = make_photos(tmp_path / "photos", train=3, test=1)
    several = ["--backbone", "squeezenet1_1", "--backbone", "squeezenet1_0"]
    several += ["--padding", "reflect", "--padding", "zeros", "--padding", "reflect"]
    done = CliRunner().invoke(extract_features, words(photos, *several))
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"features/squeezenet1_{version}-random-{padding}-image-size-32"
        for version in (1, 0)
        for padding in ("reflect", "zeros")
    ]
    one = ["--backbone", "squeezenet1_1", "--padding", "reflect", "--cache-dir", "alone"]
    alone = Path(CliRunner().invoke(extract_features, words(photos, *one)).stdout.strip())
    assert contents(alone) == contents(Path("features", alone.name))
    caches = find_caches(CacheConfig(padding=("zeros",)))
    assert {(c.identity.backbone, c.identity.padding) for c in caches} == {
        ("squeezenet1_0", "zeros"),
        ("squeezenet1_1", "zeros"),
    }
    with pytest.raises(
        UserError, match=r"no cache of padding 'none' .* give one of reflect, zeros"
    ):
        find_caches(CacheConfig(padding=("none",)))
    Path("features/squeezenet1_0-random-zeros-image-size-32").rename(tmp_path / "away")
    with pytest.raises(UserError, match="is of backbone squeezenet1_0 with padding zeros"):
        find_caches(CacheConfig(backbone=("squeezenet1_0",), padding=("zeros",)))


def test_a_bad_combination_is_named_first_and_costs_no_other(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = make_photos(tmp_path / "photos", train=2, test=1)
    several = ["--backbone", "squeezenet1_1", "--backbone", "squeezenet9"]
    several += ["--padding", "zeros", "--padding", "none", "--jobs", "2"]
    done = CliRunner().invoke(extract_features, words(photos, *several))
    assert done.exit_code == 1
    assert done.stdout == "features/squeezenet1_1-random-zeros-image-size-32\n"
    FeatureCache(Path("features/squeezenet1_1-random-zeros-image-size-32"))  # complete
    lines = done.stderr.splitlines()
    named = [line for line in lines if line.startswith("error: --backbone")]
    assert lines[:3] == named  # before any work
    assert "--backbone squeezenet1_1 --padding none: " in named[0]
    assert "--backbone squeezenet9 --padding zeros: unknown backbone" in named[1]
    assert lines[-1].startswith("error: 3 of 4 were not done: ")


def test_what_fails_at_work_costs_no_other(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = make_photos(tmp_path / "photos", train=2, test=1)
    other = Path("features/squeezenet1_1-random-reflect-image-size-32")
    other.mkdir(parents=True)
    (other / "manifest.json").write_text("{}")  # somebody else's
    several = ["--backbone", "squeezenet1_1", "--padding", "reflect", "--padding", "zeros"]
    done = CliRunner().invoke(extract_features, words(photos, *several))
    assert done.exit_code == 1
    assert done.stdout == "features/squeezenet1_1-random-zeros-image-size-32\n"
    assert "is not that of a feature cache" in done.stderr
    assert (other / "manifest.json").read_text() == "{}"


def test_an_unknown_padding_is_a_usage_error_and_nothing_is_done(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    several = ["--backbone", "squeezenet1_1", "--padding", "zeros", "--padding", "zerox"]
    done = CliRunner().invoke(extract_features, several)
    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []
