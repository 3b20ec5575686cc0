r"""What may reach a person's terminal: text that steers nothing there, hides nothing, and has a known width. Pure.

Texts come from callers, from flows and from the names of files. Control characters could steer the terminal or forge
a line. Format characters of Unicode reorder what is read or hide part of it (UAX #9; Unicode Technical Report #36, 2
and 3). Log and commands show each of them as Python's escape, \x1b or \u202e.
"""

from __future__ import annotations

import re
import unicodedata

# Written out and not `str.isprintable`, which turns on the interpreter's version of Unicode: controls (C0, DEL, C1);
# line and paragraph separators; what sets the direction; what has no width and no shape of its own
# (Default_Ignorable_Code_Point, less the selectors FE00 to FE0F that ordinary emoji carry); tags; noncharacters; and
# lone surrogates, which stand for the bytes of a file's name that is no UTF-8 (PEP 383) and cannot be written.
_HIDDEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\ud800-\udfff"
)
_hidden = re.compile(f"[{_HIDDEN}]")
_hidden_but_line_ends = re.compile(f"(?!\n)[{_HIDDEN}]")


def escape(text: str) -> str:
    r"""The text on one line, with line ends as \n and whatever else steers or hides as \x1b, \u202e and so on."""
    if text.isascii() and text.isprintable():
        return text
    return _hidden.sub(_escaped, text)


def escape_lines(text: str) -> str:
    """The same for a text of several lines, which keeps its line ends, as LF, and has its tabs expanded."""
    if text.isascii() and text.isprintable():
        return text
    return _hidden_but_line_ends.sub(_escaped, text.replace("\r\n", "\n").expandtabs())


def escape_json(document: str) -> str:
    r"""A JSON document with the same characters as JSON's own escapes (RFC 8259, 7): it means what it meant.

    Controls stand in no JSON text but as white space, which stays.
    """
    return document if document.isascii() and "\x7f" not in document else _hidden_but_line_ends.sub(_in_json, document)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _in_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def width(text: str) -> int:
    """How many columns a terminal gives a text that was escaped: two for wide characters (UAX #11), none for marks."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def shorten(text: str, columns: int) -> str:
    """At most so many columns, with an ellipsis where something was cut."""
    if width(text) <= columns:
        return text
    left = columns - 1
    for count, char in enumerate(text):
        left -= _columns(char)
        if left < 0:
            return text[:count] + "…"
    return text


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
