"""How commands print what they found."""

from __future__ import annotations

import json
import sys
from typing import Any

from . import tables

OK, FAULT = 0, 1


def print_json(document: Any) -> None:
    """Indented, with every character that can be shown as itself."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Half of a surrogate pair, which a caller may send as an escape, can only be shown as one.
        text = json.dumps(document, indent=2)
    print(text, flush=True)


def print_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """A line per row, coloured on a terminal."""
    print(tables.table(head, rows, colour=tables.is_colourful(sys.stdout)))
