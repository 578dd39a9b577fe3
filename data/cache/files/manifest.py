"""What a cache is made from: its identity, its images in order, and the images left out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from data.cache.files.members import MANIFEST
from data.cache.identity import NEVER_COMPARED, Calibration, Identity, Images
from data.images.source import BadImage, ImageRecord
from data.tools.errors import UserError
from data.tools.files import open_regular, read_bytes, writing

_TOGETHER = 2**12  # records in memory as text at a time
_BEFORE_IDENTITY, _END = '{\n "identity": ', "\n}\n"
_HEAD_BYTES = 2**20  # that an identity fits into


@dataclass(frozen=True)
class Manifest:
    """Everything a cache is made from; equal manifests give equal bytes."""

    identity: Identity
    records: Sequence[ImageRecord]  # row i of the cache is records[i]
    bad: tuple[BadImage, ...] = ()

    @property
    def levels(self) -> dict[str, int]:
        """Level -> channels, in the order of the cache."""
        return dict(self.identity.levels)

    @property
    def digest(self) -> str:
        """SHA-256 of what is compared: stored in every shard, so that none is ever mixed up."""
        return self.identity.digest

    def calibrated(self, calibration: Calibration) -> Manifest:
        """The same of a network that was given these statistics."""
        return replace(self, identity=replace(self.identity, calibration=calibration))

    def audited(self, place_changes: Mapping[str, float]) -> Manifest:
        """The same with what the exactness audit measured of the network."""
        return replace(self, identity=replace(self.identity, place_changes=dict(place_changes)))

    def write(self, folder: Path) -> None:
        """Write `manifest.json`."""
        identity = json.dumps(self.identity.to_json(), indent=1)
        with writing(folder / MANIFEST) as file:
            # As `json.dumps` of all of it with an indent of 1, which would hold all in memory.
            file.write((_BEFORE_IDENTITY + identity.replace("\n", "\n ")).encode())
            for key, items in (("images", self.records), ("bad_images", self.bad)):
                file.write(f',\n "{key}": '.encode())
                for part in _lines_of(items):
                    file.write(part.encode())
            file.write(_END.encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a cache folder; `UserError` when it is damaged or was edited."""
    path = folder / MANIFEST
    try:
        content = json.loads(read_bytes(path))
        manifest = Manifest(
            Identity.from_json(content["identity"]),
            tuple(ImageRecord(**record) for record in content["images"]),
            tuple(BadImage(**image) for image in content["bad_images"]),
        )
        if describe_images(manifest.records) != manifest.identity.images:
            raise ValueError("its images are not those of its identity")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}): remove this file, then run extract-features again"
        ) from error
    return manifest


def read_identity(folder: Path) -> Identity:
    """The identity in the manifest of a cache folder, without reading what images it lists.

    Raises `UserError` where `read_manifest` would for what can be seen without.
    """
    path = folder / MANIFEST
    with open_regular(path) as file:
        head = file.read(_HEAD_BYTES).decode(errors="ignore")
        file.seek(max(0, path.stat().st_size - len(_END)))
        whole = file.read() == _END.encode()
    with suppress(ValueError):
        if whole and head.startswith(_BEFORE_IDENTITY):
            values, _ = json.JSONDecoder().raw_decode(head, len(_BEFORE_IDENTITY))
            return Identity.from_json(values)
    return read_manifest(folder).identity  # or what is wrong with it


def is_manifest(content: Any) -> bool:
    """Whether JSON is of a manifest, though perhaps of another version."""
    return isinstance(content, dict) and {"identity", "images"} <= content.keys()


def describe_images(records: Sequence[ImageRecord]) -> Images:
    """The images as part of an identity: how many of each set, and one digest over all."""
    digest, counts = hashlib.sha256(), Counter[str]()
    rest = iter(records)
    while part := list(islice(rest, _TOGETHER)):
        lines = "".join(f"{r.images}\t{r.name}\t{r.sha256}\n" for r in part)
        digest.update(lines.encode("utf-8", "surrogateescape"))
        counts.update(record.images for record in part)
    return Images(dict(counts), digest.hexdigest())


def differences(
    before: Manifest, now: Manifest, *, ignore: Sequence[str] = NEVER_COMPARED
) -> list[str]:
    """One line per key of the identity that differs, with both values; empty when none does."""
    lines = before.identity.differences(now.identity, ignore=(*ignore, "images"))
    if before.identity.images != now.identity.images:
        lines.append("images: " + _image_differences(before.records, now.records))
    return lines


def _image_differences(before: Sequence[ImageRecord], now: Sequence[ImageRecord]) -> str:
    old = {(record.images, record.name): record.sha256 for record in before}
    new = {(record.images, record.name): record.sha256 for record in now}
    groups = {
        "changed": [key for key in old if key in new and old[key] != new[key]],
        "gone": [key for key in old if key not in new],
        "added": [key for key in new if key not in old],
    }
    parts = [
        f"{len(keys)} {word} (first {keys[0][0]} {keys[0][1]})"
        for word, keys in groups.items()
        if keys
    ]
    counts = f"{len(before)} images in the cache, {len(now)} now"
    return ", ".join([counts, *(parts or ["in another order"])])


def _lines_of(items: Sequence[ImageRecord] | Sequence[BadImage]) -> Iterator[str]:
    """A list of records as `json.dumps` writes it, in parts."""
    if not items:
        yield "[]"
        return
    start = "[\n"
    for item in items:
        values = item._asdict() if isinstance(item, ImageRecord) else asdict(item)
        lines = ",\n".join(f'   "{key}": {json.dumps(value)}' for key, value in values.items())
        yield f"{start}  {{\n{lines}\n  }}"
        start = ",\n"
    yield "\n ]"
