"""What the HTTP layer and the application hand each other: values that nobody changes, no behaviour.

Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, Protocol

from ..errors import HttpError
from ..model.caller_check import Headers as Headers  # of requests and answers alike
from ..valueclass import valueclass

# A request's whole body: in one piece or, from LARGE_BODY_BYTES on, perhaps the parts that it came in, in order.
Body = bytes | list[bytes | bytearray]
LARGE_BODY_BYTES = 262_144


@valueclass
class Head:
    """A request's head, already checked against RFC 9112 and the header limits.

    `target` is in origin-form, ASCII, as sent (absolute-form is reduced to it). Header names are in lower case, in
    order of arrival; values are stripped of surrounding white space. `content_length` is None for a chunked body and
    0 without a body.
    """

    method: str
    target: str
    headers: Headers
    content_length: int | None
    raw: bytes | None = field(default=None, compare=False, repr=False)
    """All of it as it came, if it is at hand."""
    memo: Any = field(default=None, compare=False, repr=False)
    """The application's own notes; a connection gives the same Head for the same bytes, so they can serve again."""


@valueclass
class Response:
    """An answer. `headers` without content-length, date and connection, which the connection adds.

    `body` is sent as it is; to HEAD its length is announced and nothing is sent. `close` ends the connection after it.
    `omits_length`: nobody knows what GET would have got, so HEAD gets no Content-Length (RFC 9110, 8.6).
    """

    status: int
    headers: Headers
    body: bytes = b""
    close: bool = False
    omits_length: bool = False


@valueclass
class Admission:
    """The application's yes to a head: what to read, and its own notes for later (`call`), not looked into here.

    `observe` sees the body's bytes as they come, after transfer coding and before content coding: each byte once, in
    order, before `handle`; no call for an empty body. So what is worked out over a large body, such as a signature,
    holds up the loop for one part at a time: what one read of the socket brought, with at most 64 KiB that waited. It
    may raise HttpError, which is answered as one of `handle` is.
    """

    max_body_bytes: int
    call: Any
    observe: Callable[[bytes], object] | None = None


Respond = Callable[[Response], None]


# What hears of each answer once it is sent: its status, how many seconds after its request's head was read, that head,
# and the name of the listener. 0.0 and None where no head could be read. It must not raise.
ObserveAnswer = Callable[[int, float, Head | None, str], None]


class Application(Protocol):
    """What the server serves. All of it runs on the event loop and returns at once."""

    def admit(self, head: Head) -> Admission:
        """Called when a head is complete and before its body is read. Raises HttpError to refuse it unread."""

    def readmit(self, head: Head) -> Admission | None:
        """What `admit` said of this very Head before, if it would say so again; None: ask it. Never raises."""

    def handle(self, admission: Admission, body: Body, respond: Respond) -> Callable[[], None] | None:
        """Called with the whole body; calls `respond` exactly once, now or later, on the loop.

        May raise HttpError instead. Returns what to call if the client goes away before the answer, or None.
        """

    def problem(self, error: HttpError) -> Response:
        """The answer to an error, the application's own or the connection's (RFC 9457)."""
