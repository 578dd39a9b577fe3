"""What was found in image files: believed while they are the same, and no reason to fail."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.images import folder
from data.images.decoding import UnreadableError
from data.images.files import scan_index, stamps
from data.images.files.kept_verdicts import Verdict
from data.images.files.scan_index import ScanIndex
from data.images.image_set import ImageSet, open_images
from data.tools.errors import UserError
from tests.extraction import make_photos

FILES = 12


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    photos = make_photos(tmp_path / "photos", train=FILES, test=3)
    (photos / "train" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return photos


def look(photos: Path, scans: Path | None, **changes: Any) -> ImageSet:
    options: dict[str, Any] = {"limit": None, "seed": 0, "num_workers": 2, "image_size": 32}
    folders = {"train": photos / "train", "test": photos / "test"}
    return open_images(folders, scans=scans, **{**options, **changes})


def test_a_second_look_decodes_nothing_and_finds_the_same(
    photos: Path, tmp_path: Path, examined: list[str]
):
    plain = look(photos, None)
    first = look(photos, tmp_path / "scans")
    examined.clear()
    second = look(photos, tmp_path / "scans")
    assert not examined
    assert plain.records == first.records == second.records
    assert plain.bad == first.bad == second.bad
    assert [bad.name for bad in second.bad] == ["broken.png"]
    assert plain.notes == second.notes


def test_of_a_limit_the_first_that_are_good(photos: Path, tmp_path: Path, examined: list[str]):
    look(photos, tmp_path, limit=5)
    examined.clear()
    assert look(photos, tmp_path, limit=8).records == look(photos, None, limit=8).records
    assert len(examined) == 3 + (1 + 8 + 3)  # the rest of the train images; all without an index


def test_an_image_of_both_sets_is_told_from_the_index(
    photos: Path, tmp_path: Path, examined: list[str]
):
    copied = (photos / "train" / "photo-004.png").read_bytes()
    (photos / "test" / "again.png").write_bytes(copied)
    look(photos, tmp_path)
    examined.clear()
    (note,) = look(photos, tmp_path).notes
    assert "photo-004.png and again.png" in note
    assert not examined


@pytest.mark.parametrize("way", ["in place", "renamed over", "touched"])
def test_a_file_changed_behind_its_size_and_time_is_noticed(
    way: str, photos: Path, tmp_path: Path, examined: list[str]
):
    path = photos / "train" / "photo-003.png"
    before = path.stat()
    look(photos, tmp_path)
    examined.clear()
    if way != "touched":
        pixels = np.random.default_rng(1).integers(0, 256, (48, 48, 3), np.uint8)
        other = tmp_path / "other.png"
        Image.fromarray(pixels).save(other)
        target = other if way == "renamed over" else path
        target.write_bytes(other.read_bytes())
        if way == "renamed over":
            other.replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(photos, tmp_path).records == look(photos, None).records
    assert examined[0] == "photo-003.png"


def test_a_file_that_is_mended_is_no_longer_bad(photos: Path, tmp_path: Path, examined: list[str]):
    assert look(photos, tmp_path).bad
    good = (photos / "train" / "photo-000.png").read_bytes()
    (photos / "train" / "broken.png").write_bytes(good)
    assert not look(photos, tmp_path).bad


def test_a_file_just_written_is_not_believed(
    photos: Path, tmp_path: Path, examined: list[str], monkeypatch: pytest.MonkeyPatch
):
    """It may change once more within one tick of the disk's clock, to the same size."""
    monkeypatch.setattr(stamps, "FRESH", 2 * 10**9)
    look(photos, tmp_path)
    examined.clear()
    look(photos, tmp_path)
    assert len(examined) == FILES + 1 + 3


def test_a_file_changed_while_it_was_examined_is_not_believed(photos: Path, tmp_path: Path):
    path = photos / "train" / "photo-001.png"
    scan_index_of = ScanIndex(tmp_path, photos / "train", 1)

    def examine(name: str) -> Verdict:
        path.write_bytes(b"something else by now")
        return Verdict("0" * 64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stamps, "FRESH", -1)
        assert list(scan_index_of.verdicts([path.name], examine)) == [Verdict("0" * 64)]
        again = ScanIndex(tmp_path, photos / "train", 1)
        assert list(again.verdicts([path.name], lambda _: Verdict("1" * 64))) == [Verdict("1" * 64)]


def test_what_this_user_cannot_read_is_not_kept(
    photos: Path, tmp_path: Path, examined: list[str], monkeypatch: pytest.MonkeyPatch
):
    def forbidden(path: Path) -> bytes:
        raise UnreadableError("cannot be read: Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "read_image_file", forbidden)
        (photos / "test" / "photo-000.png").touch()
        with pytest.raises(Exception, match="none of the"):
            look(photos, tmp_path)
    assert look(photos, tmp_path).records == look(photos, None).records


def test_other_rules_of_decoding_examine_again(
    photos: Path, tmp_path: Path, examined: list[str], monkeypatch: pytest.MonkeyPatch
):
    look(photos, tmp_path)
    examined.clear()
    monkeypatch.setattr(scan_index, "_decoder", lambda: b"another version")
    look(photos, tmp_path)
    assert len(examined) == FILES + 1 + 3


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "foreign", "forged", "folder"])
def test_a_damaged_index_is_a_line(
    damage: str,
    photos: Path,
    tmp_path: Path,
    examined: list[str],
    capsys: pytest.CaptureFixture[str],
):
    expected = look(photos, tmp_path / "scans")
    paths = list((tmp_path / "scans").glob("*.npz"))
    assert len(paths) == 2
    for path in paths:
        content = path.read_bytes()
        if damage == "flipped":  # in the middle of a hash
            content = content.replace(bytes.fromhex(expected.records[0].sha256), b"\0" * 32)
            content = content.replace(bytes.fromhex(expected.records[-12].sha256), b"\0" * 32)
        if damage == "forged":
            np.savez(path, decoder=np.frombuffer(scan_index._decoder(), np.uint8), names=path.name)
        elif damage == "folder":
            path.unlink()
            path.mkdir()
        else:
            made = {"cut": content[:-40], "empty": b"", "foreign": b"not an index"}
            path.write_bytes(made.get(damage, content))
    capsys.readouterr()
    examined.clear()
    found = look(photos, tmp_path / "scans")
    assert (found.records, found.bad) == (expected.records, expected.bad)
    assert "is ignored, its images are examined again" in capsys.readouterr().err
    assert len(examined) >= FILES


def test_an_index_that_cannot_be_written_is_a_line(
    photos: Path, tmp_path: Path, examined: list[str], capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "scans").write_text("a file where the folder should be")
    assert look(photos, tmp_path / "scans").records == look(photos, None).records
    assert capsys.readouterr().err.count("is not kept for the next run") == 2


def test_a_full_disk_is_a_line(
    photos: Path,
    tmp_path: Path,
    examined: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scan_index, "writing", full)
    assert look(photos, tmp_path).records == look(photos, None).records
    assert capsys.readouterr().err.count("is not kept for the next run") == 2


def test_an_interrupted_look_keeps_what_it_had_examined(photos: Path, tmp_path: Path):
    names = [f"photo-{number:03d}.png" for number in range(FILES)]

    def interrupted(name: str) -> Verdict:
        if name == names[7]:
            raise KeyboardInterrupt
        return Verdict(name[6:9] + "0" * 61)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stamps, "FRESH", -1)
        with pytest.raises(KeyboardInterrupt):
            list(ScanIndex(tmp_path, photos / "train", 1).verdicts(names, interrupted))
        asked: list[str] = []

        def examine(name: str) -> Verdict:
            asked.append(name)
            return Verdict("f" * 64)

        found = list(ScanIndex(tmp_path, photos / "train", 1).verdicts(names, examine))
    assert asked == names[7:]
    assert [verdict.sha256[:3] for verdict in found[:7]] == [name[6:9] for name in names[:7]]


def test_of_several_at_once_one_examines(photos: Path, tmp_path: Path, examined: list[str]):
    found: list[ImageSet] = []
    threads = [
        threading.Thread(target=lambda: found.append(look(photos, tmp_path, num_workers=1)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(examined) == FILES + 1 + 3
    assert found[0].records == found[1].records == found[2].records


@pytest.mark.parametrize("limit", [None, 1, 5, FILES, FILES + 5])
def test_a_believed_folder_gives_the_same_and_asks_no_image(
    limit: int | None, photos: Path, tmp_path: Path, examined: list[str], asked: list[str]
):
    (photos / "train" / "notes.txt").write_text("of no image")
    plain = look(photos, None, limit=limit)
    look(photos, tmp_path / "scans", limit=limit)
    examined.clear()
    asked.clear()
    found = look(photos, tmp_path / "scans", limit=limit, look_at_all=False)
    assert not examined
    assert sorted(asked) == ["broken.png", "notes.txt", "test", "train"]
    assert found.records == plain.records
    assert (found.bad, found.notes, len(found)) == (plain.bad, plain.notes, len(plain))
    assert found.unchanged(range(len(found)))
    np.testing.assert_array_equal(found.load(0), plain.load(0))


def test_more_than_was_examined_is_not_believed(photos: Path, tmp_path: Path, examined: list[str]):
    look(photos, tmp_path / "scans", limit=5)
    found = look(photos, tmp_path / "scans", limit=6, look_at_all=False)
    assert found.records == look(photos, None, limit=6).records


def add(photos: Path) -> None:
    (photos / "train" / "another.png").write_bytes((photos / "test/photo-000.png").read_bytes())


def add_in_a_new_folder(photos: Path) -> None:
    (photos / "train" / "more").mkdir()
    (photos / "train" / "more" / "a.png").write_bytes((photos / "test/photo-000.png").read_bytes())


def remove(photos: Path) -> None:
    (photos / "train" / "photo-002.png").unlink()


def rename(photos: Path) -> None:
    (photos / "train" / "photo-002.png").rename(photos / "train" / "photo-900.png")


def exchange(photos: Path) -> None:
    (photos / "test" / "photo-001.png").replace(photos / "train" / "photo-002.png")


def mend(photos: Path) -> None:
    (photos / "train" / "broken.png").write_bytes((photos / "test/photo-001.png").read_bytes())


def make_an_image_of_a_text(photos: Path) -> None:
    (photos / "train" / "notes").write_bytes((photos / "test/photo-001.png").read_bytes())


@pytest.mark.parametrize(
    "change",
    [add, add_in_a_new_folder, remove, rename, exchange, mend, make_an_image_of_a_text],
    ids=lambda change: change.__name__,
)
def test_a_folder_that_changed_is_not_believed(
    change: Callable[[Path], None], photos: Path, tmp_path: Path, examined: list[str]
):
    (photos / "train" / "notes").write_text("an image some day")
    before = look(photos, tmp_path / "scans")
    change(photos)
    found = look(photos, tmp_path / "scans", look_at_all=False)
    assert found.records == look(photos, None).records != before.records
    again = look(photos, tmp_path / "scans", look_at_all=False)
    assert found.records == again.records


def test_a_folder_just_changed_is_not_believed(
    photos: Path, tmp_path: Path, examined: list[str], monkeypatch: pytest.MonkeyPatch, asked: Any
):
    """One more file may come within one tick of the disk's clock."""
    look(photos, tmp_path / "scans")
    monkeypatch.setattr(stamps, "FRESH", 10**12)
    os.utime(photos / "train")
    look(photos, tmp_path / "scans")
    asked.clear()
    look(photos, tmp_path / "scans", look_at_all=False)
    assert "photo-004.png" in asked


def test_a_believed_image_that_was_rewritten_in_place_is_changed(
    photos: Path, tmp_path: Path, examined: list[str]
):
    look(photos, tmp_path / "scans")
    (photos / "train" / "photo-003.png").write_bytes((photos / "test/photo-001.png").read_bytes())
    found = look(photos, tmp_path / "scans", look_at_all=False)
    assert found.unchanged([0, 1, 2, 4, FILES, len(found) - 1])
    assert not found.unchanged([3])
    with pytest.raises(UserError, match="its contents differ"):
        found.load(3)
