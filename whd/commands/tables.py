"""What commands print for people: tables, times, colours. Pure but for `is_colourful`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

_RED, _GREEN, _YELLOW, _DIM, _RESET = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"

_STATUS_COLOURS = {
    "ENDED_SUCCESS": _GREEN,
    "ENDED_ERROR": _RED,
    "ENDED_CANCELLED": _YELLOW,
    "engaged": _GREEN,
    "missing": _RED,
}


def is_colourful(stream: TextIO) -> bool:
    """Colour only on a terminal, and not where NO_COLOR is set (no-color.org)."""
    return stream.isatty() and "NO_COLOR" not in os.environ


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, colour: bool = False) -> str:
    """Columns as wide as their widest cell, two spaces apart; a line per row, no trailing space."""
    texts = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(head), *texts]) for column in range(len(head))]
    lines = [_line(head, widths, colour=False)]
    if colour:
        lines[0] = f"{_DIM}{lines[0]}{_RESET}"
    lines += [_line(row, widths, colour=colour) for row in texts]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def printable(text: str) -> str:
    """One line, in which nothing that a flow wrote steers the terminal."""
    return "".join(char if char.isprintable() else "·" for char in text)


def _line(row: Sequence[str], widths: Sequence[int], *, colour: bool) -> str:
    cells = []
    for text, width in zip(row, widths, strict=True):
        padded = text.ljust(width)
        shade = _STATUS_COLOURS.get(text) if colour else None
        cells.append(f"{shade}{padded}{_RESET}" if shade else padded)
    return "  ".join(cells).rstrip()


def shorten(text: str, width: int) -> str:
    """At most `width` characters, with an ellipsis where something was cut."""
    return text if len(text) <= width else text[: width - 1] + "…"


def count(number: int, thing: str) -> str:
    """`1 fault`, `2 faults`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def local_time(stamp: str | None) -> str:
    """An RFC 3339 time as the person's own clock shows it."""
    if not stamp:
        return "-"
    return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(started: str | None, ended: str | None) -> str:
    """How long something took."""
    if not started or not ended:
        return "-"
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
