"""What may reach a terminal: nothing steers it, nothing hides, and columns stay columns."""

from __future__ import annotations

import json
import unicodedata

import pytest

from whd.terminal import escape, escape_json, escape_lines, shorten, width

STEERS_OR_HIDES = [
    *map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0)),
    *"\u2028\u2029\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    *"\u200b\u200c\u200d\u2060\ufeff\xad\u034f\u115f\u3164\uffa0\u180e\ufff9\uffff",
    "\U000e0041", "\U000e0100", "\udc80", "\ud800",
]  # fmt: skip
ORDINARY = ["Grüße, 日本語, naïve", "مرحبا", "שלום", "e\u0301", "❤️ 👍🏽", "a\\b", "\xa0", "\U0001d518"]


@pytest.mark.parametrize("char", STEERS_OR_HIDES, ids=ascii)
def test_what_steers_or_hides_is_shown_as_an_escape(char: str) -> None:
    shown = escape(f"a{char}b")
    assert shown == f"a{char.encode('unicode_escape').decode()}b"
    assert char not in shown
    shown.encode("utf-8")
    assert "\n" not in shown


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_of_any_script_stays(text: str) -> None:
    assert escape(text) == escape_lines(text) == escape_json(text) == text


def test_lines_keep_their_ends_and_tabs_their_columns() -> None:
    assert escape_lines("one\r\ntwo\tx\x1b[2J\n\u202e") == "one\ntwo     x\\x1b[2J\n\\u202e"
    assert escape_lines("plain\n  File") == "plain\n  File"


def test_json_means_what_it_meant() -> None:
    document = {char: [char] for char in [*STEERS_OR_HIDES, *ORDINARY]}
    shown = escape_json(json.dumps(document, ensure_ascii=False, indent=2))
    assert json.loads(shown) == document
    assert not set(shown) & set(STEERS_OR_HIDES) - {"\n"}
    assert "日本語" in shown


def test_no_format_character_is_forgotten_but_those_with_a_shape_of_their_own() -> None:
    """Unicode's Cf holds signs that stand around the digits that follow, as in Arabic, and joiners of hieroglyphs."""
    with_a_shape = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}
    raw = {
        code
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and escape(chr(code)) == chr(code)
    }
    assert raw <= with_a_shape


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("ｱ", 1), ("\uff21", 2), ("é", 1), ("", 0)]
)
def test_the_width_is_the_terminals(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize("text", ["abcdefgh", "日本語日本語", "a日b本c語", "e\u0301" * 9])
def test_what_is_shortened_fits(text: str) -> None:
    shown = shorten(text, 5)
    assert width(shown) <= 5
    assert shown.endswith("…")
    assert shorten(text, 99) == text
