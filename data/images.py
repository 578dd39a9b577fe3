"""Images: what is known of each before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageRecord:
    """One image of a set."""

    name: str  # path relative to the set's folder, or "sample-00012"
    images: str  # image set: "train", "test", "black", "white" or "noise"
    sha256: str  # of the file's bytes, or of the pixels where there is no file


@dataclass(frozen=True)
class BadImage:
    """One image that could not be decoded."""

    name: str
    images: str
    reason: str
