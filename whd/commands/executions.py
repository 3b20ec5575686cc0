"""`whd run` and `whd executions …`: listed, shown, repeated, ended."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ..engine.state import Paths
from ..errors import BadPayload, UsageError
from ..terminal import escape, shorten
from ..wire.strict_json import MAX_OUTPUT_DEPTH, decode_strict
from ..wire.timestamps import timestamp
from . import tables
from .operate import Dialogue, converse, operate
from .printing import FAULT, OK, print_json, print_table, say, say_lines, terminal_columns, warn

# Of a message in the list; `show` has it all.
MAX_MESSAGE = 60


def run(paths: Paths, given: argparse.Namespace) -> int:
    """Runs one flow and prints its record; for people its log as it comes, its answer or output, and why it failed."""
    arguments: dict[str, Any] = {"client": given.client, "flow": given.flow, "user": given.user}
    if given.input is not None:
        arguments["input"] = _read_input(given.input)
    if given.json:
        record = operate(paths, "run", arguments)
        print_json(record)
    else:
        record = converse(paths, _follow(arguments))
        warn(f"recorded: {paths.command_line('executions show ' + record['id'])}")
    return OK if record["status"] == "ENDED_SUCCESS" else FAULT


def _follow(arguments: dict[str, Any]) -> Dialogue[dict[str, Any]]:
    started = yield "run", {**arguments, "follow": True}
    news: dict[str, Any] = {"next": 0, "record": None}
    while news["record"] is None:
        news = yield "run.follow", {"id": started["id"], "after": news["next"]}
        for line in news["log"]:
            say(log_text(line))
    record: dict[str, Any] = news["record"]
    _print_end(record, news["response"])
    return record


def _print_end(record: dict[str, Any], response: dict[str, Any] | None) -> None:
    """How it ended; then what the caller of a webhook would see of it. A message's first line stands beside the status.

    Of a flow that failed the message is a traceback of its own lines.
    """
    message = record["message"].strip()
    is_long = "\n" in message
    took = tables.duration(record["started_at"], record["ended_at"])
    after = f" after {took}" if took != "-" else ""
    say(f"{record['status']}{after}" + (f": {message}" if message and not is_long else ""))
    if is_long:
        say_lines(message)
    if response is not None:
        status = response["status"]
        phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
        say(f"HTTP {status} {phrase}".rstrip())
        for name, value in response["headers"]:
            say(f"{name}: {value}")
        say("")
        say_lines(response["text"] if "text" in response else f"(no text; in base64) {response['data']}")
    elif record["output_value"]:
        print_json(record["output_value"])


def _read_input(text: str) -> Any:
    """JSON from the argument itself, from @FILE or from standard input. Raises UsageError."""
    try:
        if text == "-":
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8-sig")
        # An execution's input may be a child's, in which a payload stands some levels further in.
        return decode_strict(text, MAX_OUTPUT_DEPTH)
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
        now = datetime.now()
        is_terminal = terminal_columns() > 0
        cells = [
            (
                row["id"],
                row["client_name"],
                row["webhook_name"],
                row["flow_name"],
                row["status"],
                tables.near_time(row["created_at"], now) if is_terminal else tables.local_time(row["created_at"]),
                tables.duration(row["started_at"], row["ended_at"]),
                shorten(escape(tables.last_line(row["message"])), MAX_MESSAGE),
            )
            for row in rows
        ]
        head = ("ID", "CLIENT", "WEBHOOK", "FLOW", "STATUS", "CREATED", "TOOK", "MESSAGE")
        print_table(head, cells, optional=("CLIENT", "TOOK", "FLOW", "MESSAGE"))
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
            say(log_text(line))
    return OK


def log_text(line: Any) -> str:
    """One line: {"at": ms, "args": [...], "fields": {...}} of this.log, or {"at": ms, "text": "..."} of print.

    Or whatever else a worker that its flow broke out of may have written in place of these.
    """
    if not isinstance(line, dict):
        return str(line)
    parts = [_moment(line.get("at"))]
    args, fields = line.get("args"), line.get("fields")
    parts += [
        value if isinstance(value, str) else _compact(value) for value in (args if isinstance(args, list) else ())
    ]
    parts += [f"{name}={_compact(value)}" for name, value in (fields if isinstance(fields, dict) else {}).items()]
    if "text" in line:
        parts.append(str(line["text"]))
    return " ".join(parts)


def _moment(milliseconds: Any) -> str:
    try:
        return tables.local_time(timestamp(milliseconds)) if isinstance(milliseconds, int) else "-"
    except (ValueError, OverflowError, OSError):
        return "-"  # no year of any calendar


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def executions_replay(paths: Paths, given: argparse.Namespace) -> int:
    """Runs an execution's input again; without a daemon, waits for it here."""
    record = operate(paths, "executions.replay", {"id": given.id}, alone={"wait": True})
    if given.json:
        print_json(record)
    else:
        say(record["id"])
    return OK


def executions_cancel(paths: Paths, given: argparse.Namespace) -> int:
    """Ends an execution that runs."""
    record = operate(paths, "executions.cancel", {"id": given.id})
    if given.json:
        print_json(record)
    else:
        say(f"{record['id']} {record['status']}")
    return OK
