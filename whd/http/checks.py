"""What RFC 9112 asks of a request's head and plain h11 does not check: functions of bytes that raise HttpError.

Nothing here does I/O. Every function that looks at bytes which are still arriving decides by position: the first byte
that is wrong settles the answer, so that a stream cut anywhere gets the same one.
"""

from __future__ import annotations

import re

from ..errors import BadRequest, HttpError, NotImplementedByServer, TooLarge, VersionNotSupported

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"))
MAX_METHOD_BYTES = 32
MAX_LENGTH_DIGITS = 18  # below 2^63; more digits than that are over any limit that can be set

_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TARGET_BYTES = bytes(range(0x21, 0x7F)).replace(b"#", b"")
_FIELD_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb"{1,32}) ([!\"$-~]+) HTTP/([0-9])\.([0-9])\r\n")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]\r\n")

# RFC 3986, 3.2.2 and 3.2.3: IP literal, IPv4 address or registered name, then a port; no user information.
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|\[v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+\]"
    rb"|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n")
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r]*)")


def read_request_line(data: bytearray, max_target_bytes: int) -> tuple[bytes, bytes, bytes, int] | None:
    """Method, target, minor version (b"0" or b"1") and the line's size with its CRLF; None: more is needed.

    `data` starts where the request starts. Raises BadRequest, TooLarge (414), VersionNotSupported or
    NotImplementedByServer as soon as no further byte could make the line a good one.
    """
    match = _REQUEST_LINE.match(data)
    if match is None:
        _refuse_start(bytes(data[: MAX_METHOD_BYTES + max_target_bytes + 12]), max_target_bytes)
        return None
    method, target, major, minor = match.groups()
    if len(target) > max_target_bytes:
        raise TooLarge(f"the target is longer than {max_target_bytes} bytes", status=414)
    # The version comes first: the preface of HTTP/2 ("PRI * HTTP/2.0") must not be taken for an unknown method.
    if major != b"1":
        raise VersionNotSupported("this server speaks HTTP/1.1 and HTTP/1.0")
    if method not in METHODS:
        raise NotImplementedByServer("this method is not known here")
    # RFC 9110, 2.5: a higher minor version is processed as the highest one that the recipient knows.
    return method, target, b"0" if minor == b"0" else b"1", match.end()


def _refuse_start(data: bytes, max_target_bytes: int) -> None:
    """Raises if `data`, no complete good request line, cannot be the start of one (RFC 9112, 3)."""
    start = data[: MAX_METHOD_BYTES + 1]
    method, space, _ = start.partition(b" ")
    if method.translate(None, _TOKEN_BYTES) or (space and not method):
        raise BadRequest("the request does not start with a method")
    if not space:
        if len(start) > MAX_METHOD_BYTES:
            # RFC 9112, 3: a method longer than any that the server implements.
            raise NotImplementedByServer("this method is not known here")
        return
    target, space, version = data[len(method) + 1 :].partition(b" ")
    if target[: max_target_bytes + 1].translate(None, _TARGET_BYTES) or (space and not target):
        # A line break falls in here as well: "GET /" without a version is HTTP/0.9.
        raise BadRequest("the request line is not: method, target without white space, HTTP/1.1")
    if len(target) > max_target_bytes:
        raise TooLarge(f"the target is longer than {max_target_bytes} bytes", status=414)
    if len(version) >= 10 and not _VERSION.match(version):
        raise BadRequest("the request line does not end with HTTP/1.1 or HTTP/1.0")


def find_section_end(data: bytearray, start: int, scanned: int, max_bytes: int) -> tuple[int, int]:
    """Looks for the blank line that ends the header (or trailer) section which starts at `start`, after a CRLF.

    `scanned` is 0 at first, then what the last call returned, so that each byte is looked at once. Returns where the
    section ends (behind the blank line, 0 while it is not here) and the new `scanned`. `max_bytes` bounds the field
    lines with their line ends. Raises TooLarge (431), BadRequest for obs-fold (RFC 9112, 5.2), a bare CR or LF (2.2)
    and control characters (RFC 9110, 5.5).
    """
    if scanned:
        # Two bytes of context for obs-fold, three where the first would otherwise be half of a line end.
        since = scanned - 2
        if data[since] == 0x0A:
            since -= 1
    else:
        since = start - 2
    found = data.find(b"\r\n\r\n", start - 2 if not scanned else max(start - 2, scanned - 3))
    end = found + 4 if found >= 0 else 0
    stop = end or len(data)
    window = min(stop, start + max_bytes + 3)
    if data[window - 1] == 0x0D:
        window -= 1  # its LF may still come
    piece = data[since:window]
    if piece.replace(b"\r\n", b"").translate(None, _FIELD_BYTES):
        raise BadRequest("the header has a control character or a bare CR or LF")
    if b"\r\n " in piece or b"\r\n\t" in piece:
        raise BadRequest("a header field is folded over lines")
    if stop - start > max_bytes + 2:
        raise TooLarge(f"the header is larger than {max_bytes} bytes", status=431)
    return end, window


def check_length_fields(head: bytes) -> None:
    """Refuses what h11 reads leniently in Content-Length. `head` is a whole head, unchanged.

    RFC 9110, 8.6 leaves the choice for a repeated Content-Length, equal or not, as a list or in lines of its own:
    refuse it or take one of them. Refusing is the one that no two parsers can read differently.
    Raises BadRequest, or TooLarge for more digits than any limit has.
    """
    lowered = head.lower()
    count = lowered.count(b"\r\ncontent-length:")
    if not count:
        return
    match = _CONTENT_LENGTH.search(lowered)
    if count > 1 or match is None:
        raise BadRequest("Content-Length is not one decimal number")
    if len(match[1].lstrip(b"0")) > MAX_LENGTH_DIGITS:
        raise TooLarge("the announced body is over every limit")
    if len(match[1]) > MAX_LENGTH_DIGITS + 2:
        raise BadRequest("Content-Length has too many digits")  # h11 would say so too


def transfer_coding_error(head: bytes) -> HttpError:
    """Why a head whose transfer codings h11 refused is refused: 501 for an unknown coding, 400 for chunked misused.

    RFC 9112, 6.1: an unknown coding is answered with 501; 6.3: chunked must be the last and stand there once.
    """
    values = b",".join(_TRANSFER_ENCODING.findall(head.lower()))
    codings = [coding.strip() for coding in values.split(b",") if coding.strip()]
    if b"chunked" in codings[:-1] or not codings or codings == [b"chunked"]:
        return BadRequest("Transfer-Encoding is not: chunked")
    return NotImplementedByServer("no transfer coding but chunked is known here")


def check_host(value: bytes) -> None:
    """Raises BadRequest unless `value` is a host with an optional port (RFC 9112, 3.2; RFC 9110, 7.2)."""
    if _HOST.fullmatch(value) is None:
        raise BadRequest("Host is not a host name with an optional port")


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """The target in origin-form, and the authority that an absolute-form named (RFC 9112, 3.2.2), else None.

    `OPTIONS *` keeps its asterisk (3.2.4). Raises BadRequest for everything else.
    """
    if target.startswith(b"/"):
        return target, None
    if target == b"*" and method == b"OPTIONS":
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise BadRequest("the target is neither a path nor an http URI")
    authority, rest = match.groups()
    # RFC 9110, 4.2.1 and 4.2.4: an http URI without a host, or with user information, is refused.
    if not authority or authority.startswith(b":"):
        raise BadRequest("the target's URI has no host")
    check_host(authority)
    return (rest if rest.startswith(b"/") else b"/" + rest), authority
