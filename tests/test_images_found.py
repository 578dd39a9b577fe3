from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_images import find, names_of, picture, save

from data.images.image_set import find_images
from data.tools.errors import UserError


def test_files_are_decided_by_content(tmp_path: Path) -> None:
    save(tmp_path, "a.png", "b.png", "c.png", "d.jpg", "e.png", "f.gif", "g.tif", "h.bmp", "i.ppm")
    renames = {
        "b.png": "noending",
        "c.png": "c.png_large",
        "d.jpg": "d.jpg.1",
        "e.png": "e.png\r",
        "f.gif": "f.txt",
        "g.tif": "g.png?w=640",
        "h.bmp": "h.BMP~",
        "i.ppm": "i",
    }
    for old, new in renames.items():
        (tmp_path / old).rename(tmp_path / new)
    contents = {
        "j.jxl": b"\xff\x0a" + bytes(50),
        "k": b"\0\0\0\x18ftypheic" + bytes(50),
        "l.CR2": b"II*\0" + bytes(50),
        "m": b"\x89PNG\r\n\x1a\n",
        "n.dicom": bytes(128) + b"DICM" + bytes(50),
        "BMW.txt": b"BM is how this text begins, and it is no image",
        "P5.txt": b"P5 is the paper of the fifth group",
        "o.csv": b"name,x\n",
        "p.txt": b"",
        "q": b"text",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    found = find(tmp_path)
    assert names_of(found) == sorted(["a.png", *renames.values()])
    reasons = {bad.name: bad.reason for bad in found.bad if bad.images == "train"}
    assert list(reasons) == ["j.jxl", "k", "l.CR2", "m", "n.dicom"]
    assert [reasons[name].split(",")[0] for name in ("j.jxl", "k", "n.dicom")] == [
        "JPEG XL",
        "HEIC",
        "DICOM",
    ]
    assert found.notes[0] == (
        "left out of the train images: 5 files: 3 .txt, 1 .csv, 1 without an ending"
    )


def test_files_of_systems_are_left_out_and_counted(tmp_path: Path) -> None:
    save(tmp_path, "a.png", "b/c.png", "b/.hidden.png", ".cache/d.png", ".cache/deep/e.png")
    left_out = [
        *("@eaDir/a.png/SYNOPHOTO_THUMB_M.png", ".thumbnails/x.png", ".@__thumb/a.png"),
        *("__MACOSX/._a.png", "b/._c.png", "._b/x.png", "#recycle/y.png", "b/@eadir/z.png"),
    ]
    save(tmp_path, *left_out)
    for name in (".DS_Store", "Thumbs.db", "b/desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\0")
    found = find(tmp_path)
    assert names_of(found) == ["a.png", "b/c.png"]
    assert found.bad == ()
    assert found.notes[0] == (
        "left out of the train images: 14 files: 11 of a storage system (thumbnails, ._ files), "
        "3 hidden"
    )


def test_a_folder_inside_a_folder_of_the_system_can_be_given(tmp_path: Path) -> None:
    save(tmp_path / ".thumbnails", "a.png")
    assert names_of(find(tmp_path / ".thumbnails")) == ["a.png"]


@pytest.mark.parametrize("name", [b"caf\xe9 \xf0\x9f\xa6\x8a.png", b"\xff", b"a/\xff\xff/b.png"])
def test_a_name_that_is_not_utf8_whatever_else_is_in_it(tmp_path: Path, name: bytes) -> None:
    save(tmp_path, "a.png")
    target = os.path.join(os.fsencode(tmp_path), name)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(tmp_path / "a.png", target)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    found = find(tmp_path)
    assert names_of(found) == ["a.png"]
    assert found.bad[0].reason == "its name is not UTF-8: rename it"
    found.bad[0].name.encode("utf-8")


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
@settings(max_examples=40, deadline=None)
def test_names_are_data(name: str) -> None:
    name = name.encode()[:100].decode(errors="ignore") or "x"
    with tempfile.TemporaryDirectory() as folder:
        picture().save(Path(folder) / "~.png")
        if name in (".", "..") or name.startswith("."):
            return
        (Path(folder) / "~.png").rename(Path(folder) / name)
        found = find(Path(folder))
        assert names_of(found) == [name]
        assert found.load(0).shape == (32, 32, 3)


def test_the_same_image_in_both_sets(tmp_path: Path) -> None:
    save(tmp_path, "train/a.png", "train/b.png", "train/c.png")
    (tmp_path / "test").mkdir()
    save(tmp_path, "test/other/x.png")
    (tmp_path / "test/y.png").write_bytes((tmp_path / "train/b.png").read_bytes())
    notes = find(tmp_path / "train", tmp_path / "test").notes
    assert [note.split(":")[0] for note in notes] == [
        "2 images are in both train and test (the first is a.png and other/x.png)"
    ]
    picture(8).save(tmp_path / "test/y.png")
    picture(9).save(tmp_path / "test/other/x.png")
    assert find(tmp_path / "train", tmp_path / "test").notes == []


def test_which_set_is_embedded_is_said(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    embedded = find_images(tmp_path, None, limit=2, seed=0, num_workers=2, image_size=16)
    assert embedded.notes == ["the test images are the 2 embedded samples: no --test was given"]
    embedded = find_images(None, tmp_path, limit=2, seed=0, num_workers=2, image_size=16)
    assert embedded.notes == ["the train images are the 2 embedded samples: no --train was given"]
    assert find_images(None, None, limit=1, seed=0, num_workers=1, image_size=16).notes == []


def test_a_limit_that_takes_one_class_is_said(tmp_path: Path) -> None:
    save(tmp_path, *(f"train/{kind}/{number}.png" for kind in ("cat", "dog") for number in "123"))
    picture(77).save(tmp_path / "test.png")
    (tmp_path / "test").mkdir()
    (tmp_path / "test.png").rename(tmp_path / "test/a.png")

    def notes(limit: int | None) -> list[str]:
        return find(tmp_path / "train", tmp_path / "test", limit=limit).notes

    assert notes(3) == [
        "the limit takes 3 train images from one folder of 2, cat: the first in order, perhaps of "
        "one class"
    ]
    for limit in (4, 6, None):
        assert notes(limit) == []


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.machine.faults.PAUSES", (0.0, 0.0, 0.0))


@pytest.mark.usefixtures("no_pauses")
@given(faults=st.lists(st.sampled_from(["memory", "EIO", "ESTALE"]), max_size=3))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_passing_faults_of_the_machine_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, faults: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("images")
    save(folder, *(f"{number}.png" for number in range(6)))
    (folder / "bad.png").write_text("bad")
    whole, left = find(folder), {"2.png": list(faults)}
    read_bytes = Path.read_bytes

    def failing(path: Path) -> bytes:
        if left.get(path.name):
            fault = left[path.name].pop()
            raise MemoryError if fault == "memory" else OSError(getattr(errno, fault), fault)
        return read_bytes(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        assert find(folder) == whole
    assert left["2.png"] == []


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("when", ["reading", "decoding", "listing", "sniffing"])
def test_a_lasting_fault_of_the_machine_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    save(tmp_path, "a.png", "b.png", "deep/c.png")
    (tmp_path / "b.png").rename(tmp_path / "b")

    def fail(*_: Any) -> Any:
        raise MemoryError if when == "decoding" else OSError(errno.EIO, "Input/output error")

    target = {
        "reading": "data.images.decoding._read",
        "decoding": "data.images.folder.decode_image",
        "listing": "data.images.files.walk._entries",
        "sniffing": "data.images.files.walk._head",
    }[when]
    monkeypatch.setattr(target, fail)
    expected = "no memory" if when == "decoding" else "Input/output error"
    with pytest.raises(UserError, match=f"{expected}.* run the same command again"):
        find(tmp_path)


@pytest.mark.usefixtures("no_pauses")
def test_short_memory_while_loading_names_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "a.png")
    found = find(tmp_path)

    def short(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("data.images.folder.decode_image", short)
    with pytest.raises(UserError, match=r"a\.png: no memory to decode it.*--num-workers"):
        found.load(0)
