"""A worker's frames, checked: hostile bytes in, values or FrameError out. Pure.

A worker runs what a stranger wrote; once the language layer is broken it sends what it likes. Whatever a frame claims,
its identity is that of the socket it came through, and nothing in it is believed beyond its own execution.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import BadPayload
from ..model.execution import Cause, Status
from ..model.options import Limits
from ..wire.frames import LARGE_BYTES, MAX_HEAD_BYTES, FrameError, split_raw
from ..wire.response_headers import HeaderRefused, Setter, read_fields
from ..wire.strict_json import MAX_CALL_DEPTH, MAX_OUTPUT_DEPTH, decode_strict, is_quick
from .job import End, FlowResponse

MAX_MESSAGE_CHARS = 65_536
MAX_NAME_CHARS = 1_000
# Parsed on the loop; what 1 MiB can cost there is some tens of milliseconds at the worst.
MAX_CALL_BYTES = 1_048_576

# What no honest flow comes near with the options' defaults; it matters where an operator raised max_calls or
# max_log_bytes, and for a process that does not play by the rules. All of one execution: requests at once and then per
# second, bytes of all requests, lines of log.
CALLS_AT_ONCE = 100_000
CALLS_PER_S = 2_000
CALLS_BYTES = 536_870_912
LOG_LINES = 100_000

_END_STATUSES = {"ENDED_SUCCESS": Status.ENDED_SUCCESS, "ENDED_ERROR": Status.ENDED_ERROR}


def frame_limit_bytes(limits: Limits) -> int:
    """The largest frame that a worker under these limits may send: an output and an own answer, each at its limit, or
    a request with something raw.
    """
    # raw_limit_bytes, written out: each call pays for it.
    return max(limits.max_output_bytes, MAX_CALL_BYTES) * 2 + MAX_HEAD_BYTES


def raw_limit_bytes(limits: Limits) -> int:
    """How large what a request carries as it is may be: a file's content, a child's input."""
    return max(limits.max_output_bytes, MAX_CALL_BYTES)


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


def strict_json(value: bytes | bytearray | None, what: str, max_depth: int = MAX_OUTPUT_DEPTH) -> Any:
    """One strict JSON value in UTF-8. Raises FrameError."""
    if value is None:
        raise FrameError(f"{what} is missing")
    try:
        return decode_strict(value.decode("utf-8"), max_depth)
    except (UnicodeDecodeError, BadPayload) as error:
        raise FrameError(f"{what}: {error}") from None


REVOKED = b'{"op":"revoked"}'

_PLAIN_STATUSES = {name.encode("ascii"): status for name, status in _END_STATUSES.items()}
_PLAIN_END = re.compile(
    rb'\{"op":"end","job":(0|[1-9][0-9]{0,14}),"status":"(ENDED_SUCCESS|ENDED_ERROR)","took_us":(0|[1-9][0-9]{0,14}),'
    rb'"message":"([ !#-\[\]-~]{0,1000})"\}\n'
)


def read_plain_end(payload: bytes | bytearray, limits: Limits) -> tuple[int, End, int] | None:
    """The job's number, its end and its microseconds of an `end` frame of the common form; None for any other.

    What is accepted here `split` and `read_end` would read the same way, at several times the cost, and they are asked
    about everything else: only they say what is wrong with a frame. Raises FrameError for an output that is not JSON.
    """
    found = _PLAIN_END.match(payload) if len(payload) < LARGE_BYTES else None
    if found is None:
        return None
    output = payload[found.end() :]
    if len(output) > limits.max_output_bytes or not is_quick(output):
        return None
    strict_json(output, "the output")
    job, status, took_us, message = found.groups()
    end = End(_PLAIN_STATUSES[status], message.decode("ascii"), Cause.NONE, output)
    return int(job), end, int(took_us)


def read_end(
    head: dict[str, Any], value: bytes | bytearray | None, limits: Limits, cookie_paths: tuple[str, ...] = ()
) -> End:
    """An `end` frame. Of its output only what is quickly checked is (payload.is_quick). Raises FrameError.

    `cookie_paths`: as read_fields has it, for an answer of the flow's own.
    """
    status = _END_STATUSES.get(text_member(head, "status", 32))
    if status is None:
        raise FrameError("an end without a known status")
    is_limited = text_member(head, "limit", 64) != "" and status is Status.ENDED_ERROR
    output = b"{}" if value is None else value
    response = None
    if "response" in head:
        output_bytes = int_member(head, "output_bytes")
        body = bytes(memoryview(output)[output_bytes:])
        output = output[:output_bytes]
        response = read_response(head["response"], body, limits, cookie_paths)
    if len(output) > limits.max_output_bytes:
        raise FrameError(f"an output of {len(output)} bytes past max_output_bytes")
    if is_quick(output):
        strict_json(output, "the output")
    return End(
        status=status,
        message=text_member(head, "message", MAX_MESSAGE_CHARS),
        cause=Cause.LIMIT if is_limited else Cause.NONE,
        output_json=output,
        name=text_member(head, "name", MAX_NAME_CHARS),
        response=response,
    )


def read_response(response: Any, body: bytes, limits: Limits, cookie_paths: tuple[str, ...]) -> FlowResponse:
    """A flow's own answer: {status, headers} and its body. Raises FrameError."""
    if type(response) is not dict:
        raise FrameError("response is not an object")
    status = response.get("status")
    if type(status) is not int or not 200 <= status <= 599:
        raise FrameError("response.status is not 200 to 599")
    headers = response.get("headers")
    if type(headers) is not dict:
        raise FrameError("response.headers is not an object")
    for value in headers.values():
        if not all(type(text) is str for text in (value if type(value) is list else [value])):
            raise FrameError("response.headers: a value is neither text nor a list of texts")
    try:
        fields = read_fields(headers.items(), Setter.FLOW, cookie_paths)
    except HeaderRefused as error:
        raise FrameError(f"response.headers: a name or value that whd does not allow: {error}") from None
    if len(body) > limits.max_output_bytes:
        raise FrameError("a response body past max_output_bytes")
    return FlowResponse(status, tuple((name.encode("ascii"), text.encode("latin-1")) for name, text in fields), body)


def read_call(head: dict[str, Any], value: bytes | bytearray | None, limits: Limits) -> tuple[int, str, Any, bytes]:
    """A `call` frame: its number, name, arguments, and what it carries as it is, unchecked. Raises FrameError."""
    raw = b""
    if value is not None and "raw_bytes" in head:
        value, raw = split_raw(head, value)
    if value is not None and len(value) > MAX_CALL_BYTES:
        raise FrameError(f"a request of {len(value)} bytes to the daemon, past {MAX_CALL_BYTES}")
    if len(raw) > raw_limit_bytes(limits):
        raise FrameError(f"a request that carries {len(raw)} bytes, past {raw_limit_bytes(limits)}")
    arguments = strict_json(value, "the arguments", MAX_CALL_DEPTH)
    return int_member(head, "call"), text_member(head, "name", 64), arguments, raw


def log_start(job_number: int) -> bytes:
    """What a `log` frame begins with, as our workers write it; one that differs is read like any other frame."""
    return b'{"op":"log","job":%d}\n' % job_number


def read_log(value: bytes | bytearray | None) -> bytes:
    """A `log` frame's lines: meant to be a JSON list in one line. Raises FrameError.

    It is kept as it came and parsed only by who reads a log, so that a flood of lines costs the loop nothing.
    """
    if value is None or b"\n" in value:
        raise FrameError("the log is missing, or has a line break")
    return bytes(value)


def limit_of_calls(calls: int, calls_bytes: int, seconds: float, limits: Limits) -> str:
    """Which limit so many requests in that time have passed, in words for the flow's author; "" if none."""
    if calls > limits.max_calls:
        return f"max_calls: more than {limits.max_calls} requests to the daemon"
    if calls > CALLS_AT_ONCE + CALLS_PER_S * seconds:
        return f"calls_per_s: more than {CALLS_AT_ONCE} requests to the daemon and {CALLS_PER_S} for each second"
    if calls_bytes > CALLS_BYTES:
        return f"calls_bytes: requests of more than {CALLS_BYTES} bytes to the daemon"
    return ""


def limit_of_log(lines: int, size_bytes: int, limits: Limits) -> str:
    """The same for the log. The worker counts too, and ends an honest flow exactly at max_log_bytes."""
    if size_bytes > limits.max_log_bytes * 2 + MAX_CALL_BYTES:
        return f"max_log_bytes: more than {limits.max_log_bytes} bytes of log"
    if lines > LOG_LINES:
        return f"log_lines: more than {LOG_LINES} lines of log"
    return ""
