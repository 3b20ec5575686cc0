"""One HTTP/1.x connection without its socket: bytes in, events out, answers' bytes out (RFC 9110, RFC 9112).

Nothing here does I/O or reads a clock. plain.py reads the common head if it is here as a whole, h11 every other one:
a new h11.Connection for each message, fed that head and nothing else. A new one costs a twentieth of what it costs to
tell an old one about the answer, and it needs no knowledge of h11's insides: whatever was answered, by whichever way,
cannot bring its state machine out of step.

What plain h11 0.16 leaves open, and where it is closed. Every refusal ends the connection.

    gap                                                RFC                  answer    where
    Content-Length together with Transfer-Encoding     9112 6.1, 6.3        400       connection
    Transfer-Encoding in HTTP/1.0                      9112 6.1             400       connection
    chunked twice or not last (h11: 501)               9112 6.1, 6.3        400       checks.transfer_coding_error
    a repeated or listed Content-Length                9110 8.6             400       checks.check_length_fields
    an announced length without bound                  9110 15.5.14         413       connection.admit_body
    a Host that is no host; none in HTTP/1.2 to 1.9    9112 3.2             400       checks.check_host, connection
    absolute-form targets                              9112 3.2.2           accepted  checks.origin_form
    authority-form, stray asterisks, a fragment        9112 3.2             400       checks.origin_form
    unknown methods and CONNECT                        9110 9.1             501       checks.read_request_line
    versions 0.9, 2.0 and the like                     9110 15.6.6          505       checks.read_request_line
    a target over its limit (h11: 431 for all)         9110 15.5.15         414       checks.read_request_line
    a header over its limit though it came at once     6585 5               431       checks.find_section_end
    empty lines before a request                       9112 2.2             accepted  connection, bounded
    a bare LF or CR as a line end                      9112 2.2             400       checks.find_section_end
    obs-fold                                           9112 5.2             400       checks.find_section_end
    control characters in values                       9110 5.5             400       checks.find_section_end
    chunk sizes, extensions, trailers without bound    9112 7.1.1           413, 431  body.ChunkedReader
    bare LF and CR in chunk lines and trailers         9112 7.1             400       body.ChunkedReader
    100 Continue before limits are known               9110 10.1.1          -         connection.wants_continue
    keep-alive in HTTP/1.0 (h11: closes)               9112 9.3             accepted  connection
"""

from __future__ import annotations

import enum

import h11

from ..errors import BadRequest, HttpError, TooLarge
from .body import BodyReader, ChunkedReader, LengthReader
from .checks import (
    check_host,
    check_length_fields,
    find_section_end,
    origin_form,
    read_request_line,
    transfer_coding_error,
)
from .lifecycle import State
from .messages import Head, Headers, Response
from .plain import read_plain_head
from .writer import CONTINUE, response_bytes

MAX_EMPTY_LINES = 8
MAX_DISCARDED_BYTES = 65_536
"""A body of up to this length is read and dropped after an early refusal, so that the connection can stay open."""
MAX_REPEATED_BYTES = 2_048
"""A plain head of up to this length is kept, so that the next one is not read again if it is the same, byte for byte.

Load balancers and pollers send the same head time and again. It may hold a key: it is kept on its own connection only.
"""


class Signal(enum.Enum):
    """The events that carry nothing."""

    END = "the request is complete, an answer is owed"
    NEED_DATA = "nothing more can be read without receive_data() or receive_eof()"
    PAUSED = "an answer or admit_body() is owed before anything more is read"
    CLOSED = "the client will send no more, or nothing more will be read"


ConnectionEvent = Head | bytes | Signal


# Python 3.11 finds a member of an Enum by a function call, five times as slowly as a global name.
_NEED_DATA = Signal.NEED_DATA
_HEAD, _ADMISSION, _BODY, _ANSWER, _DISCARD, _FAILED, _CLOSED = State


class Connection:
    """The server's side of one connection; one request at a time, the rest waits in the buffer.

    Feed it with receive_data() and receive_eof(), then call next_event() until it gives a Signal other than END:

        Head            call admit_body(limit) to read on, or send_response() to refuse it unread
        bytes           a part of the body, never empty
        Signal.END      call send_response(), now or later

    whole_body() right behind admit_body() takes the place of the last two where the body is here already.
    next_event() and admit_body() raise HttpError; then only send_response() can follow.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_empty_lines",
        "_expects_continue",
        "_is_eof",
        "_is_head_method",
        "_is_keep_alive",
        "_line",
        "_max_header_bytes",
        "_max_target_bytes",
        "_minor",
        "_reads_plain",
        "_repeated",
        "_repeated_head",
        "_scanned",
        "_wants_chunked",
        "is_read_out",
        "state",
    )

    def __init__(self, *, max_target_bytes: int, max_header_bytes: int, reads_plain: bool = True) -> None:
        """`reads_plain`: False lets h11 read every head, to compare with."""
        self._max_target_bytes = max_target_bytes
        self._max_header_bytes = max_header_bytes
        self._buffer = bytearray()
        self._is_eof = False
        self._reads_plain = reads_plain
        self._repeated = b""
        self._repeated_head: Head | None = None
        self.state = _HEAD
        self.is_read_out = False
        """Once CLOSED by an answer: whether the request was read to its end and nothing came behind it."""
        self._begin()

    def _begin(self) -> None:
        self._line: tuple[bytes, bytes, bytes, int] | None = None
        self._scanned = 0
        self._empty_lines = 0
        self._is_head_method = False
        self._minor = b"1"
        self._is_keep_alive = False
        self._expects_continue = False
        self._wants_chunked = False
        self._body: BodyReader | None = None

    # Bytes in

    def receive_data(self, data: bytes) -> None:
        """Adds what the client sent."""
        if self.state is not _CLOSED:
            self._buffer += data

    def receive_eof(self) -> None:
        """The client shut its writing side. What it sent before is still read and answered."""
        self._is_eof = True

    def take_part(self, size: int) -> bool:
        """Whether `size` bytes that have just come are a part of the body, and not its end: then they count as read.

        They need not go through receive_data(), which would copy them.
        """
        body = self._body
        if self.state is not _BODY or self._buffer or type(body) is not LengthReader:
            return False
        return body.take_part(size)

    def repeated_head(self, data: bytes) -> Head | None:
        """The last request's head, if `data` is the next request as a whole and begins with that head, byte for byte.

        Nothing is changed by asking. take_repeated() then takes the place of receive_data() and all up to the body.
        """
        head = self._repeated_head
        if head is None or self.state is not _HEAD or self._buffer or self._is_eof or self._empty_lines:
            return None
        if len(data) - len(self._repeated) != head.content_length or not data.startswith(self._repeated):
            return None
        return head

    def take_repeated(self, head: Head, data: bytes) -> bytes:
        """The body of the request that repeated_head() found in `data`; an answer is owed."""
        self._is_head_method = head.method == "HEAD"
        self._is_keep_alive = True
        self.state = _ANSWER
        return data[len(self._repeated) :]

    @property
    def buffered_bytes(self) -> int:
        """How much was received and not read yet."""
        return len(self._buffer)

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a next request has come."""
        return self.state is _HEAD and not self._buffer and not self._empty_lines

    @property
    def is_reading_body(self) -> bool:
        """Whether more of a body is awaited, be it to drop it."""
        return self.state is _BODY or self.state is _DISCARD

    @property
    def wants_continue(self) -> bool:
        """Whether the client waits for 100 Continue: asked for (not in 1.0), body admitted, none of it here."""
        return self._expects_continue and self.state is _BODY and not self._buffer and not self._is_eof

    # Events out

    def next_event(self) -> ConnectionEvent:
        """The next event. Raises HttpError when the bytes are not a request that can be served."""
        try:
            if self.state is _HEAD:
                return self._next_head()
            if self.state is _BODY or self.state is _DISCARD:
                return self._next_body()
        except HttpError:
            self.state = _FAILED
            raise
        return Signal.CLOSED if self.state is _CLOSED else Signal.PAUSED

    def admit_body(self, max_body_bytes: int) -> None:
        """Lets the body be read, up to `max_body_bytes`. Raises TooLarge if more is announced."""
        body = self._body
        if self._wants_chunked:
            self._body = ChunkedReader(max_body_bytes, self._max_header_bytes)
        elif isinstance(body, LengthReader) and body.remaining_bytes > max_body_bytes:
            raise TooLarge(f"the body is larger than {max_body_bytes} bytes")
        self.state = _BODY

    def whole_body(self) -> bytes | None:
        """The body that was just admitted, if its length was announced and all of it is here; then an answer is owed.

        None: next_event() goes on, as it does if this is never called.
        """
        body = self._body
        if type(body) is not LengthReader or self.state is not _BODY or self._expects_continue:
            return None
        if body.is_complete:
            part = b""
        elif body.remaining_bytes <= len(self._buffer):
            part = body.read(self._buffer)
        else:
            return None
        self.state = _ANSWER
        return part

    def _next_head(self) -> ConnectionEvent:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            # RFC 9112, 2.2: at least one empty line before a request should be ignored.
            self._empty_lines += 1
            if self._empty_lines > MAX_EMPTY_LINES:
                raise BadRequest("too many empty lines before a request")
            del buffer[:2]
        if not buffer or buffer == b"\r":
            return self._missing()
        line = self._line
        if line is None:
            if self._reads_plain:
                plain = self._take_plain_head()
                if plain is not None:
                    return plain
            line = read_request_line(buffer, self._max_target_bytes)
            if line is None:
                return self._missing()
            self._line = line
            self._is_head_method = line[0] == b"HEAD"
            self._minor = line[2]
        end, self._scanned = find_section_end(buffer, line[3], self._scanned, self._max_header_bytes)
        if not end:
            return self._missing()
        head = bytes(buffer[:end])
        del buffer[:end]
        return self._accept(line, head)

    def _take_plain_head(self) -> Head | None:
        """The next head, set up as by _accept(); None, and nothing is changed, unless it is whole and plain."""
        buffer = self._buffer
        head = self._repeated_head
        if head is not None and buffer.startswith(self._repeated):
            size = len(self._repeated)
        else:
            size = buffer.find(b"\r\n\r\n") + 4
            if size < 4:
                return None
            head = read_plain_head(buffer, size, self._max_target_bytes, self._max_header_bytes)
            if head is None:
                return None
            if size <= MAX_REPEATED_BYTES:
                assert head.raw is not None
                self._repeated = head.raw
                self._repeated_head = head
        del buffer[:size]
        length = head.content_length
        assert length is not None
        self._is_head_method = head.method == "HEAD"
        self._is_keep_alive = True
        self._body = LengthReader(length)
        self.state = _ADMISSION
        return head

    def _missing(self) -> Signal:
        if not self._is_eof:
            return _NEED_DATA
        if self._buffer:
            raise BadRequest("the connection ended within a request's head")
        self.state = _CLOSED
        return Signal.CLOSED

    def _accept(self, line: tuple[bytes, bytes, bytes, int], head: bytes) -> Head:
        """Reads a whole head with h11 and sets up what follows from it: body framing and keep-alive."""
        method, target, minor, _ = line
        target, authority = origin_form(method, target)
        check_length_fields(head)
        headers = _read_fields(head)
        length: int | None = None
        host: bytes | None = None
        options = b""
        for name, value in headers:
            if name == b"host":
                host = value
            elif name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                self._wants_chunked = True
            elif name == b"connection":
                options += b"," + value.lower()
            elif name == b"expect":
                # RFC 9110, 10.1.1: ignored in HTTP/1.0. Other expectations have no status of ours and are ignored.
                self._expects_continue |= minor == b"1" and value.lower() == b"100-continue"
        if host is not None:
            check_host(host)
        elif minor == b"1":
            raise BadRequest("Host is missing")
        if self._wants_chunked:
            if length is not None:
                raise BadRequest("Content-Length and Transfer-Encoding exclude each other")
            if minor == b"0":
                raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
        else:
            length = length or 0
            self._body = LengthReader(length)
        if authority is not None:
            # RFC 9112, 3.2.2: the host in the target replaces what Host says.
            headers = tuple((name, authority if name == b"host" else value) for name, value in headers)
        self._is_keep_alive = _is_keep_alive(options, minor)
        self.state = _ADMISSION
        return Head(method.decode("ascii"), target.decode("ascii"), headers, length, head)

    def _next_body(self) -> ConnectionEvent:
        body = self._body
        assert body is not None
        if not body.is_complete:
            part = body.read(self._buffer)
            if part and self.state is _BODY:
                return part
        if not body.is_complete:
            if not self._is_eof:
                return Signal.NEED_DATA
            if self.state is _DISCARD:
                self.state = _CLOSED
                return Signal.CLOSED
            raise BadRequest("the connection ended within a request's body")
        if self.state is _DISCARD:
            self._begin()
            self.state = _HEAD
            return self._next_head()
        self.state = _ANSWER
        return Signal.END

    # Bytes out

    def send_continue(self) -> bytes:
        """100 Continue, to be sent where `wants_continue` says so; at most once a request."""
        self._expects_continue = False
        return CONTINUE

    def send_response(self, response: Response, *, date: bytes = b"", close: bool = False) -> bytes:
        """The answer to the current request, or to the error that was raised; afterwards the next one can be read.

        `date`: the Date field's value. `close` ends the connection after it, as do an error, `response.close`, the
        client's wish and a body that is left unread. Raises ValueError for an answer that cannot be written; after
        any exception another one may be sent in its place.
        """
        if self.state is _ANSWER and self._is_keep_alive and self._minor == b"1" and not close and not response.close:
            # The common case: nothing to be said of the connection.
            data = response_bytes(response, date=date, connection=b"", is_head=self._is_head_method)
            self._begin()
            self.state = _HEAD
            return data
        after = self._state_after(close or response.close)
        is_over = after is _CLOSED
        # RFC 9112, 9.6 and 9.3: close is said aloud, and so is keep-alive where it is not the default.
        option = b"close" if is_over else b"" if self._minor == b"1" else b"keep-alive"
        data = response_bytes(response, date=date, connection=option, is_head=self._is_head_method)
        if is_over:
            self.is_read_out = self._is_request_over() and not self._buffer
        elif after is _HEAD:
            self._begin()
        self.state = after
        return data

    def _state_after(self, close: bool) -> State:
        state = self.state
        if close or not self._is_keep_alive:
            return _CLOSED
        if self._is_request_over():
            return _HEAD
        if state is not _ADMISSION and state is not _BODY:
            return _CLOSED
        body = self._body
        # A client that waits for 100 Continue sends its body or does not: no telling where the next request is.
        if (
            isinstance(body, LengthReader)
            and body.remaining_bytes <= MAX_DISCARDED_BYTES
            and not self._expects_continue
        ):
            return _DISCARD
        return _CLOSED

    def _is_request_over(self) -> bool:
        state = self.state
        if state is _ADMISSION or state is _BODY:
            return self._body is not None and self._body.is_complete
        return state is _ANSWER


def _read_fields(head: bytes) -> Headers:
    """The fields of a whole head, read by h11. Raises BadRequest or NotImplementedByServer."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    reader.receive_data(head)
    try:
        request = reader.next_event()
    except h11.RemoteProtocolError as error:
        if error.error_status_hint == 501:
            raise transfer_coding_error(head) from None
        # Behind its first colon h11's text repeats what was sent, which may be a key.
        what = str(error).partition(":")[0]
        raise BadRequest(f"the header cannot be read: {what}") from None
    assert type(request) is h11.Request
    return tuple([(name.lower(), value) for name, value in request.headers.raw_items()])


def _is_keep_alive(options: bytes, minor: bytes) -> bool:
    """RFC 9112, 9.3. `options`: what Connection lists, in lower case, a comma before each."""
    if not options:
        return minor == b"1"
    names = {name.strip() for name in options.split(b",")}
    return b"close" not in names and (minor == b"1" or b"keep-alive" in names)
