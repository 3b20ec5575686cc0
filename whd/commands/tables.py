"""What commands print for people: tables, times, colours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .. import terminal

_RED, _GREEN, _YELLOW, _DIM, _RESET = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"

_STATUS_COLOURS = {
    "ENDED_SUCCESS": _GREEN,
    "ENDED_ERROR": _RED,
    "ENDED_CANCELLED": _YELLOW,
    "engaged": _GREEN,
    "missing": _RED,
    "on": _GREEN,
    "off": _YELLOW,
    "broken": _RED,
}


# A last column that is cut to fit keeps at least so many columns of a terminal.
LEAST_LAST = 16


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    colour: bool = False,
    columns: int = 0,
    optional: Sequence[str] = (),
) -> str:
    """Columns as wide as their widest cell, two spaces apart; a line per row, no trailing space.

    `columns`: the terminal's width, 0 for none. Where a row does not fit, the columns that `optional` names are left
    out, the first one first, until it does; then the last column, the one of running text, is cut.
    """
    texts = [[_cell(cell) for cell in row] for row in rows]
    shown = list(range(len(head)))
    widths = [max(terminal.width(row[column]) for row in [list(head), *texts]) for column in shown]
    last = len(head) - 1
    if columns:
        cut = max(widths[last] - LEAST_LAST, 0)
        for name in optional:
            if _total(widths, shown) - (cut if last in shown else 0) > columns:
                shown.remove(head.index(name))
        room = max(columns - _total(widths, shown) + widths[last], LEAST_LAST)
        widths[last] = min(widths[last], room)
        texts = [[*row[:last], terminal.shorten(row[last], room)] for row in texts]
    lines = [_line([head[column] for column in shown], [widths[column] for column in shown], colour=False)]
    if colour:
        lines[0] = f"{_DIM}{lines[0]}{_RESET}"
    for row in texts:
        lines.append(_line([row[column] for column in shown], [widths[column] for column in shown], colour=colour))
    return "\n".join(lines)


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[column] for column in shown) + 2 * (len(shown) - 1)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return terminal.escape(str(value))


def _line(row: Sequence[str], widths: Sequence[int], *, colour: bool) -> str:
    cells = []
    for text, width in zip(row, widths, strict=True):
        shade = _STATUS_COLOURS.get(text) if colour else None
        shown = f"{shade}{text}{_RESET}" if shade else text
        cells.append(shown + " " * (width - terminal.width(text)))
    return "  ".join(cells).rstrip()


def count(number: int, thing: str) -> str:
    """`1 fault`, `2 faults`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def local_time(stamp: str | None) -> str:
    """An RFC 3339 time as the person's own clock shows it."""
    if not stamp:
        return "-"
    return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def near_time(stamp: str | None, now: datetime) -> str:
    """The same, shorter: without the date if that is today's, without the year if that is this year's."""
    text = local_time(stamp)
    today = now.astimezone().strftime("%Y-%m-%d ")
    return text.removeprefix(today) if text.startswith(today) else text.removeprefix(today[:5])


def duration(started: str | None, ended: str | None) -> str:
    """How long something took; "-" where the clock was set back meanwhile, so that nobody knows."""
    if not started or not ended:
        return "-"
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    if seconds < 0:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def last_line(message: str) -> str:
    """What a message comes to: its last line that is not indented, as the parts of a traceback or a group are."""
    lines = message.strip().split("\n")
    return next((line for line in reversed(lines) if not line[:1].isspace()), lines[-1])
