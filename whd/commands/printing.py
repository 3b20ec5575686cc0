"""How commands print what they found: the one way to standard output and standard error.

Everything that is printed here is safe for a terminal (terminal.py), and UTF-8 whatever the locale says. Where nobody
reads any more (`whd … | head`), a command goes on to its end and its own exit status.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from ..terminal import escape, escape_json, escape_lines
from . import tables

OK, FAULT = 0, 1


def say(text: str) -> None:
    """A line for people."""
    write(sys.stdout, escape(text) + "\n")


def say_lines(text: str) -> None:
    """Several lines for people."""
    write(sys.stdout, escape_lines(text) + "\n")


def warn(text: str) -> None:
    """A line for people that is no part of what the command was asked for."""
    write(sys.stderr, escape(text) + "\n")


def warn_lines(text: str) -> None:
    """Several such lines."""
    write(sys.stderr, escape_lines(text) + "\n")


def print_json(document: Any) -> None:
    """A document for machines."""
    write(sys.stdout, json_text(document) + "\n")


def json_text(document: Any) -> str:
    """Indented JSON, with every character that can be shown as itself, and all others as JSON's escapes."""
    return escape_json(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(head: tuple[str, ...], rows: Sequence[Sequence[Any]], *, optional: Sequence[str] = ()) -> None:
    """A line per row; on a terminal coloured, and as wide as that. `optional`: as in tables.table."""
    columns = terminal_columns()
    # no-color.org: any value but the empty one.
    colour = columns > 0 and not os.environ.get("NO_COLOR")
    write(sys.stdout, tables.table(head, rows, colour=colour, columns=columns, optional=optional) + "\n")


def terminal_columns() -> int:
    """How wide standard output is; 0 if it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def write(stream: TextIO, text: str) -> None:
    """Writes what was made safe. A stream whose reader went away takes nothing.

    Raises OSError, with the stream's name, where something cannot be written otherwise, a full disk for one.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        discard(stream)
    except OSError as error:
        discard(stream)
        error.filename = "standard output" if stream is sys.stdout else "standard error"
        raise


def discard(stream: TextIO) -> None:
    """From here on what is written goes nowhere; the interpreter's own flush at the end, too, does not fail."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, stream.fileno())
    os.close(null)


def use_utf8() -> None:
    """Standard streams in UTF-8, whatever the locale or PYTHONIOENCODING says; what is no text becomes an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
