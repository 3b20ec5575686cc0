"""A record as SQLite keeps it: what is bound to a statement, and what comes back. Pure.

`encode` runs in the writer thread, `decode` in the reader's.
"""

from __future__ import annotations

from typing import Any

from ..model.delivery import read_delivery
from ..model.execution import Cause, Execution, Status
from .rows import Row, to_text

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

# Of a delivery, the values of schema.SAVE_DELIVERY.
DeliveryValues = tuple[bytes, bytes, bytes, int, int]

ASYNC_FLAG = 1
SHOW_SCRIPT_FLAG = 2
MASKED_FLAG = 4

# Log lines are JSON texts, kept as an RFC 7464 sequence: a record separator stands before each, and JSON text cannot
# hold a bare one (RFC 8259, 7), while it may hold newlines as white space.
SEPARATOR = b"\x1e"

# sqlite3 binds exact int, float, str and bytearray directly; bytes and None first go through the adapters, at about
# 0.5 µs each (two failed attribute look-ups). Beyond this size the copy into a bytearray costs more than that.
_COPY_BYTES = 8192


def encode(row: Row, origin: int) -> tuple[Any, ...]:
    """The values of schema.COLUMNS. Raises ValueError for an id that is no UUID."""
    # All names in one go: attributes of a NamedTuple cost twice as much. A slice is a plain tuple, which unpacks faster
    # than a Row does.
    (
        execution_id, _client, _webhook, _key_webhook, _flow, _user, _kind, _script_hash,
        status, cause, is_async, show_script, is_masked, attempts, created, started, ended, parent, root, replay_of,
        _delivery,
        name, message, input_json, output_json, response, log,
    ) = row[:27]  # fmt: skip
    return (
        bytearray.fromhex(execution_id.replace("-", "")),
        origin,
        STATUS_CODES[status._value_],
        (ASYNC_FLAG if is_async else 0) | (SHOW_SCRIPT_FLAG if show_script else 0) | (MASKED_FLAG if is_masked else 0),
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


def encode_delivery(row: Row) -> DeliveryValues:
    """The values of schema.SAVE_DELIVERY for a record that has one."""
    delivery = read_delivery(row.delivery)
    execution_id = bytes.fromhex(row.id.replace("-", ""))
    return delivery.key, delivery.body, execution_id, STATUS_CODES[row.status._value_], delivery.until_ms


def clean(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values with every text writable: lone surrogates, which UTF-8 cannot carry, become question marks."""
    return tuple(v.encode("utf-8", "replace").decode("utf-8") if type(v) is str else v for v in values)


def decode(
    head: tuple[Any, ...],
    origin: tuple[str, ...],
    payload: tuple[bytes, bytes, Any, Any] | None,
) -> Execution:
    """A stored row as an Execution.

    `head`: schema.HEAD_COLUMNS; `origin`: its seven texts, as rows.origin_of; `payload`: input, output,
    response and log, None for a summary (then these are empty).
    """
    raw, status, flags, attempts, created, started, ended, parent, root, replay_of, cause, name, message = head
    client, webhook, key_webhook, flow, user, kind, script_hash = origin
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
        is_masked=bool(flags & MASKED_FLAG),
        attempts=attempts,
        parent_id=to_text(parent) if parent else "",
        root_id=to_text(root) if root else execution_id,
        replay_of=to_text(replay_of) if replay_of else "",
        log=log[1:].split(SEPARATOR) if log else [],
    )


def _blob(value: bytes) -> bytes | bytearray:
    return bytearray(value) if len(value) <= _COPY_BYTES else value
