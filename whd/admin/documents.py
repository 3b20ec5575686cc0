"""How executions look to commands: their records, rows of a list, lines of their logs, as JSON has them. All pure."""

from __future__ import annotations

import json
from typing import Any

from ..model.execution import Execution, to_json
from ..store.interface import Stored
from ..wire.timestamps import timestamp


def record_document(stored: Stored) -> Any:
    """Everything, as the API shows it."""
    return json.loads(to_json(stored.execution, stored.script))


def summary_row(execution: Execution) -> dict[str, Any]:
    """A row of `executions.list`."""
    return {
        "id": execution.id,
        "client_name": execution.client_name,
        "webhook_name": execution.webhook_name or None,
        "flow_name": execution.flow_name,
        "user_name": execution.user_name,
        "status": execution.status,
        "message": execution.message,
        "created_at": timestamp(execution.created_ms),
        "started_at": timestamp(execution.started_ms),
        "ended_at": timestamp(execution.ended_ms),
        "attempts": execution.attempts,
        "parent_id": execution.parent_id or None,
        "replay_of": execution.replay_of or None,
    }


def log_lines(lines: bytes) -> list[Any]:
    """A worker's own words, kept as they came: what is no JSON list is shown as the text that it is."""
    try:
        parsed = json.loads(lines, parse_float=_finite, parse_constant=str)
    except (ValueError, RecursionError):
        parsed = None
    if type(parsed) is not list:
        return [{"text": lines.decode("utf-8", "replace")}]
    return [line if type(line) is dict else {"text": str(line)} for line in parsed]


def _finite(text: str) -> float | str:
    value = float(text)
    return value if value - value == 0 else text
