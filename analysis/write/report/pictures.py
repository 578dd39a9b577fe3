"""Figures of the report, inside the page."""

from __future__ import annotations

import base64
import io

from PIL import Image, features

from analysis.figures.catalogue import Drawing
from analysis.figures.style import drawn

_QUALITY = 90  # of WebP: a seventh of the PNG, and no difference to be seen
_PIXELS_TO_THE_INCH = 110  # shown no larger than drawn: 96 CSS pixels, and a little more


def picture(drawing: Drawing) -> dict[str, str]:
    """One figure: what stands above and below it, and its file as a data URL."""
    data, kind = drawn(drawing.figure, drawing.kind), drawing.kind
    if kind == "png" and features.check("webp"):
        data, kind = _webp(data), "webp"
    media = "svg+xml" if kind == "svg" else kind
    return {
        "name": drawing.name,
        "title": drawing.title,
        "caption": drawing.caption,
        "shows": drawing.shows,
        "kind": "lines" if kind == "svg" else "maps",
        "source": f"data:image/{media};base64,{base64.b64encode(data).decode()}",
        "width": f"{drawing.figure.get_size_inches()[0] * _PIXELS_TO_THE_INCH:.0f}",
    }


def _webp(png: bytes) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(file, "webp", quality=_QUALITY)
    return file.getvalue()
