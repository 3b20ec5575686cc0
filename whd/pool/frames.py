"""A worker's frames, checked: hostile bytes in, values or FrameError out. Pure.

A worker runs what a stranger wrote; once the language layer is broken it sends what it likes. Whatever a frame claims,
its identity is that of the socket it came through, and nothing in it is believed beyond its own execution.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import BadPayload
from ..executions.record import Cause, Status
from ..payload import decode_strict
from ..settings.options import Limits
from ..wire import FrameError
from .job import End

MAX_MESSAGE_CHARS = 65_536
MAX_NAME_CHARS = 1_000
MAX_CALL_BYTES = 12_582_912
# Beyond the output itself a frame holds its head: message, response, which are bounded by the same limit.
FRAME_ROOM_BYTES = 4 * MAX_MESSAGE_CHARS + 65_536

_END_STATUSES = {"ENDED_SUCCESS": Status.ENDED_SUCCESS, "ENDED_ERROR": Status.ENDED_ERROR}


def frame_limit_bytes(limits: Limits) -> int:
    """The largest frame that a worker under these limits may send: an output and an own answer, each at its limit."""
    # A character of the response's text may take six bytes in JSON.
    return limits.max_output_bytes * 7 + FRAME_ROOM_BYTES


def text_member(head: dict[str, Any], name: str, limit_chars: int) -> str:
    """A member that must be text, cut off at the limit. Raises FrameError."""
    value = head.get(name, "")
    if type(value) is not str:
        raise FrameError(f"{name} is not text")
    try:
        # Half a surrogate pair is JSON but no text: neither SQLite nor a log line would take it.
        value.encode("utf-8")
    except UnicodeEncodeError:
        value = value.encode("utf-8", "replace").decode("utf-8")
    return value if len(value) <= limit_chars else value[:limit_chars] + "…"


def int_member(head: dict[str, Any], name: str) -> int:
    """A member that must be a whole number, not negative. Raises FrameError."""
    value = head.get(name)
    if type(value) is not int or value < 0:
        raise FrameError(f"{name} is not a whole number")
    return value


def strict_json(value: bytes | None, what: str) -> Any:
    """One strict JSON value in UTF-8. Raises FrameError."""
    if value is None:
        raise FrameError(f"{what} is missing")
    try:
        return decode_strict(value.decode("utf-8"))
    except (UnicodeDecodeError, BadPayload) as error:
        raise FrameError(f"{what}: {error}") from None


def read_end(head: dict[str, Any], value: bytes | None, limits: Limits, *, is_checked: bool = False) -> End:
    """An `end` frame. `is_checked`: the output's JSON was checked by another process. Raises FrameError."""
    status = _END_STATUSES.get(text_member(head, "status", 32))
    if status is None:
        raise FrameError("an end without a known status")
    is_limited = text_member(head, "limit", 64) != "" and status is Status.ENDED_ERROR
    output = b"{}" if value is None else value
    if len(output) > limits.max_output_bytes:
        raise FrameError(f"an output of {len(output)} bytes past max_output_bytes")
    if not is_checked:
        strict_json(output, "the output")
    response = head.get("response")
    return End(
        status=status,
        message=text_member(head, "message", MAX_MESSAGE_CHARS),
        cause=Cause.LIMIT if is_limited else Cause.NONE,
        output_json=output,
        name=text_member(head, "name", MAX_NAME_CHARS),
        response=None if response is None else read_response(response, limits),
    )


def read_response(response: Any, limits: Limits) -> dict[str, Any]:
    """A flow's own answer: {status, headers, body | body_base64}. Raises FrameError."""
    if type(response) is not dict:
        raise FrameError("response is not an object")
    status = response.get("status")
    if type(status) is not int or not 200 <= status <= 599:
        raise FrameError("response.status is not 200 to 599")
    headers = response.get("headers")
    if type(headers) is not dict or len(headers) > 100:
        raise FrameError("response.headers is not an object of at most 100 members")
    for name, text in headers.items():
        if type(text) is not str or not is_header(name, text):
            raise FrameError("response.headers: a name or value that HTTP does not allow")
    for member in ("body", "body_base64"):
        body = response.get(member, "")
        if type(body) is not str or len(body) > limits.max_output_bytes * 4 // 3 + 4:
            raise FrameError("response body is not text or too large")
    return response


# RFC 9110, 5.6.2: token. What the connection itself decides may not be set by a flow (RFC 9110, 7.6.1).
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_OWN_HEADERS = frozenset(
    {"connection", "content-length", "date", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def is_header(name: str, text: str) -> bool:
    """Whether a flow may send this field: a token, not one of the connection's own, a value without controls."""
    if not name or len(name) > 200 or len(text) > 8_192 or not _TOKEN.issuperset(name) or name.lower() in _OWN_HEADERS:
        return False
    return all(" " <= char <= "~" or char == "\t" or "\u00a0" <= char <= "\u00ff" for char in text)


def read_call(head: dict[str, Any], value: bytes | None) -> tuple[int, str, Any]:
    """A `call` frame: its number, name and arguments. Raises FrameError."""
    if value is not None and len(value) > MAX_CALL_BYTES:
        raise FrameError(f"a request of {len(value)} bytes to the daemon, past {MAX_CALL_BYTES}")
    return int_member(head, "call"), text_member(head, "name", 64), strict_json(value, "the arguments")


def read_log(value: bytes | None) -> bytes:
    """A `log` frame's lines: a JSON list, passed on as text. Raises FrameError."""
    lines = strict_json(value, "the log")
    if type(lines) is not list or value is None:
        raise FrameError("the log is not a list")
    # One spelling for the record, whatever white space came.
    return json.dumps(lines, separators=(",", ":")).encode("ascii")
