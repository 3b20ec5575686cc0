"""An execution as the store keeps it: what is taken on the loop, what is bound to a statement, what comes back.

`take` runs on the loop for each save and does only what cannot wait; `encode` runs in the writer thread. Nothing here
does I/O.
"""

from __future__ import annotations

import re
from typing import Any

from ..model.execution import Cause, Execution, Status

# What was taken of an Execution, in the order of the indices below; the last member is its size.
Row = tuple[Any, ...]

ID = 0
ORIGIN = slice(1, 8)
SCRIPT_HASH = 7
SIZE_BYTES = 25

# A record is never counted with less than this: its short columns, index entries and the objects that hold it.
BASE_BYTES = 600

STATUS_CODES: dict[str, int] = {
    "PENDING": 0,
    "RUNNING": 1,
    "ENDED_SUCCESS": 2,
    "ENDED_ERROR": 3,
    "ENDED_CANCELLED": 4,
}
STATUSES: tuple[Status, ...] = tuple(Status(name) for name in STATUS_CODES)
ENDED_CODES: tuple[int, ...] = tuple(code for name, code in STATUS_CODES.items() if Status(name).is_ended)
UNFINISHED_CODES: tuple[int, ...] = tuple(code for name, code in STATUS_CODES.items() if not Status(name).is_ended)

ASYNC_FLAG = 1
SHOW_SCRIPT_FLAG = 2

# Log lines are JSON texts, kept as an RFC 7464 sequence: a record separator stands before each, and JSON text cannot
# hold a bare one (RFC 8259, 7), while it may hold newlines as white space.
SEPARATOR = b"\x1e"

# sqlite3 binds exact int, float, str and bytearray directly; bytes and None first go through the adapters, at about
# 0.5 µs each (two failed attribute look-ups). Beyond this size the copy into a bytearray costs more than that.
_COPY_BYTES = 8192

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def to_row(execution: Execution) -> Row:
    """The record's values as they are now. Later changes to `execution` do not show in the row."""
    log = execution.log
    input_json = execution.input_json
    output_json = execution.output_json
    response_json = execution.response_json
    size = BASE_BYTES + len(input_json) + len(output_json) + len(response_json) + len(execution.message)
    if log:
        size += sum(map(len, log))
    return (
        execution.id,
        execution.client_name,
        execution.webhook_name,
        execution.key_webhook_name,
        execution.flow_name,
        execution.user_name,
        execution.kind,
        execution.script_hash,
        execution.status,
        execution.cause,
        execution.is_async,
        execution.show_script,
        execution.attempts,
        execution.created_ms,
        execution.started_ms,
        execution.ended_ms,
        execution.parent_id,
        execution.root_id,
        execution.replay_of,
        execution.name,
        execution.message,
        input_json,
        output_json,
        response_json,
        tuple(log) if log else (),
        size,
    )


def from_row(row: Row) -> Execution:
    """The Execution that `take` saw; for reads of what is not written yet."""
    client, webhook, key_webhook, flow, user, kind, script_hash = row[ORIGIN]
    return Execution(
        id=row[ID],
        client_name=client,
        flow_name=flow,
        user_name=user,
        script_hash=script_hash,
        input_json=row[21],
        webhook_name=webhook,
        key_webhook_name=key_webhook,
        name=row[19],
        kind=kind,
        status=row[8],
        cause=row[9],
        message=row[20],
        output_json=row[22],
        response_json=row[23],
        created_ms=row[13],
        started_ms=row[14],
        ended_ms=row[15],
        is_async=row[10],
        show_script=row[11],
        attempts=row[12],
        parent_id=row[16],
        root_id=row[17],
        replay_of=row[18],
        log=list(row[24]),
    )


def encode(row: Row, origin: int) -> tuple[Any, ...]:
    """The values of schema.COLUMNS. Raises ValueError for an id that is no UUID."""
    (execution_id, _, _, _, _, _, _, _, status, cause, is_async, show_script, attempts) = row[:13]
    (created, started, ended, parent, root, replay_of, name, message, input_json, output_json, response, log) = row[
        13:25
    ]
    return (
        bytearray.fromhex(execution_id.replace("-", "")),
        origin,
        STATUS_CODES[status._value_],
        (ASYNC_FLAG if is_async else 0) | (SHOW_SCRIPT_FLAG if show_script else 0),
        attempts,
        created,
        started,
        ended,
        bytearray.fromhex(parent.replace("-", "")) if parent else "",
        # A topmost execution, nearly every one, need not say its own id twice.
        bytearray.fromhex(root.replace("-", "")) if root and root != execution_id else "",
        bytearray.fromhex(replay_of.replace("-", "")) if replay_of else "",
        cause._value_,
        name,
        message,
        _blob(input_json),
        _blob(output_json),
        _blob(response) if response else "",
        _blob(SEPARATOR + SEPARATOR.join(log)) if log else "",
    )


def clean(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same with every text writable: lone surrogates, which UTF-8 cannot carry, become question marks."""
    return tuple(v.encode("utf-8", "replace").decode("utf-8") if type(v) is str else v for v in values)


def decode(
    head: tuple[Any, ...],
    names: tuple[str, ...],
    payload: tuple[bytes, bytes, Any, Any] | None,
) -> Execution:
    """A stored row as an Execution.

    `head`: schema.HEAD_COLUMNS; `names`: the origin's seven texts, as in Row[ORIGIN]; `payload`: input, output,
    response and log, None for a summary (then these are empty).
    """
    raw, status, flags, attempts, created, started, ended, parent, root, replay_of, cause, name, message = head
    client, webhook, key_webhook, flow, user, kind, script_hash = names
    execution_id = to_text(raw)
    input_json, output_json, response, log = payload or (b"", b"", b"", b"")
    return Execution(
        id=execution_id,
        client_name=client,
        flow_name=flow,
        user_name=user,
        script_hash=script_hash,
        input_json=input_json,
        webhook_name=webhook,
        key_webhook_name=key_webhook,
        name=name,
        kind=kind,
        status=STATUSES[status],
        cause=Cause(cause),
        message=message,
        output_json=output_json,
        response_json=response or b"",
        created_ms=created,
        started_ms=started,
        ended_ms=ended,
        is_async=bool(flags & ASYNC_FLAG),
        show_script=bool(flags & SHOW_SCRIPT_FLAG),
        attempts=attempts,
        parent_id=to_text(parent) if parent else "",
        root_id=to_text(root) if root else execution_id,
        replay_of=to_text(replay_of) if replay_of else "",
        log=log[1:].split(SEPARATOR) if log else [],
    )


def to_text(raw: bytes) -> str:
    """16 bytes as 8-4-4-4-12 hexadecimal digits."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def to_bytes(execution_id: str) -> bytes | None:
    """The 16 bytes of an id in its one spelling (lower case, four hyphens), None for anything else."""
    if not _UUID.match(execution_id):
        return None
    return bytes.fromhex(execution_id.replace("-", ""))


def first_id(milliseconds: int) -> bytes:
    """No UUIDv7 made at or after that moment sorts before this (RFC 9562, 5.7: the time stands first)."""
    return max(0, milliseconds).to_bytes(6, "big") + bytes(10)


def _blob(value: bytes) -> bytes | bytearray:
    return bytearray(value) if len(value) <= _COPY_BYTES else value
