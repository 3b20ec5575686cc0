"""How a request's body is cut out of the byte stream: by its announced length, or by chunks (RFC 9112, 6 and 7.1).

Nothing here does I/O. h11's own chunk reader is not used: it tells neither a chunk's announced size nor its
extensions, so that both would have to be read a second time to be bounded, and it takes bare LFs in trailers.
tests/http compare what is read here with what h11 reads.
"""

from __future__ import annotations

import enum
import re
from typing import Protocol

from ..errors import BadRequest, TooLarge
from .checks import TOKEN, find_section_end

MAX_CHUNK_LINE_BYTES = 1024
MAX_EXTENSION_BYTES = 16_384  # of all chunks of one body together, white space included
MAX_SIZE_DIGITS = 15

_CHUNK_LINE_START = re.compile(rb"(?:[0-9A-Fa-f]+[ \t]*(?:;[\t -~\x80-\xff]*)?)?")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t -~\x80-\xff]*)?")
_TRAILERS = re.compile(rb"(?:" + TOKEN + rb"+:[^\r]*\r\n)*\r\n")


class BodyReader(Protocol):
    """Takes its bytes from the front of a buffer that it shares with the connection."""

    is_complete: bool

    def read(self, buffer: bytearray) -> bytes:
        """Takes the next part of the body out of `buffer`; b"" if more is needed or `is_complete` became true."""


class LengthReader:
    """A body of a known length."""

    __slots__ = ("is_complete", "remaining_bytes")

    def __init__(self, length_bytes: int) -> None:
        self.remaining_bytes = length_bytes
        self.is_complete = not length_bytes

    def take_part(self, size: int) -> bool:
        """Whether `size` bytes are a part of what is missing, and not its end: then they count as read."""
        if size >= self.remaining_bytes:
            return False
        self.remaining_bytes -= size
        return True

    def read(self, buffer: bytearray) -> bytes:
        """The next part of the body, as much as there is."""
        size = self.remaining_bytes
        if size < len(buffer):
            part = bytes(buffer[:size])
            del buffer[:size]
        else:
            part = bytes(buffer)  # a large part is copied once, where a slice would be copied again
            buffer.clear()
        self.remaining_bytes = size = size - len(part)
        self.is_complete = not size
        return part


class _Expecting(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILERS = enum.auto()


class ChunkedReader:
    """A chunked body of at most `max_body_bytes`; its trailers are checked, bounded and dropped.

    RFC 9110, 6.5.1 lets a recipient drop trailers; merging them into the header would let them pass our checks.
    """

    __slots__ = ("_expecting", "_extension_bytes", "_left", "_scanned", "is_complete", "max_body_bytes", "max_trailer")

    def __init__(self, max_body_bytes: int, max_trailer_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes  # what is left of it
        self.max_trailer = max_trailer_bytes
        self.is_complete = False
        self._expecting = _Expecting.SIZE
        self._left = 0
        self._extension_bytes = 0
        self._scanned = 0

    def read(self, buffer: bytearray) -> bytes:
        """What `buffer` holds of the body, its chunks joined. Raises BadRequest, TooLarge (413; 431 for trailers)."""
        parts = []
        while buffer:
            if self._expecting is _Expecting.DATA:
                part = bytes(buffer[: self._left])
                del buffer[: len(part)]
                parts.append(part)
                self._left -= len(part)
                if not self._left:
                    self._expecting = _Expecting.DATA_END
            elif self._expecting is _Expecting.TRAILERS:
                self._skip_trailers(buffer)
                break
            elif not (self._read_size(buffer) if self._expecting is _Expecting.SIZE else self._skip_data_end(buffer)):
                break
        return b"".join(parts)

    def _read_size(self, buffer: bytearray) -> bool:
        window = bytes(buffer[: MAX_CHUNK_LINE_BYTES + 2])
        end = window.find(b"\r\n")
        line = window[:end] if end >= 0 else window.removesuffix(b"\r")
        if not _CHUNK_LINE_START.fullmatch(line):
            raise BadRequest("a chunk's size is not a hexadecimal number")
        if end < 0:
            if len(window) > MAX_CHUNK_LINE_BYTES:
                raise TooLarge(f"a chunk's first line is longer than {MAX_CHUNK_LINE_BYTES} bytes")
            return False
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise BadRequest("a chunk has no size")
        digits = match[1].lstrip(b"0")
        size = int(digits or b"0", 16) if len(digits) <= MAX_SIZE_DIGITS else self.max_body_bytes + 1
        self._extension_bytes += len(line) - len(match[1])
        if size > self.max_body_bytes or self._extension_bytes > MAX_EXTENSION_BYTES:
            raise TooLarge("the body is over its limit")
        self.max_body_bytes -= size
        self._left = size
        if size:
            self._expecting = _Expecting.DATA
            del buffer[: end + 2]
        else:
            self._expecting = _Expecting.TRAILERS
            del buffer[:end]  # the line end stays: a section without trailers is that and one more
        return True

    def _skip_data_end(self, buffer: bytearray) -> bool:
        end = bytes(buffer[:2])
        if not b"\r\n".startswith(end):
            raise BadRequest("a chunk is longer than its size")
        if len(end) < 2:
            return False
        del buffer[:2]
        self._expecting = _Expecting.SIZE
        return True

    def _skip_trailers(self, buffer: bytearray) -> None:
        if len(buffer) <= 2:
            return
        end, self._scanned = find_section_end(buffer, 2, self._scanned, self.max_trailer)
        if end:
            if not _TRAILERS.fullmatch(bytes(buffer[2:end])):
                raise BadRequest("a trailer is not a field")
            del buffer[:end]
            self.is_complete = True
