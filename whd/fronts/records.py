"""Executions between hub and front: many rows (store/rows.py) in one frame, their JSON as the bytes it is. Pure.

A head's member "rows" has a list for each: the row with the sizes of input, output, response and of each piece of log
in the place of their bytes. The frame's value is all of these one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..auth.permissions import PermissionDenied
from ..errors import Forbidden, SaveRefused, StateError, WhdError
from ..model.execution import Cause, Status
from ..store.interface import Stored
from ..store.rows import Row, from_row, to_row

# What stands before the first of the texts travels as JSON, by one slice; two of these values come back as their enums.
_SHORT: Final = Row._fields.index("input_json")
_STATUS: Final = Row._fields.index("status")
_CAUSE: Final = Row._fields.index("cause")

_STATUSES = {status.value: status for status in Status}
_CAUSES = {cause.value: cause for cause in Cause}


def pack(rows: Iterable[Row]) -> tuple[list[list[Any]], bytes]:
    """The head's member and the frame's value."""
    heads: list[list[Any]] = []
    texts: list[bytes] = []
    for row in rows:
        input_json, output_json, response_json, log = row.input_json, row.output_json, row.response_json, row.log
        texts += (input_json, output_json, response_json)
        texts += log
        sizes = (len(input_json), len(output_json), len(response_json), list(map(len, log)))
        heads.append([*row[:_SHORT], *sizes, row.size_bytes])
    return heads, b"".join(texts)


def unpack(heads: list[list[Any]], value: bytes | None) -> list[Row]:
    """The rows again."""
    rows: list[Row] = []
    texts = value or b""
    start = 0
    for head in heads:
        input_bytes, output_bytes, response_bytes, log_bytes, size_bytes = head[_SHORT:]
        output_start = start + input_bytes
        response_start = output_start + output_bytes
        position = response_start + response_bytes
        texts_of_row = texts[start:output_start], texts[output_start:response_start], texts[response_start:position]
        log: list[bytes] = []
        for size in log_bytes:
            log.append(texts[position : position + size])
            position += size
        start = position
        head[_STATUS], head[_CAUSE] = _STATUSES[head[_STATUS]], _CAUSES[head[_CAUSE]]
        # Neither Row(…) nor Row._make: to_row says why.
        rows.append(tuple.__new__(Row, (*head[:_SHORT], *texts_of_row, tuple(log), size_bytes)))
    return rows


def stored_members(stored: Stored | None) -> tuple[dict[str, Any], bytes | None]:
    """One record, or none, as an answer's members and value."""
    if stored is None:
        return {"rows": []}, None
    heads, value = pack([to_row(stored.execution)])
    return {"rows": heads, "script": stored.script}, value


def read_stored(head: dict[str, Any], value: bytes | None) -> Stored | None:
    """The record of such an answer. Raises the error that stands in its place."""
    if "error" in head:
        raise read_error(head["error"])
    if not head["rows"]:
        return None
    (row,) = unpack(head["rows"], value)
    return Stored(from_row(row), head["script"])


class DeniedInHub(PermissionDenied):
    """A refusal by permission that was decided in the hub: its text alone came back."""

    def __init__(self, text: str) -> None:
        Forbidden.__init__(self, text)


def error_member(error: WhdError) -> list[str]:
    """An error as JSON: what it is, its text, the operator's text or the flow_api error's name."""
    if isinstance(error, SaveRefused):
        return ["refused", error.detail, error.kind]
    return ["denied" if isinstance(error, PermissionDenied) else "state", error.detail, error.log_detail]


def read_error(member: list[str]) -> WhdError:
    """The error again."""
    kind, detail, more = member
    if kind == "refused":
        return SaveRefused(more, detail)
    return DeniedInHub(detail) if kind == "denied" else StateError(detail, log_detail=more)
