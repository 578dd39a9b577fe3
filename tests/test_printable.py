from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.tools.printable import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b c-1.png", "a/b c-1.png"),
        ("ä\u00a0\U0001f98a\u200d.png", "ä\u00a0\U0001f98a\u200d.png"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\x1b[31mred\x7f\x9b0m", "\\x1b[31mred\\x7f\\x9b0m"),
        ("line\u2028paragraph\u2029\x85", "line\\u2028paragraph\\u2029\\x85"),
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        (os.fsdecode(b"caf\xe9 \xf0\x9f\xa6\x8a"), "caf\\xe9 \U0001f98a"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_shown(name: str, shown: str) -> None:
    assert printable(name) == shown


@given(st.text(st.characters()))
def test_any_name_is_one_line_of_utf8(name: str) -> None:
    shown = printable(name)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    shown.encode("utf-8")
    assert printable(shown) == shown
