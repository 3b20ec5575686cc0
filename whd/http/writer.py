"""An answer's bytes, built from prepared parts by one function.

Nothing here does I/O. h11's writer is not used: h11 takes about as long to write a small answer as to read a request,
because it validates every field a second time and in Python. What it would catch and matters, a line break in a
field, is caught here at once for the whole head.
"""

from __future__ import annotations

from http import HTTPStatus

from ..wire.response_headers import SERVER_OWN
from .messages import Headers, Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode("ascii")
    for status in HTTPStatus
    if status.value >= 200
}
# Only the connection knows how the message is framed; two answers to that question would be a smuggled one.
_OWN_FIELDS = frozenset(name.encode("ascii") for name in SERVER_OWN)

_prepared: dict[int, tuple[Headers, bytes]] = {}
"""For each status the last answer's headers and what start() made of them: most answers share a constant."""


def response_bytes(response: Response, *, date: bytes, connection: bytes, is_head: bool) -> bytes:
    """`response` as HTTP/1.1. `date` (IMF-fixdate) and `connection` are field values, b"" leaves the field out.

    Raises ValueError for a status outside 200 to 599 or a line break or NUL in a field: a defect of the application.
    """
    status = response.status
    headers = response.headers
    prepared = _prepared.get(status)
    if prepared is not None and prepared[0] is headers:
        start = prepared[1]
    else:
        start = _start(status, headers)
        _prepared[status] = (headers, start)
    if date:
        start += b"date: %b\r\n" % date
    if connection:
        start += b"connection: %b\r\n" % connection
    if status == 204 or status == 304:
        # RFC 9110, 8.6: never a Content-Length in a 204; both end with their head (RFC 9112, 6.3).
        return start + b"\r\n"
    body = response.body
    if is_head:
        return start + (b"\r\n" if response.omits_length else b"content-length: %d\r\n\r\n" % len(body))
    return b"%bcontent-length: %d\r\n\r\n%b" % (start, len(body), body)


def _start(status: int, headers: Headers) -> bytes:
    """The status line and the application's fields."""
    line = _STATUS_LINES.get(status)
    if line is None:
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is no status of a final answer")
        line = b"HTTP/1.1 %d " % status  # RFC 9112, 4: the reason may be empty, the space may not
    lines = [line]
    for name, value in headers:
        if name not in _OWN_FIELDS:
            lines.append(b"%b: %b" % (name, value))
    start = b"\r\n".join(lines)
    if b"\0" in start or start.count(b"\r") != len(lines) - 1 or start.count(b"\n") != len(lines) - 1:
        raise ValueError("a field of the answer holds a line break or NUL")
    return start + b"\r\n"
