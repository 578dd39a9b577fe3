"""Names and records of very many images are what lists of them are."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.cache.files.manifest import Manifest, read_identity, read_manifest
from data.cache.identity import Identity, Images
from data.images.names import Names
from data.images.records import SetRecords, StudyRecords
from data.images.source import BadImage, ImageRecord
from data.tools.errors import UserError

# File names as Python has them: any character but NUL, bytes that are no UTF-8 as surrogates.
NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ODD = NAME | st.binary(max_size=9).map(
    lambda name: name.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
HASH = st.binary(min_size=32, max_size=32)


@given(st.lists(ODD), st.data())
def test_names_are_a_sequence_of_strings(expected: list[str], data: st.DataObject):
    names = Names.of(expected)
    assert list(names) == expected == [names[row] for row in range(len(names))]
    assert names == expected
    assert names == Names(names.joined, len(expected))
    start, stop = data.draw(st.tuples(*[st.integers(-9, 9)] * 2))
    assert names[start:stop] == expected[start:stop]
    rows = data.draw(st.sets(st.integers(0, len(expected) - 1))) if expected else set()
    assert names.chosen(np.array(sorted(rows), np.int64)) == [expected[row] for row in sorted(rows)]
    with pytest.raises(IndexError):
        names[len(expected)]


def test_names_of_another_number_are_refused():
    with pytest.raises(ValueError, match="2 names instead of 3"):
        Names(b"a\0b", 3)


@given(st.lists(st.tuples(NAME, HASH)), st.lists(st.tuples(NAME, HASH), min_size=1))
def test_records_of_a_study_are_those_of_its_sets(
    train: list[tuple[str, bytes]], test: list[tuple[str, bytes]]
):
    def of_set(images: str, files: list[tuple[str, bytes]]) -> SetRecords:
        hashes = np.frombuffer(b"".join(sha for _, sha in files), np.uint8).reshape(-1, 32)
        return SetRecords(images, Names.of([name for name, _ in files]), hashes)

    other = [ImageRecord("a.png", "elsewhere", "0" * 64)]
    records = StudyRecords(
        {"train": of_set("train", train), "test": of_set("test", test), "x": other}
    )
    expected = [
        *(ImageRecord(name, "train", sha.hex()) for name, sha in train),
        *(ImageRecord(name, "test", sha.hex()) for name, sha in test),
        ImageRecord("a.png", "x", "0" * 64),
    ]
    assert list(records) == expected == [records[row] for row in range(len(records))]
    assert records == expected
    assert records != expected[1:]
    assert records[1:] == tuple(expected[1:])


@given(st.lists(st.tuples(NAME, HASH)), st.lists(st.tuples(NAME, NAME)))
def test_a_manifest_is_written_as_json_and_its_identity_read_alone(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[tuple[str, bytes]],
    bad: list[tuple[str, str]],
):
    folder = tmp_path_factory.mktemp("cache")
    records = [ImageRecord(name, "train", sha.hex()) for name, sha in files]
    identity = Identity(taps=("ä\n", "b"), sources={"train": 'a "folder"'})
    manifest = Manifest(identity, records, tuple(BadImage(n, "test", why) for n, why in bad))
    manifest.write(folder)
    expected = {
        "identity": identity.to_json(),
        "images": [record._asdict() for record in records],
        "bad_images": [asdict(image) for image in manifest.bad],
    }
    assert (folder / "manifest.json").read_text() == json.dumps(expected, indent=1) + "\n"
    assert read_identity(folder) == identity


@pytest.mark.parametrize("damage", ["cut", "empty", "no identity"])
def test_a_damaged_manifest_has_no_identity(damage: str, tmp_path: Path):
    Manifest(Identity(images=Images({})), []).write(tmp_path)
    path = tmp_path / "manifest.json"
    content = path.read_text()
    made = {"cut": content[:-2], "empty": "", "no identity": content.replace("identity", "what")}
    path.write_text(made[damage])
    with pytest.raises(UserError, match=r"manifest.json is damaged"):
        read_identity(tmp_path)
    with pytest.raises(UserError, match=r"manifest.json is damaged"):
        read_manifest(tmp_path)
