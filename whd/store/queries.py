"""What is read from the store: one record, the unfinished ones, a page of the list. Plain functions of a connection.

All raise sqlite3.Error. None reads more than a bounded number of rows (but `unfinished`), however many there are.
"""

from __future__ import annotations

import heapq
import sqlite3
from typing import Any

from ..model.delivery import Delivery
from ..model.execution import Execution, Status
from . import schema
from .deliveries import KeptDelivery
from .encoding import STATUS_CODES, STATUSES, UNFINISHED_CODES, decode
from .interface import Stored
from .rows import to_text

_HEAD = ",".join(f"e.{name}" for name in schema.HEAD_COLUMNS)
_PAYLOAD = ",".join(f"e.{name}" for name in schema.PAYLOAD_COLUMNS)
_NAMES = "o.client_name,o.webhook_name,o.key_webhook_name,o.flow_name,o.user_name,o.kind,s.hash"
_FROM = "FROM execution e JOIN origin o ON o.id = e.origin JOIN script s ON s.id = o.script"
_HEAD_END = len(schema.HEAD_COLUMNS)
_NAMES_END = _HEAD_END + 7
_PAYLOAD_END = _NAMES_END + len(schema.PAYLOAD_COLUMNS)


def get(connection: sqlite3.Connection, raw_id: bytes) -> Stored | None:
    """The record with these 16 bytes of id."""
    row = connection.execute(
        f"SELECT {_HEAD},{_NAMES},{_PAYLOAD},s.source {_FROM} WHERE e.id = ?", (raw_id,)
    ).fetchone()
    return _stored(row) if row else None


def get_script(connection: sqlite3.Connection, script_hash: str) -> str | None:
    """A script's source by its hash."""
    row = connection.execute("SELECT source FROM script WHERE hash = ?", (script_hash,)).fetchone()
    return row[0] if row else None


def unfinished(connection: sqlite3.Connection) -> list[Stored]:
    """Every record that is PENDING or RUNNING, the oldest first."""
    # CROSS JOIN keeps the order of the tables: from each origin into its index, never over all executions.
    ids = connection.execute(
        "SELECT x.id FROM origin o CROSS JOIN execution x ON x.origin = o.id AND x.status IN (?, ?) ORDER BY x.id",
        UNFINISHED_CODES,
    ).fetchall()
    found = [stored for (raw_id,) in ids if (stored := get(connection, raw_id)) is not None]
    deliveries = {
        to_text(raw_id): Delivery(key, body, until_ms).to_text()
        for key, body, raw_id, until_ms in connection.execute(
            "SELECT key, body, execution, until_ms FROM delivery WHERE status < 2"
        )
    }
    for stored in found if deliveries else ():
        stored.execution.delivery = deliveries.get(stored.execution.id, "")
    return found


def get_deliveries(connection: sqlite3.Connection, key: bytes) -> list[KeptDelivery]:
    """What is kept under a key: one for each body that came with it."""
    rows = connection.execute("SELECT body, execution, status, until_ms FROM delivery WHERE key = ?", (key,))
    return [KeptDelivery(body, to_text(raw_id), STATUSES[status], until_ms) for body, raw_id, status, until_ms in rows]


def list_page(
    connection: sqlite3.Connection,
    *,
    client_name: str | None,
    status: Status | None,
    webhook_name: str | None,
    limit: int,
    before: bytes | None,
) -> list[Execution]:
    """The newest `limit` records that match, without payloads and logs; `before`: only those older than this id."""
    end = before or b"\xff" * 16
    if client_name is None and status is None and webhook_name is None:
        ids = connection.execute("SELECT id FROM execution WHERE id < ? ORDER BY id DESC LIMIT ?", (end, limit))
        return _summaries(connection, [raw_id for (raw_id,) in ids])
    groups = _groups(connection, client_name, status, webhook_name, limit, end)
    found: list[bytes] = []
    for origin, code, _ in groups:
        ids = connection.execute(
            "SELECT id FROM execution WHERE origin = ? AND status = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (origin, code, end, limit),
        )
        found += [raw_id for (raw_id,) in ids]
    return _summaries(connection, heapq.nlargest(limit, found))


def _groups(
    connection: sqlite3.Connection,
    client_name: str | None,
    status: Status | None,
    webhook_name: str | None,
    limit: int,
    end: bytes,
) -> list[tuple[int, int, bytes]]:
    """The (origin, status) pairs that can hold the page: the `limit` ones with the newest records.

    One index look-up for each pair, so that a rare webhook or status costs no more than a common one.
    """
    codes = (STATUS_CODES[status],) if status is not None else tuple(STATUS_CODES.values())
    conditions = ["1"]
    values: list[Any] = []
    for column, value in (("client_name", client_name), ("webhook_name", webhook_name)):
        if value is not None:
            conditions.append(f"o.{column} = ?")
            values.append(value)
    return connection.execute(
        f"WITH code (value) AS (VALUES {','.join(f'({code})' for code in codes)}) "
        "SELECT origin, code, newest FROM (SELECT o.id AS origin, code.value AS code, "
        "(SELECT x.id FROM execution x WHERE x.origin = o.id AND x.status = code.value AND x.id < ? "
        f"ORDER BY x.id DESC LIMIT 1) AS newest FROM origin o CROSS JOIN code WHERE {' AND '.join(conditions)}) "
        "WHERE newest IS NOT NULL ORDER BY newest DESC LIMIT ?",
        (end, *values, limit),
    ).fetchall()


def _summaries(connection: sqlite3.Connection, raw_ids: list[bytes]) -> list[Execution]:
    statement = f"SELECT {_HEAD},{_NAMES} {_FROM} WHERE e.id = ?"
    found = (connection.execute(statement, (raw_id,)).fetchone() for raw_id in raw_ids)
    return [decode(row[:_HEAD_END], row[_HEAD_END:], None) for row in found if row]


def _stored(row: tuple[Any, ...]) -> Stored:
    execution = decode(row[:_HEAD_END], row[_HEAD_END:_NAMES_END], row[_NAMES_END:_PAYLOAD_END])
    return Stored(execution, row[_PAYLOAD_END])
