"""`whd run` and `whd executions …`: listed, shown, repeated, ended."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..engine.state import Paths
from ..errors import BadPayload, UsageError
from ..wire.strict_json import MAX_OUTPUT_DEPTH, decode_strict
from ..wire.timestamps import timestamp
from . import tables
from .operate import operate
from .printing import FAULT, OK, print_json, print_table


def run(paths: Paths, given: argparse.Namespace) -> int:
    """Runs one flow and prints its record."""
    arguments = {"client": given.client, "flow": given.flow, "user": given.user, "input": _read_input(given.input)}
    record = operate(paths, "run", arguments)
    print_json(record)
    return OK if record["status"] == "ENDED_SUCCESS" else FAULT


def _read_input(text: str) -> Any:
    """JSON from the argument itself, from @FILE or from standard input. Raises UsageError."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        # An execution's input may be a child's, in which a payload stands some levels further in.
        return decode_strict(text.removeprefix("\ufeff"), MAX_OUTPUT_DEPTH)
    except OSError as error:
        raise UsageError(f"--input: {error.filename}: {error.strerror}") from None
    except (BadPayload, UnicodeDecodeError) as error:
        raise UsageError(f"--input is not JSON: {str(error).removeprefix('the body is not JSON: ')}") from None


def executions_list(paths: Paths, given: argparse.Namespace) -> int:
    """The newest executions."""
    names = ("client", "status", "webhook", "limit")
    rows = operate(paths, "executions.list", {name: getattr(given, name) for name in names})
    if given.json:
        print_json(rows)
    else:
        cells = [
            (
                row["id"],
                row["client_name"],
                row["webhook_name"] or row["flow_name"],
                row["status"],
                tables.local_time(row["created_at"]),
                tables.duration(row["started_at"], row["ended_at"]),
                tables.shorten(row["message"].strip().rpartition("\n")[2], 60),
            )
            for row in rows
        ]
        print_table(("ID", "CLIENT", "WEBHOOK", "STATUS", "CREATED", "TOOK", "MESSAGE"), cells)
    return OK


def executions_show(paths: Paths, given: argparse.Namespace) -> int:
    """One record, as JSON for people too: it is what callers get."""
    print_json(operate(paths, "executions.show", {"id": given.id}))
    return OK


def executions_logs(paths: Paths, given: argparse.Namespace) -> int:
    """What an execution's flow logged."""
    lines = operate(paths, "executions.logs", {"id": given.id})
    if given.json:
        print_json(lines)
    else:
        for line in lines:
            print(_log_text(line))
    return OK


def _log_text(line: Any) -> str:
    """One line: {"at": ms, "args": [...], "fields": {...}} of this.log, or {"at": ms, "text": "..."} of print."""
    if not isinstance(line, dict):
        return str(line)
    parts = [tables.local_time(timestamp(line["at"])) if isinstance(line.get("at"), int) else "-"]
    parts += [value if isinstance(value, str) else json.dumps(value) for value in line.get("args", [])]
    parts += [f"{name}={json.dumps(value)}" for name, value in line.get("fields", {}).items()]
    if "text" in line:
        parts.append(str(line["text"]))
    return tables.printable(" ".join(parts))


def executions_replay(paths: Paths, given: argparse.Namespace) -> int:
    """Runs an execution's input again; without a daemon, waits for it here."""
    record = operate(paths, "executions.replay", {"id": given.id}, alone={"wait": True})
    if given.json:
        print_json(record)
    else:
        print(record["id"])
    return OK


def executions_cancel(paths: Paths, given: argparse.Namespace) -> int:
    """Ends an execution that runs."""
    record = operate(paths, "executions.cancel", {"id": given.id})
    if given.json:
        print_json(record)
    else:
        print(f"{record['id']} {record['status']}")
    return OK
