"""How executions look to commands: their records, rows of a list, lines of their logs, as JSON has them. All pure."""

from __future__ import annotations

import base64
import json
from typing import Any

from ..model.execution import Execution, to_json
from ..pool.job import FlowResponse
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


def response_document(response: FlowResponse) -> dict[str, Any]:
    """An answer that a flow gives for itself; its body as `text`, or as base64 in `data` if it is none."""
    document: dict[str, Any] = {
        "status": response.status,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in response.headers],
    }
    try:
        return {**document, "text": bytes(response.body).decode("utf-8")}
    except UnicodeDecodeError:
        return {**document, "data": base64.b64encode(response.body).decode("ascii")}


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
