import errno
import fcntl
import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.cache.files.locks import CacheLocks
from data.cache.identity import Calibration, Identity, Images
from data.cache.reader import FeatureCache
from data.images.source import BadImage, ImageRecord
from data.tools.errors import UserError
from data.tools.hdf5 import open_hdf5
from tests.caches import write_cache

CHANNELS = {"input": 3, "f1": 5, "f2": 2}
COUNT = 150  # three shards, the last one short
RECORDS = [
    ImageRecord(f"folder {n}/ä-{n}.jpg", "train" if n < 100 else "test", f"{n:064x}")
    for n in range(COUNT)
]
BAD = [BadImage("broken.jpg", "train", "not an image")]


def random_features(seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        level: generator.normal(size=(COUNT, channels, 28, 28)).astype(np.float16)
        for level, channels in CHANNELS.items()
    }


FEATURES = random_features()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features") / "cache"
    identity = Identity(backbone="toy", sources={"train": "/a"})
    write_cache(folder, identity, RECORDS, FEATURES, BAD)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_cache_tells_what_it_was_made_from(folder: Path) -> None:
    cache = FeatureCache(folder)
    assert cache.records == tuple(RECORDS)
    assert cache.bad == tuple(BAD)
    assert cache.levels == CHANNELS
    assert list(cache.levels) == list(CHANNELS)
    assert cache.identity.backbone == "toy"
    assert cache.identity.images.counts == {"train": 100, "test": 50}
    assert cache.rows("test").tolist() == list(range(100, 150))
    assert cache.rows("black").tolist() == []
    for level, features in FEATURES.items():
        assert cache.audit[level]["max_magnitude"] == np.abs(features.astype(np.float64)).max()


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(0, COUNT - 1), max_size=80),
    level=st.sampled_from(list(CHANNELS)),
    strided=st.booleans(),
)
def test_read_is_fancy_indexing(folder: Path, rows: list[int], level: str, strided: bool) -> None:
    cache = FeatureCache(folder)
    out = None
    if strided:
        out = np.full((len(rows), CHANNELS[level] + 2, 28, 28), np.nan, np.float16)[:, 1:-1]
    read = cache.read(level, np.array(rows, np.int64), out)
    np.testing.assert_array_equal(read, FEATURES[level][rows])
    assert out is None or read is out


@pytest.mark.parametrize("row", [-1, COUNT])
def test_read_refuses_rows_that_do_not_exist(folder: Path, row: int) -> None:
    with pytest.raises(IndexError, match="0 to 149"):
        FeatureCache(folder).read("f1", [row])


def test_read_refuses_unknown_levels_and_lists_the_good_ones(folder: Path) -> None:
    with pytest.raises(UserError, match=r"'f9'.*use one of input, f1, f2"):
        FeatureCache(folder).read("f9", [0])


def test_cache_survives_pickling_and_moving(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    write_cache(moved.with_name("made"), Identity(backbone="toy"), RECORDS, FEATURES)
    moved.with_name("made").rename(moved)
    cache = pickle.loads(pickle.dumps(FeatureCache(moved)))
    np.testing.assert_array_equal(cache.read("f2", [149, 0]), FEATURES["f2"][[149, 0]])
    with h5py.File(moved / "cache.h5") as file:
        np.testing.assert_array_equal(file["f1"][60:70], FEATURES["f1"][60:70])


def test_plain_h5py_reads_every_level_and_the_names(folder: Path) -> None:
    with h5py.File(folder / "cache.h5") as file:
        for level, features in FEATURES.items():
            np.testing.assert_array_equal(file[level][()], features)
        assert file["name"].asstr()[149] == RECORDS[149].name
        assert file["bad/reason"].asstr()[0] == "not an image"


def test_equal_features_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # HDF5 keeps times in whole seconds, where it keeps them
    identity = Identity(backbone="toy", sources={"train": "/a"})
    write_cache(tmp_path / "again", identity, RECORDS, FEATURES, BAD)
    assert contents(tmp_path / "again") == contents(folder)


def test_sha256sum_agrees(folder: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True
    )
    checked = {line.split(":")[0] for line in done.stdout.splitlines()}
    assert checked == {path.name for path in folder.iterdir()} - {"SHA256SUMS"}


def test_file_names_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    records = [ImageRecord(name, "train", "0" * 64)]
    arrays = {"f1": np.zeros((1, 1, 28, 28), np.float16)}
    assert write_cache(tmp_path / "cache", Identity(), records, arrays).records[0].name == name


def test_compressed_cache_reads_the_same(folder: Path, tmp_path: Path) -> None:
    identity = Identity(backbone="toy", compression="bitshuffle-lz4")
    features = {level: np.round(array) for level, array in FEATURES.items()}
    cache = write_cache(tmp_path / "small", identity, RECORDS, features)
    rows = [3, 149, 64, 63, 3]
    np.testing.assert_array_equal(cache.read("f1", rows), features["f1"][rows])
    size = sum(path.stat().st_size for path in (tmp_path / "small").glob("shard*"))
    assert size < 0.7 * sum(array.nbytes for array in features.values())


def test_values_beyond_float16_name_image_and_level(tmp_path: Path) -> None:
    features = random_features()
    features["f2"][70, 1, 3, 4] = -np.inf
    with pytest.raises(UserError, match=r"level f2 of train image folder 70/ä-70\.jpg"):
        write_cache(tmp_path / "cache", Identity(), RECORDS, features)


@pytest.mark.parametrize("damage", ["no index", "no shard", "short shard", "no folder"])
def test_incomplete_caches_are_refused(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "cache"
    if damage != "no folder":
        write_cache(folder, Identity(), RECORDS, FEATURES)
    if damage == "no index":
        (folder / "cache.h5").unlink()
    if damage == "no shard":
        (folder / "shard-00001.h5").unlink()
    if damage == "short shard":
        os.truncate(folder / "shard-00002.h5", 5000)
    expected = {
        "no index": "incomplete cache",
        "no shard": "shard-00001.h5 is missing",
        "short shard": "shard-00002.h5 is 5000 bytes long instead of",
        "no folder": "holds no cache",
    }
    with pytest.raises(UserError, match=expected[damage]):
        FeatureCache(folder)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    from data.cache.files.sums import read_sums, write_sums
    from data.tools.files import sha256_of

    write_cache(tmp_path, Identity(), RECORDS, FEATURES)
    with h5py.File(tmp_path / "cache.h5", "r+") as file:
        file.attrs["schema"] = 99
    sums = read_sums(tmp_path)
    write_sums(tmp_path, {**sums, "cache.h5": sha256_of(tmp_path / "cache.h5")})
    with pytest.raises(UserError, match="schema version 99, this program reads 2"):
        FeatureCache(tmp_path)


def test_a_disk_without_locks_is_named_with_its_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(UserError, match="HDF5_USE_FILE_LOCKING=FALSE"):
        open_hdf5(folder / "cache.h5")


def test_a_missing_plugin_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cache(tmp_path, Identity(compression="bitshuffle-lz4"), RECORDS, FEATURES)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(UserError, match=r"pip install 'position-probes\[compression\]'"):
        FeatureCache(tmp_path)


def test_work_goes_on_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with CacheLocks(tmp_path) as locks, locks.whole(), locks.shards([0, 1]):
        pass
    assert "no locks available" in capsys.readouterr().err


def test_an_identity_is_the_same_from_json_and_old_ones_stay_readable() -> None:
    identity = Identity(
        backbone="toy",
        weights="random",
        padding="zeros",
        taps=("a", "b"),
        levels={"f2": 1, "f1": 2},
        calibration=Calibration(64, 16, "0" * 64),
        images=Images({"train": 3}, "1" * 64),
    )
    again = Identity.from_json(json.loads(json.dumps(identity.to_json())))
    assert again == identity
    assert again.digest == identity.digest
    assert identity.to_json()["taps"] == ["a", "b"]
    # What a run of the pixels kept of it before it had a type.
    old = {"schema": 2, "protocol": "paper", "image_size": 224, "sources": {"train": "/a"}}
    assert Identity.from_json(old) == Identity(sources={"train": "/a"})
    assert Identity.from_json(old).backbone == "pixels"


@pytest.mark.parametrize(
    "forged",
    [
        *([], 3, None, {"colour": 1}, {"levels": ["f1"]}, {"levels": {"f1": "many"}}),
        *(
            {"taps": "abc"},
            {"images": {"counts": 3}},
            {"calibration": {"images": 1}},
            {"seed": "0"},
        ),
        *({"features": {"taps": "paper"}}, {"sources": {"train": None}}, {"schema": True}),
    ],
)
def test_a_forged_identity_is_refused(forged: object) -> None:
    with pytest.raises(ValueError):
        Identity.from_json(forged)


def test_identities_differ_in_content_not_in_place() -> None:
    before = Identity(
        sources={"train": "/a"},
        levels={"f1": 1, "f2": 1},
        weights_provenance={"loss": float("nan"), "shape": (1, 2), "classes": {3: "cat"}},
    )
    read = Identity.from_json(json.loads(json.dumps(before.to_json())))
    moved = replace(read, sources={"train": "/b"}, weights_source="elsewhere")
    assert read.differences(moved) == []
    assert before.differences(read) == []  # NaN, tuples and whole numbers as keys, through JSON
    assert before.digest == read.digest == moved.digest
    assert replace(before, versions={"torch": "1"}).content == before.content
    audited = replace(read, place_changes={"f1": 0.5}, uneven_strides={"0": (1, 1)})
    assert before.differences(audited) == []  # of an older version, without its audit
    assert audited.digest == before.digest
    assert audited.condition == before.condition
    assert Identity.from_json(json.loads(json.dumps(audited.to_json()))).uneven_strides == {
        "0": (1, 1)
    }
    other = replace(before, levels={"f2": 1, "f1": 1})
    assert before.differences(other) == [
        'levels: {"f1":1,"f2":1} in the cache, {"f2":1,"f1":1} now'
    ]
    assert before.digest != other.digest


def test_a_file_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "cache.h5").touch()
    with pytest.raises(UserError, match=f"is a file: give the folder of the cache, {tmp_path}"):
        FeatureCache(tmp_path / "cache.h5")
