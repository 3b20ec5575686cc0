"""`whd settings …`: listed, shown, saved, deleted."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..engine.state import Paths
from ..errors import ConfigError
from ..terminal import shorten
from .operate import operate
from .printing import OK, print_json, print_table, say, warn

# Of a value in the list; `show` has it all.
MAX_VALUE = 60


def settings_list(paths: Paths, given: argparse.Namespace) -> int:
    """Every setting, and where its value comes from."""
    rows = operate(paths, "settings.list", {"client": given.client})
    if given.json:
        print_json(rows)
    else:
        cells = [
            (row["client"], row["name"], row["source"], shorten(_as_json(row["value"]), MAX_VALUE)) for row in rows
        ]
        print_table(("CLIENT", "NAME", "FROM", "VALUE"), cells, optional=("FROM",))
    return OK


def settings_show(paths: Paths, given: argparse.Namespace) -> int:
    """One setting."""
    _print_setting(operate(paths, "settings.show", {"client": given.client, "name": given.name}), given)
    return OK


def settings_set(paths: Paths, given: argparse.Namespace) -> int:
    """Saves a value, which stands before the file of that name."""
    arguments = {"client": given.client, "name": given.name, "value": _read_setting(given.name, given.value)}
    row = operate(paths, "settings.set", arguments)
    _print_setting(row, given)
    if row["hides"] and not given.json:
        warn(f"this value stands before {row['hides']}, until `whd settings unset {given.name}`")
    return OK


def settings_unset(paths: Paths, given: argparse.Namespace) -> int:
    """Deletes a saved value; the file of that name, if there is one, stands again."""
    row = operate(paths, "settings.unset", {"client": given.client, "name": given.name})
    if given.json:
        print_json(row)
    else:
        say(f"{given.name}: " + ("gone" if row is None else f"now from {row['source']}"))
    return OK


def _read_setting(name: str, text: str) -> Any:
    """A setting's value from YAML or JSON, as a file would be read. Raises ConfigError with all that is wrong."""
    # The daemon's own modules, which only `settings set` needs.
    from ..settings.parse import parse_setting
    from ..settings.tree import WEBHOOK_PREFIX
    from ..settings.webhooks import read_webhook

    path = "VALUE"
    try:
        data: bytes | str = text
        if text == "-":
            path, data = "standard input", sys.stdin.buffer.read()
        elif text.startswith("@"):
            path = text[1:]
            data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    # A webhook's text may hold its key: it goes through the reader that repeats nothing.
    is_webhook = name.startswith(WEBHOOK_PREFIX)
    read, faults = read_webhook(data, path, "", name) if is_webhook else parse_setting(data, path, name)
    if read is None:
        raise ConfigError("\n".join(str(fault) for fault in faults))
    return read.value


def _print_setting(row: dict[str, Any], given: argparse.Namespace) -> None:
    if given.json:
        print_json(row)
        return
    origin = f"{row['source']} at {row['saved_at']}" if row["saved_at"] else f"from {row['source']}"
    say(f"{row['client']}: {row['name']}, {origin}")
    print_json(row["value"])


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
