"""Tables for people: aligned whatever stands in the cells, as wide as the terminal, and no nonsense in them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from whd.commands import tables
from whd.terminal import width

HEAD = ("ID", "CLIENT", "MESSAGE")


def starts(line: str, cell: str) -> int:
    """The column at which a cell starts."""
    return width(line[: line.index(cell)])


def test_columns_stay_aligned_beside_wide_characters_and_marks() -> None:
    lines = tables.table(HEAD, [("日本", "a", "m1"), ("e\u0301", "b", "m2"), ("x", "ü", "m3")]).splitlines()
    assert {starts(line, cell) for line, cell in zip(lines, ("MESSAGE", "m1", "m2", "m3"), strict=True)} == {14}


def test_no_cell_steers_the_terminal_or_makes_a_line() -> None:
    text = tables.table(HEAD, [("1", "a\x1b[31m\u202e", "two\nlines")], colour=True)
    assert text.splitlines()[1:] == ["1   a\\x1b[31m\\u202e  two\\nlines"]


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_table_fits_the_terminal(columns: int) -> None:
    rows = [("1" * 10, "acme", "日本語 " * 40)]
    lines = tables.table(HEAD, rows, columns=columns, optional=("CLIENT",)).splitlines()
    assert max(map(width, lines)) <= columns
    assert lines[1].endswith("…")


def test_what_is_optional_is_left_out_only_where_there_is_no_room() -> None:
    rows = [("1" * 10, "c" * 20, "m" * 30)]
    assert "CLIENT" in tables.table(HEAD, rows, columns=50, optional=("CLIENT",))
    assert "CLIENT" not in tables.table(HEAD, rows, columns=45, optional=("CLIENT",))
    assert "MESSAGE" not in tables.table(HEAD, rows, columns=20, optional=("CLIENT", "MESSAGE"))
    assert tables.table(HEAD, rows).splitlines()[1].endswith("m" * 30)


@pytest.mark.parametrize(
    ("started", "ended", "shown"),
    [
        ("2026-11-23T07:18:00.000Z", "2026-11-23T07:18:00.250Z", "250 ms"),
        ("2026-11-23T07:18:00.000Z", "2026-11-23T07:19:00.000Z", "60 s"),
        ("2026-11-23T07:18:00.000Z", "2026-11-23T07:17:00.000Z", "-"),
        ("2026-11-23T07:18:00.000Z", None, "-"),
        (None, "2026-11-23T07:18:00.000Z", "-"),
    ],
)
def test_a_clock_that_was_set_back_gives_no_negative_time(started: str, ended: str, shown: str) -> None:
    assert tables.duration(started, ended) == shown


def test_a_time_near_by_is_short() -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert tables.near_time("2026-11-23T12:00:05.000Z", now) == tables.local_time("2026-11-23T12:00:05.000Z")[11:]
    assert tables.near_time("2026-10-23T12:00:05.000Z", now) == tables.local_time("2026-10-23T12:00:05.000Z")[5:]
    assert tables.near_time("2025-10-23T12:00:05.000Z", now) == tables.local_time("2025-10-23T12:00:05.000Z")
    assert tables.near_time(None, now) == "-"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("", ""),
        ("all done\n", "all done"),
        ('Traceback (most recent call last):\n  File "x.py", line 1, in f\n    g()\nKeyError: \'k\'', "KeyError: 'k'"),
        ("Traceback:\n  File\nExceptionGroup: two (2 sub-exceptions)\n  - ValueError: v\n  - KeyError: 'k'\n    more",
         "ExceptionGroup: two (2 sub-exceptions)"),
    ],
)  # fmt: skip
def test_a_message_comes_to_its_last_line_and_a_group_to_itself(message: str, shown: str) -> None:
    assert tables.last_line(message) == shown
