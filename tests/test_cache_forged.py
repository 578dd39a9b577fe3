"""Caches from elsewhere: forged, linked, overwritten while they are read, on disks with whims."""

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks.flip_bits import IMAGES, make_cache, read_all
from data.cache.files.manifest import read_manifest
from data.cache.files.members import cache_files, remove_leftovers
from data.cache.files.sums import read_sums, write_sums
from data.cache.index import shard_fault
from data.cache.reader import FeatureCache
from data.cache.verify import Damage, find_damage, set_aside
from data.tools.errors import UserError
from data.tools.files import sha256_of
from extract.backbones.backbone import wrap_module
from extract.calibration import load_statistics
from probe.results.heads import read_head

SECRET = b"secret " * 100_000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    make_cache(tmp_path / "cache")
    (tmp_path / "secret").write_bytes(SECRET)
    return tmp_path / "cache"


def vouch(folder: Path) -> None:
    """Make `SHA256SUMS` agree with what the files have become, as a forger would."""
    names = [path.name for path in cache_files(folder) if path.name != "SHA256SUMS"]
    write_sums(folder, {name: sha256_of(folder / name) for name in names})


def external(file: h5py.File, name: str, secret: Path) -> None:
    old = file[name]
    shape, dtype, attributes = old.shape, old.dtype, dict(old.attrs)
    del file[name]
    count = int(np.prod(shape)) * dtype.itemsize
    new = file.create_dataset(name, shape, dtype, external=[(str(secret), 0, count)])
    new.attrs.update(attributes)


def soft(file: h5py.File, name: str, secret: Path) -> None:
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def other_file(file: h5py.File, name: str, secret: Path) -> None:
    secret.unlink()
    with h5py.File(secret, "w") as other:
        file.copy(name, other, "x")
    del file[name]
    file[name] = h5py.ExternalLink(str(secret), "/x")


def virtual(file: h5py.File, name: str, secret: Path) -> None:
    old = file[name]
    shape, dtype, attributes = old.shape, old.dtype, dict(old.attrs)
    del file[name]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource(str(secret), "x", shape)
    file.create_virtual_dataset(name, layout).attrs.update(attributes)


@pytest.mark.parametrize("lead", [external, soft, other_file, virtual])
@pytest.mark.parametrize("name", ["f1", "crc32", "shards/offset"])
def test_an_index_that_leads_to_other_files_is_refused(
    cache: Path, lead: Callable[[h5py.File, str, Path], None], name: str
) -> None:
    with h5py.File(cache / "cache.h5", "r+") as file:
        lead(file, name, cache.parent / "secret")
    vouch(cache)
    with pytest.raises(UserError, match=r"cache\.h5 is damaged"):
        FeatureCache(cache)
    assert [item.file for item in find_damage(cache)] == ["cache.h5"]


@pytest.mark.parametrize("lead", [external, soft, other_file, virtual])
def test_a_compressed_level_that_leads_to_another_file_is_refused(
    tmp_path: Path, lead: Callable[[h5py.File, str, Path], None]
) -> None:
    make_cache(tmp_path / "cache", "bitshuffle-lz4")
    (tmp_path / "secret").write_bytes(SECRET)
    shard = tmp_path / "cache" / "shard-00000.h5"
    with h5py.File(shard, "r+") as file:
        lead(file, "f1", tmp_path / "secret")
    manifest = read_manifest(tmp_path / "cache")
    assert "unreadable" in str(shard_fault(tmp_path / "cache", 0, manifest))
    with h5py.File(tmp_path / "cache" / "cache.h5", "r+") as file:
        file["shards/size"][0] = shard.stat().st_size
        file["shards/sha256"][0] = sha256_of(shard)
    vouch(tmp_path / "cache")
    opened = FeatureCache(tmp_path / "cache")
    with pytest.raises(UserError, match=r"shard-00000\.h5 cannot be read \(.*another"):
        opened.read("f1", [0])


FORGERIES: dict[str, Callable[[h5py.File], object]] = {
    "identity": lambda file: file.attrs.modify("identity", "{}"),
    "identity list": lambda file: file.attrs.modify("identity", "[" * 5000 + "]" * 5000),
    "schema": lambda file: file.attrs.__setitem__("schema", [2, 2]),
    "no schema": lambda file: file.attrs.__delitem__("schema"),
    "sizes": lambda file: file["shards/size"].write_direct(np.array([1, -1])),
    "offsets": lambda file: file["shards/offset"].__setitem__((0, 0), 2**62),
    "negative": lambda file: file["shards/offset"].__setitem__((0, 0), -8),
    "compressed": lambda file: file["shards/offset"].__setitem__((0, 0), -1),
    "beyond": lambda file: file["shards/offset"].__setitem__(
        (1, 2), file["shards/size"][1] - 6 * 2 * 28 * 28 * 2 + 2
    ),
    "audit": lambda file: file["f1"].attrs.__setitem__("max_magnitude", "large"),
    "level gone": lambda file: file.__delitem__("f1"),
    "level a group": lambda file: (file.__delitem__("f1"), file.create_group("f1")),
    "names gone": lambda file: file.__delitem__("name"),
    "names numbers": lambda file: (
        file.__delitem__("name"),
        file.create_dataset("name", data=np.arange(IMAGES)),
    ),
    "names endless": lambda file: (
        file.__delitem__("name"),
        file.create_dataset("name", (2**50,), h5py.string_dtype(), chunks=(64,)),
    ),
    "levels": lambda file: file.attrs.modify(
        "identity", str(file.attrs["identity"]).replace('"f1":4', '"f1":400000000000')
    ),
    "counts": lambda file: file.attrs.modify(
        "identity", str(file.attrs["identity"]).replace('"train":70', '"train":7000000000000')
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_index_is_refused(cache: Path, forgery: str) -> None:
    with h5py.File(cache / "cache.h5", "r+") as file:
        FORGERIES[forgery](file)
    vouch(cache)
    with pytest.raises(UserError):
        FeatureCache(cache)
    assert "cache.h5" in [item.file for item in find_damage(cache)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forged") / "cache"
    make_cache(folder)
    return folder


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1))
def test_any_bytes_in_the_index_end_in_a_refusal_or_in_features(
    whole: Path, changes: list[tuple[float, int]]
) -> None:
    path = whole / "cache.h5"
    before, sums = path.read_bytes(), read_sums(whole)
    forged = bytearray(before)
    for where, value in changes:
        forged[int(where * len(forged))] = value
    path.write_bytes(forged)
    write_sums(whole, {**sums, "cache.h5": hashlib.sha256(forged).hexdigest()})
    try:
        with suppress(UserError):
            read_all(whole)
        find_damage(whole)
    finally:
        path.write_bytes(before)
        write_sums(whole, sums)


def test_a_cache_overwritten_while_it_is_read_is_not_mixed(cache: Path) -> None:
    opened = FeatureCache(cache)
    first = opened.read("f1", [0])
    other = cache.parent / "other"
    make_cache(other)
    shard = bytearray((other / "shard-00000.h5").read_bytes())
    shard[-3000:] = bytes(3000)
    (other / "shard-00000.h5").write_bytes(shard)  # of the same length
    os.replace(other / "shard-00000.h5", cache / "shard-00000.h5")
    with pytest.raises(UserError, match=r"shard-00000\.h5 is not the file that was opened"):
        opened.read("f1", [0])
    os.replace(other / "shard-00001.h5", cache / "shard-00001.h5")  # the same bytes again
    assert opened.read("f1", [IMAGES - 1]).shape == first.shape


def test_a_cache_overwritten_while_it_is_opened_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data.cache import reader

    def read_and_overwrite(folder: Path) -> object:
        index = read(folder)
        os.replace(cache.parent / "new", cache / "cache.h5")
        return index

    read = reader.read_index
    (cache.parent / "new").write_bytes((cache / "cache.h5").read_bytes())
    monkeypatch.setattr(reader, "read_index", read_and_overwrite)
    with pytest.raises(UserError, match=r"cache\.h5 is not the file that was opened"):
        FeatureCache(cache)


def test_a_copied_renamed_or_linked_cache_reads_the_same(cache: Path, tmp_path: Path) -> None:
    opened = FeatureCache(cache)
    (tmp_path / "pixels").symlink_to(cache)
    linked = FeatureCache(tmp_path / "pixels")
    assert linked.identity == opened.identity
    np.testing.assert_array_equal(linked.read("f1", [3]), opened.read("f1", [3]))


@pytest.mark.parametrize("most", [1, 1000, 20_000])
def test_short_reads_are_gone_on_with(
    cache: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    opened = FeatureCache(cache)
    rows = [0, 1, 2, 65] if most > 1 else [1]
    expected = opened.read("f1", rows)

    def read_less(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return plain(descriptor, [buffers[0][:most]], offset)

    plain = os.preadv
    monkeypatch.setattr(os, "preadv", read_less)
    np.testing.assert_array_equal(opened.read("f1", rows), expected)


def test_an_error_of_the_disk_names_the_shard(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    opened = FeatureCache(cache)
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(UserError, match=r"shard-00000\.h5 cannot be read .*Input/output error"):
        opened.read("f1", [0])


@pytest.mark.parametrize("name", ["cache.h5", "SHA256SUMS", "manifest.json", "shard-00001.h5"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe", "folder"])
def test_verify_opens_regular_files_alone(cache: Path, name: str, kind: str) -> None:
    path = cache / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(cache / "pipe")
        path.symlink_to(cache / "pipe")
    damage: list[Damage] = []
    verify = threading.Thread(target=lambda: damage.extend(find_damage(cache)), daemon=True)
    verify.start()
    verify.join(20)
    assert name in [item.file for item in damage]  # and it did not wait for the pipe
    set_aside(cache, damage)
    assert not os.path.lexists(cache / "cache.h5")  # it is no complete cache any more
    remove_leftovers(cache)


def test_sums_cannot_have_other_files_renamed_or_deleted(cache: Path) -> None:
    for name in ("notes.txt", "shard-notes.h5", "paper.pdf.part", "old.damaged", "..", ".lock"):
        if name != "..":
            (cache / name).write_text("mine")
        sums = (cache / "SHA256SUMS").read_text()
        (cache / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n" + sums)
        damage = find_damage(cache)
        assert [item.file for item in damage] == ["SHA256SUMS"]
        (cache / "SHA256SUMS").write_text(sums)
    set_aside(cache, damage)
    remove_leftovers(cache)
    for path in cache_files(cache):
        path.unlink()
    assert sorted(path.name for path in cache.iterdir()) == [
        *(".lock", "notes.txt", "old.damaged", "paper.pdf.part", "shard-notes.h5")
    ]


def test_sums_that_name_more_shards_than_there_are(cache: Path) -> None:
    write_sums(cache, {**read_sums(cache), "shard-99999.h5": "0" * 64})
    (cache / "shard-99999.h5").write_text("?")
    damage = find_damage(cache)
    assert [item.file for item in damage] == ["SHA256SUMS", "shard-99999.h5"]


@pytest.mark.parametrize("steps", range(1, 4))
def test_verify_killed_between_its_renames_leaves_no_hidden_damage(
    cache: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    # As long as a damaged shard has its name, there is an index: nothing would check it again.
    shard = cache / "shard-00001.h5"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    damage = find_damage(cache)
    done: list[Path] = []

    def kill_later(path: Path, target: Path) -> None:
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(path)
        os.replace(path, target)

    monkeypatch.setattr(Path, "replace", kill_later)
    with suppress(KeyboardInterrupt):
        set_aside(cache, damage)
    assert not shard.exists()
    with pytest.raises(UserError):
        FeatureCache(cache)


def test_leftovers_of_killed_runs_and_repairs_are_removed(cache: Path) -> None:
    names = {path.name for path in cache.iterdir()}
    for name in ("shard-00000.h5.0123456789abcdef.part", "cache.h5.damaged"):
        (cache / name).touch()
    remove_leftovers(cache)
    assert {path.name for path in cache.iterdir()} == names


def test_a_disk_that_cannot_be_written_is_told_of(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    (cache / "shard-00000.h5").write_bytes(b"?")
    damage = find_damage(cache)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match=r"shard-00000\.h5 is damaged and cannot .*Read-only"):
        set_aside(cache, damage)


@pytest.mark.parametrize("lead", [external, soft, other_file, virtual])
def test_heads_that_lead_to_another_file_are_refused(
    tmp_path: Path, lead: Callable[[h5py.File, str, Path], None]
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "run").mkdir()
    with h5py.File(tmp_path / "run" / "heads.h5", "w") as file:
        file["head/weights/0.weight"] = np.zeros((1, 4, 1, 1))
        file["head"].attrs.update(spec="{}", facts="{}")
        lead(file, "head/weights/0.weight", tmp_path / "secret")
    with pytest.raises(UserError, match=r"heads\.h5 is damaged .*another"):
        read_head(tmp_path, "run", "head")


@pytest.mark.parametrize("lead", [external, soft, other_file, virtual])
def test_statistics_that_lead_to_another_file_are_refused(
    tmp_path: Path, lead: Callable[[h5py.File, str, Path], None]
) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    backbone = wrap_module(module, name="small", taps=("2", "3"), image_size=16)
    (tmp_path / "secret").write_bytes(SECRET)
    path = tmp_path / "calibration.h5"
    with h5py.File(path, "w") as file:
        file["1.running_mean"] = np.full(4, 5.0, np.float32)
        file["1.running_var"] = np.full(4, 3.0, np.float32)
    load_statistics(path.read_bytes(), backbone)
    kept = dict(backbone.module.named_buffers())["1.running_mean"]
    assert kept.tolist() == [5.0] * 4
    with h5py.File(path, "r+") as file:
        lead(file, "1.running_mean", tmp_path / "secret")
    with pytest.raises(UserError, match=r"does not hold the statistics .*another"):
        load_statistics(path.read_bytes(), backbone)
