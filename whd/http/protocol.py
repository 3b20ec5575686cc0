"""One client's connection on the event loop: the transport around connection.Connection, its time-outs and its end.

The hot path is plain callbacks: no task, no future, no timer of its own (deadline.py says how).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import cast

from ..errors import HttpError, Overloaded, RequestTimeout
from .connection import Connection, Signal
from .deadline import Deadline
from .lifecycle import Phase, State
from .listeners import PUBLIC
from .messages import LARGE_BODY_BYTES, Admission, Body, Head, ObserveAnswer, Response
from .resources import ServerResources

PIPELINED_BYTES = 65_536
"""Beyond this much of further requests, reading pauses until the current one is answered."""
RATE_BYTES_PER_S = 65_536
"""The least rate of a body: each 64 KiB received give it one more second (as Apache's mod_reqtimeout MinRate)."""

PART_BYTES = 65_536
"""What is shorter is joined with what comes next: a list of two-byte chunks would hold twenty times what is counted."""

STALL_BYTES = 65_536
"""A client that takes less than this of its answer in idle_timeout_s is cut."""

LINGER_S = 30.0
LINGER_SILENCE_S = 2.0
LINGER_BYTES = 268_435_456
"""How long, how long without a byte, and for how much a client that was refused may go on sending."""

LOG = logging.getLogger("whd.http")


# As in connection.py: a global name is found faster than a member of an Enum.
_FRESH, _IDLE, _HEAD, _BODY, _ANSWER, _BLOCKED, _FLUSH, _LINGER, _LOST = Phase
_CLOSED = State.CLOSED
_NEED_DATA = Signal.NEED_DATA
_NEVER = math.inf


class ClientProtocol(asyncio.Protocol):
    """Feeds one Connection, runs the application and ends the connection in one of the ways above."""

    __slots__ = (
        "_admission",
        "_application",
        "_began_at",
        "_body_bytes",
        "_cancel",
        "_connection",
        "_deadline",
        "_head",
        "_is_blocked",
        "_is_eof",
        "_is_pumping",
        "_is_reading",
        "_is_refused",
        "_linger_bytes",
        "_linger_until",
        "_parts",
        "_phase",
        "_serial",
        "_services",
        "_transport",
        "_unsent_bytes",
        "listener",
    )

    def __init__(self, services: ServerResources, listener: str = PUBLIC, *, is_refused: bool = False) -> None:
        """`listener`: the name of the one that accepted it. `is_refused`: one too many; it gets a 503 and ends."""
        options = services.get_options()
        self.listener = listener
        self._services = services
        self._application = services.application_of(listener)
        self._is_refused = is_refused
        self._connection = Connection(
            max_target_bytes=options.max_target_bytes, max_header_bytes=options.max_header_bytes
        )
        self._transport: asyncio.Transport
        self._phase = _FRESH
        self._serial = 0  # of the request that is read or answered
        self._head: Head | None = None
        self._began_at = math.nan  # when that was read, if answers are observed; NaN between requests
        self._admission: Admission | None = None
        self._parts: list[bytes | bytearray] = []  # of a body that has not come at once
        self._body_bytes = 0  # taken from the budget
        self._cancel: Callable[[], None] | None = None
        self._is_blocked = False
        self._is_eof = False
        self._is_pumping = False
        self._is_reading = True
        self._linger_bytes = 0
        self._linger_until = math.inf
        self._unsent_bytes = 0
        self._deadline = Deadline(services.loop, self._expire)

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent
        services = self._services
        services.opening.discard(self)
        services.connections.add(self)
        self._deadline.set_s(services.get_options().header_timeout_s)
        if self._is_refused:
            self._refuse(Overloaded("too many connections"))
        self._settle()

    def data_received(self, data: bytes) -> None:
        """Reads on, or keeps the bytes while an answer is owed."""
        if self._phase is _IDLE and self._take_repeated(data):
            return
        if self._phase is _LINGER:
            self._linger(len(data))
            return
        if self._phase is _BODY and self._connection.take_part(len(data)):
            self._keep(data)
            self._settle()
            return
        self._connection.receive_data(data)
        self._pump()

    def eof_received(self) -> bool:
        """The client shut its writing side; it still gets the answers that it is owed. Returns True: stay open."""
        self._is_eof = True
        if self._phase is _LINGER:
            self._transport.close()
        else:
            self._connection.receive_eof()
            self._pump()
        return True

    def pause_writing(self) -> None:
        """The client reads too slowly: no further request is begun."""
        self._is_blocked = True

    def resume_writing(self) -> None:
        """The client caught up."""
        self._is_blocked = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of everything and tells the application, if it still works for this client."""
        services = self._services
        is_answer_owed = self._phase is _ANSWER
        self._phase = _LOST
        self._deadline.cancel()
        self._drop_body()
        cancel, self._cancel = self._cancel, None
        if is_answer_owed and cancel is not None:
            try:
                cancel()
            except Exception:
                LOG.exception("cancelling a request failed: %s", self._describe())
        services.connections.discard(self)
        services.when_lost()

    # What the server calls

    def drain(self) -> None:
        """Ends an idle connection; one with a request ends with its answer (`Services.is_draining` is set)."""
        if self._phase is _FRESH or self._phase is _IDLE:
            self._end(is_read_out=True)

    def abort(self) -> None:
        """Ends it now, whatever is owed."""
        self._transport.abort()

    # One request after the other

    def _pump(self) -> None:
        """Reads events until something must come from the client, the application or the transport first."""
        if self._is_pumping:
            return
        self._is_pumping = True
        connection = self._connection
        try:
            while not self._is_blocked and self._is_open():
                event = connection.next_event()
                if event is _NEED_DATA:
                    break
                if type(event) is Head:
                    self._admit(event)
                elif type(event) is bytes:
                    self._keep(event)
                elif event is Signal.END:
                    self._handle_kept()
                elif event is Signal.CLOSED:
                    self._end(is_read_out=True)
                else:
                    break
        except HttpError as error:
            self._refuse(error)
        finally:
            self._is_pumping = False
        self._settle()

    def _is_open(self) -> bool:
        phase = self._phase
        return phase is not _ANSWER and phase is not _LOST and phase is not _FLUSH and phase is not _LINGER

    def _admit(self, head: Head) -> None:
        self._serial += 1
        self._head = head
        connection = self._connection
        services = self._services
        if services.observe_answer is not None:
            self._began_at = services.loop.time()
        try:
            admission = self._application.admit(head)
            connection.admit_body(admission.max_body_bytes)
            if head.content_length and head.content_length > services.budget.free_bytes:
                raise Overloaded("too many requests are being read")
        except HttpError as error:
            self._refuse(error)
        except Exception:
            self._fail()
        else:
            # All here at once: handed on before anything else can come, it is never counted as held.
            body = connection.whole_body()
            if body is not None:
                if admission.observe is None or not body or self._show(admission.observe, body):
                    self._handle(admission, body)
                return
            self._admission = admission
            if connection.wants_continue:
                self._transport.write(connection.send_continue())

    def _take_repeated(self, data: bytes) -> bool:
        """Handles a request that is all of `data` and has the last one's head; False, and nothing is done, for others.

        The short way to where _pump() and _admit() lead for the most common request on a busy connection.
        """
        connection = self._connection
        head = connection.repeated_head(data)
        if head is None or self._is_blocked:
            return False
        admission = self._application.readmit(head)
        if admission is None or len(data) > admission.max_body_bytes or admission.observe is not None:
            return False
        self._serial += 1
        self._head = head
        if self._services.observe_answer is not None:
            self._began_at = self._services.loop.time()
        self._deadline.at = _NEVER
        self._handle(admission, connection.take_repeated(head, data))
        if self._phase is not _ANSWER:
            self._pump()
        return True

    def _keep(self, part: bytes) -> None:
        size = len(part)
        if not self._services.budget.take(size):
            self._refuse(Overloaded("too many requests are being read"))
            return
        admission = self._admission
        if admission is not None and admission.observe is not None and not self._show(admission.observe, part):
            self._services.budget.give(size)
            return
        # No growing buffer for all: the allocator moves one of megabytes, and the loop waits for each move.
        parts = self._parts
        if not parts or len(parts[-1]) >= PART_BYTES:
            parts.append(part)
        else:
            last = parts[-1]
            if type(last) is bytes:
                last = parts[-1] = bytearray(last)
            last += part
        self._body_bytes += size
        if self._phase is _BODY:
            self._deadline.at += size / RATE_BYTES_PER_S

    def _show(self, observe: Callable[[bytes], object], part: bytes) -> bool:
        """Lets the application see a part of the body; False if it refused the request, which is answered then."""
        try:
            observe(part)
            return True
        except HttpError as error:
            self._refuse(error)
        except Exception:
            self._fail()
        return False

    def _drop_body(self) -> None:
        self._parts = []
        self._services.budget.give(self._body_bytes)
        self._body_bytes = 0

    def _handle_kept(self) -> None:
        body: Body = self._parts
        if self._body_bytes < LARGE_BODY_BYTES:
            body = b"".join(self._parts)
        # Given back first, so that the application can count what it keeps of it.
        self._drop_body()
        admission, self._admission = self._admission, None
        assert admission is not None
        self._handle(admission, body)

    def _handle(self, admission: Admission, body: Body) -> None:
        self._phase = _ANSWER
        serial = self._serial
        try:
            cancel = self._application.handle(admission, body, partial(self._respond, serial))
        except HttpError as error:
            if self._is_owed(serial):
                self._refuse(error)
        except Exception:
            if self._is_owed(serial):
                self._fail()
            else:
                LOG.exception("the application failed after its answer: %s", self._describe())
        else:
            if self._is_owed(serial):
                self._cancel = cancel

    def _is_owed(self, serial: int) -> bool:
        return self._phase is _ANSWER and self._serial == serial

    def _respond(self, serial: int, response: Response) -> None:
        if not self._is_owed(serial):
            if self._phase is not _LOST:
                LOG.error("a request was answered twice: %s", self._describe())
            return
        self._cancel = None
        self._answer(response)
        if (
            self._phase is _IDLE
            and self._is_reading
            and self._connection.is_idle
            and not (self._is_blocked or self._is_eof or self._services.is_draining)
        ):
            # Where _pump() and _settle() lead when nothing more is here.
            self._deadline.set_s(self._services.get_options().idle_timeout_s)
        else:
            self._pump()

    # Answers

    def _refuse(self, error: HttpError, *, close: bool = False) -> None:
        self._drop_body()
        try:
            response = self._application.problem(error)
        except Exception:
            LOG.exception("the application failed to word an error")
            response = Response(500, (), close=True)
        self._answer(response, close=close)

    def _fail(self) -> None:
        """Called while an exception of the application is handled."""
        LOG.exception("the application failed: %s", self._describe())
        self._refuse(HttpError("the server failed; its log says why"))

    def _answer(self, response: Response, *, close: bool = False) -> None:
        connection = self._connection
        services = self._services
        close = close or services.is_draining or self._is_refused
        date = services.get_date()
        try:
            data = connection.send_response(response, date=date, close=close)
        except Exception:
            LOG.exception("an answer cannot be written: %s", self._describe())
            response = Response(500, ())
            data = connection.send_response(response, date=date, close=True)
        self._phase = _IDLE
        self._transport.write(data)
        if services.observe_answer is not None:
            self._observe(services.observe_answer, response.status)
        if connection.state is _CLOSED:
            self._end(is_read_out=connection.is_read_out)

    def _observe(self, observe: ObserveAnswer, status: int) -> None:
        began_at, self._began_at = self._began_at, math.nan
        if math.isnan(began_at):
            observe(status, 0.0, None, self.listener)
        else:
            observe(status, self._services.loop.time() - began_at, self._head, self.listener)

    def _end(self, *, is_read_out: bool) -> None:
        """Closes once everything is sent; in two steps while the client may still be sending.

        RFC 9112, 9.6: closing with bytes unread, or coming, makes the kernel reset the connection, and the reset can
        overtake the answer. A daemon that stops does not wait for clients from which nothing is expected any more.
        """
        services = self._services
        transport = self._transport
        if self._is_eof or (is_read_out and services.is_draining):
            self._phase = _FLUSH
            transport.close()
        else:
            self._phase = _LINGER
            try:
                transport.write_eof()
            except OSError:
                transport.abort()  # the client is gone already
        self._linger_until = services.loop.time() + LINGER_S
        self._unsent_bytes = transport.get_write_buffer_size()
        self._deadline.set_s(services.get_options().idle_timeout_s if self._unsent_bytes else LINGER_SILENCE_S)

    def _linger(self, size: int) -> None:
        """Drops what still comes, within bounds."""
        self._linger_bytes += size
        if self._linger_bytes > LINGER_BYTES:
            self._transport.abort()
            return
        until = min(self._services.loop.time() + LINGER_SILENCE_S, self._linger_until)
        self._deadline.at = max(self._deadline.at, until)

    def _describe(self) -> str:
        """The request for the log; never its query, which may hold a key."""
        head = self._head
        return f"{head.method} {head.target.partition('?')[0]}" if head is not None else "no request yet"

    # Waiting

    def _settle(self) -> None:
        """Names what is waited for now, sets its deadline, and reads or stops reading."""
        before = self._phase
        if before is _ANSWER:
            self._deadline.at = _NEVER
            self._throttle()
            return
        if not self._is_open():
            if before is not _LOST:
                self._throttle()
            return
        phase = self._phase = self._awaited()
        if phase is _IDLE or phase is _FRESH:
            if self._services.is_draining:
                self._end(is_read_out=True)
                return
            if phase is _FRESH:
                return
        elif phase is before or (phase is _HEAD and before is _FRESH):
            self._throttle()
            return
        self._deadline.set_s(self._allowed_s(phase))
        self._throttle()

    def _awaited(self) -> Phase:
        connection = self._connection
        if self._is_blocked:
            return _BLOCKED
        if connection.is_reading_body:
            return _BODY
        if not connection.is_idle:
            return _HEAD
        return _FRESH if self._phase is _FRESH else _IDLE

    def _allowed_s(self, phase: Phase) -> float:
        options = self._services.get_options()
        if phase is _HEAD:
            return options.header_timeout_s
        if phase is _BODY:
            return options.body_timeout_s + self._body_bytes / RATE_BYTES_PER_S
        if phase is _BLOCKED:
            self._unsent_bytes = self._transport.get_write_buffer_size()
        return options.idle_timeout_s

    def _throttle(self) -> None:
        """Stops reading while enough waits for its turn. After the client's end there is nothing to stop."""
        if self._is_eof:
            return
        waits = self._phase is _ANSWER or self._phase is _BLOCKED
        is_reading = not waits or self._connection.buffered_bytes <= PIPELINED_BYTES
        if is_reading is not self._is_reading:
            self._is_reading = is_reading
            if is_reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _expire(self) -> None:
        phase = self._phase
        if phase is _HEAD:
            self._refuse(RequestTimeout("the header took too long"), close=True)
        elif phase is _BODY and self._connection.state is State.BODY:
            self._refuse(RequestTimeout("the body took too long"), close=True)
        elif phase is _FLUSH or phase is _LINGER or phase is _BLOCKED:
            self._cut_or_wait()
        else:
            self._transport.abort()

    def _cut_or_wait(self) -> None:
        """Ends a connection whose client neither reads nor closes."""
        unsent = self._transport.get_write_buffer_size()
        taken = self._unsent_bytes - unsent
        if not taken or (unsent and taken < STALL_BYTES):
            self._transport.abort()
            return
        self._unsent_bytes = unsent
        self._deadline.set_s(self._services.get_options().idle_timeout_s if unsent else LINGER_SILENCE_S)
