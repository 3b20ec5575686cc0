"""The fast path: reads the head of the common request without h11, and leaves every other to it.

Nothing here does I/O. Whatever read_plain_head() accepts, connection.Connection's other way, through checks.py and h11,
accepts as well and reads as an equal Head; tests/http/differential.py holds both against each other. So it may
refuse at will (None: not mine), and never says that a head is wrong: that is decided in one place, the other way.

Plain is: a known method, a target in origin-form, HTTP/1.1; fields of visible ASCII, each name once, no white space
before a line end; one Host of the everyday kind; no Transfer-Encoding, Expect or Upgrade; a Content-Length of digits,
if any; no option in Connection but keep-alive. Every expression runs in linear time: what repeats does not backtrack.
"""

from __future__ import annotations

import re

from .checks import MAX_LENGTH_DIGITS, TOKEN
from .messages import Head

_METHODS = {b"GET": "GET", b"POST": "POST", b"HEAD": "HEAD", b"DELETE": "DELETE"}
_LINE = re.compile(rb"([A-Z]{3,6}) (/[!\"$-~]*+) HTTP/1\.1(?=\r\n)")
# One field line with the line end before it. Only where one line follows the other are there as many as line ends.
_FIELD = re.compile(rb"\r\n(" + TOKEN + rb"++):[ \t]*+([\t -~]*+)(?<![ \t])(?=\r\n)")
_HOST = re.compile(rb"[0-9A-Za-z.\-]++(?::[0-9]{1,5})?")
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade"))


def read_plain_head(data: bytearray, size_bytes: int, max_target_bytes: int, max_header_bytes: int) -> Head | None:
    """The head that makes up the first `size_bytes` of `data`, blank line included; None if it is not plain."""
    line = _LINE.match(data)
    if line is None:
        return None
    end = line.end()
    method = _METHODS.get(line[1])
    target: bytes = line[2]
    if method is None or len(target) > max_target_bytes or size_bytes - end - 4 > max_header_bytes:
        return None
    found = _FIELD.findall(data, end, size_bytes)
    if len(found) != data.count(b"\r\n", end, size_bytes) - 2:
        return None
    headers = tuple([(name.lower(), value) for name, value in found])
    fields = dict(headers)
    if len(fields) != len(headers) or not fields.keys().isdisjoint(_UNUSUAL):
        return None
    host = fields.get(b"host")
    if host is None or _HOST.fullmatch(host) is None:
        return None
    option = fields.get(b"connection")
    if option is not None and option.lower() != b"keep-alive":
        return None
    length = fields.get(b"content-length")
    if length is None:
        return Head(method, target.decode("ascii"), headers, 0, bytes(data[:size_bytes]))
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
        return None
    return Head(method, target.decode("ascii"), headers, int(length), bytes(data[:size_bytes]))
