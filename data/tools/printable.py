"""Names as they are shown: names are data, and what is printed must not be obeyed."""

from __future__ import annotations

import unicodedata

# Control characters, halves of pairs (bytes that are not UTF-8), line and paragraph separators.
_ESCAPED = frozenset(("Cc", "Cs", "Zl", "Zp"))
# They turn the direction of the text around them: "photo\u202egnp.exe" reads "photoexe.png".
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(name: str) -> str:
    """`name` in one line that a terminal only shows, with escapes such as \\n, \\x1b, \\u202e.

    For stderr, logs and lists, not for files that are read again: two names may come out alike.
    Bytes that are not UTF-8 (surrogates, as the file system's functions give them) come out as
    \\xe9. Everything else, emoji and spaces of all kinds among it, stays.
    """
    return "".join(map(_escape, name))


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in _ESCAPED or character in _DIRECTIONS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def aligned(lines: list[list[str]], labels: int) -> str:
    """A Markdown table, its columns padded; the first `labels` are set left, the others right."""
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]

    def row(line: list[str]) -> str:
        padded = [
            text.ljust(width) if index < labels else text.rjust(width)
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i < labels else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join(row(line) for line in (lines[0], rule, *lines[1:]))
