"""An execution as it was when the store took it: neutral, whatever keeps the records; and ids as bytes.

`to_row` runs on the loop for each save and does only what cannot wait. Nothing here does I/O.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Final, NamedTuple

from ..model.execution import Cause, Execution, Status

# A record is never counted with less than this: its short columns, index entries and the objects that hold it.
BASE_BYTES: Final = 600

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


class Row(NamedTuple):
    """The fields of an Execution as they were at one moment. `size_bytes`: what the record counts in memory."""

    id: str
    client_name: str
    webhook_name: str
    key_webhook_name: str
    flow_name: str
    user_name: str
    kind: str
    script_hash: str
    status: Status
    cause: Cause
    is_async: bool
    show_script: bool
    is_masked: bool
    attempts: int
    created_ms: int
    started_ms: int
    ended_ms: int
    parent_id: str
    root_id: str
    replay_of: str
    delivery: str
    name: str
    message: str
    input_json: bytes
    output_json: bytes
    response_json: bytes
    log: tuple[bytes, ...]
    size_bytes: int


# Of a Row, the seven texts that say what ran and for whom; one call in C, where a property would be one in Python.
origin_of: Final = itemgetter(slice(Row._fields.index("client_name"), Row._fields.index("script_hash") + 1))


def to_row(execution: Execution) -> Row:
    """The record's values as they are now. Later changes to `execution` do not show in the row."""
    log = execution.log
    input_json = execution.input_json
    output_json = execution.output_json
    response_json = execution.response_json
    message = execution.message
    size = BASE_BYTES + len(input_json) + len(output_json)
    # Empty as a rule.
    if response_json:
        size += len(response_json)
    if message:
        size += len(message)
    if log:
        size += sum(map(len, log))
    # Every call pays for this line. A plain tuple of 27 takes 0.10 µs, as a Row 0.30 by tuple.__new__, 0.38 to 0.42 by
    # Row._make and 0.70 by Row(…), which are Python functions. The type checker does not compare the values with the
    # fields here; tests/store/test_rows.py does.
    return _new(
        Row,
        (
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
            execution.is_masked,
            execution.attempts,
            execution.created_ms,
            execution.started_ms,
            execution.ended_ms,
            execution.parent_id,
            execution.root_id,
            execution.replay_of,
            execution.delivery,
            execution.name,
            message,
            input_json,
            output_json,
            response_json,
            tuple(log) if log else (),
            size,
        ),
    )


_new = tuple.__new__


def from_row(row: Row) -> Execution:
    """The Execution that `to_row` saw; for reads of what is not written yet."""
    return Execution(
        id=row.id,
        client_name=row.client_name,
        flow_name=row.flow_name,
        user_name=row.user_name,
        script_hash=row.script_hash,
        input_json=row.input_json,
        webhook_name=row.webhook_name,
        key_webhook_name=row.key_webhook_name,
        name=row.name,
        kind=row.kind,
        status=row.status,
        cause=row.cause,
        message=row.message,
        output_json=row.output_json,
        response_json=row.response_json,
        created_ms=row.created_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        is_async=row.is_async,
        show_script=row.show_script,
        is_masked=row.is_masked,
        attempts=row.attempts,
        parent_id=row.parent_id,
        root_id=row.root_id,
        replay_of=row.replay_of,
        delivery=row.delivery,
        log=list(row.log),
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


def cursor_bytes(before: str | None) -> bytes | None:
    """The id that a page of the list ends before, None for the first page. Raises ValueError for what is no id."""
    raw_id = None if before is None else to_bytes(before)
    if raw_id is None and before is not None:
        raise ValueError(f"no id of an execution: {before!r}")
    return raw_id


def first_id(milliseconds: int) -> bytes:
    """No UUIDv7 made at or after that moment sorts before this (RFC 9562, 5.7: the time stands first)."""
    return max(0, milliseconds).to_bytes(6, "big") + bytes(10)
