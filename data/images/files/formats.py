"""Which formats are read, and how files are told apart: by their content, whatever their name."""

from __future__ import annotations

import re

# PIL format -> file name endings. Formats that PIL hands to other programs (EPS), that it only
# recognises (HDF5) or that have no pixels (WMF) are left out on purpose.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "BMP": (".bmp", ".dib"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
}
# Photographs too, but PIL cannot read them: better listed as bad than passed over in silence.
_UNREADABLE = (".heic", ".heif", ".jxl", ".dcm", ".exr", ".hdr", ".psd")
# TIFF files most of them, whose first page is a thumbnail.
RAW_SUFFIXES = {
    *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes).union(
    _UNREADABLE, RAW_SUFFIXES
)

HEAD_BYTES = 132  # of a file, enough to tell what it is

# TGA has no signature; those of BMP and PPM are short, so what follows must fit as well.
_READABLE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP"
    rb"|.{4}ftypavi[fs]|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"
    rb"|BM.{4}\0\0\0\0.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|P[1-6]\s+(#[^\n]*\s+)*\d+\s",
    re.DOTALL,
)
_KNOWN = {  # that cannot be read
    "HEIC": rb".{4}ftyp(hei[cxms]|hev[cmsx]|mif1|msf1)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    "DICOM": rb".{128}DICM",
    "Photoshop": rb"8BPS",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?(RADIANCE|RGBE)\n",
    "raw of a camera": rb"II\*\0.{4}CR\x02|.{4}ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|IIU\0|FOVb|\0MRM",
}
_UNREADABLE_KINDS = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in _KNOWN.items()}


def is_image(head: bytes) -> bool:
    """Whether a file that begins with `head` (`HEAD_BYTES` of it) is an image of a known format."""
    return _READABLE.match(head) is not None or _unreadable_kind(head) is not None


def why_unreadable(head: bytes) -> str:
    """The reason for a file that begins with `head` and that PIL does not know."""
    kind = _unreadable_kind(head)
    if kind is None:
        return "damaged, not an image, or in a format that cannot be read"
    return f"{kind}, a format that cannot be read: convert it to PNG"


def _unreadable_kind(head: bytes) -> str | None:
    return next((k for k, pattern in _UNREADABLE_KINDS.items() if pattern.match(head)), None)
