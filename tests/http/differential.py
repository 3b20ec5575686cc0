"""The fast path against h11: the same bytes, the same decisions of the application, and everything that can be seen.

`compare` runs one stream through two connections, one that reads plain heads itself and one that leaves every head to
h11, and gives the traces of both: events, errors, answers and, after each step, how the connection stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from whd.errors import HttpError
from whd.http.connection import Connection, Signal
from whd.http.lifecycle import State
from whd.http.messages import Head, Response
from whd.http.plain import read_plain_head

from .corpus import LIMITS, MAX_BODY_BYTES
from .driver import at_random, one_by_one
from .requests import any_stream

OK = Response(200, ((b"content-type", b"text/plain"),), b"ok")


@dataclass(frozen=True)
class Feed:
    """What a client sends: its pieces, whether it then shuts its writing side, and the application's dice."""

    pieces: tuple[bytes, ...]
    eof: bool
    seed: int


def make_feed(seed: int) -> Feed:
    """The feed that `seed` stands for: whole, in two, byte by byte or cut at random."""
    random = Random(seed)
    stream = any_stream(random)
    pieces: Sequence[bytes]
    match random.randrange(6):
        case 0 if len(stream) < 300:
            pieces = list(one_by_one(stream))
        case 1:
            pieces = at_random(stream, random)
        case 2:
            at = stream.find(b"\r\n\r\n") + 4  # a client that writes head and body apart
            pieces = [stream[:at], stream[at:]]
        case 3:
            at = random.randint(0, len(stream))
            pieces = [stream[:at], stream[at:]]
        case _:
            pieces = [stream]
    return Feed(tuple(pieces), random.random() < 0.3, seed)


def compare(feed: Feed) -> tuple[list[object], list[object]]:
    """What is seen with the fast path and what without it; they must be equal."""
    return trace(feed, reads_plain=True), trace(feed, reads_plain=False)


def is_plain(stream: bytes) -> bool:
    """Whether the fast path takes the first head of `stream`."""
    size = stream.find(b"\r\n\r\n") + 4
    return size >= 4 and read_plain_head(bytearray(stream), size, **LIMITS) is not None


def trace(feed: Feed, *, reads_plain: bool) -> list[object]:
    """Everything that can be seen of a connection that is fed and answered."""
    tracer = _Tracer(feed.seed, reads_plain)
    for piece in feed.pieces:
        tracer.connection.receive_data(piece)
        tracer.pump()
    if feed.eof:
        tracer.connection.receive_eof()
        tracer.pump()
    return tracer.seen


class _Tracer:
    """An application that admits, refuses and closes by the dice, the same for the same seed."""

    def __init__(self, seed: int, reads_plain: bool) -> None:
        self.connection = Connection(**LIMITS, reads_plain=reads_plain)
        self.seen: list[object] = []
        self._dice = Random(seed)

    def pump(self) -> None:
        connection = self.connection
        for _ in range(3 * connection.buffered_bytes + 10):
            try:
                event = connection.next_event()
                self._see(event)
                if type(event) is Head:
                    self._admit()
                elif event is Signal.END:
                    self._answer(OK)
                elif not isinstance(event, bytes):
                    return
            except HttpError as error:
                self._see((type(error), error.status, error.code, error.detail, error.log_detail))
                self._answer(Response(error.status, ()))
        raise AssertionError("the connection goes round in circles")

    def _admit(self) -> None:
        connection = self.connection
        if self._dice.random() < 0.1:
            self._answer(OK)
            return
        connection.admit_body(self._dice.choice((MAX_BODY_BYTES, MAX_BODY_BYTES, 10)))
        self._see("admitted")
        if self._dice.random() < 0.5:
            body = connection.whole_body()
            self._see(body)
            if body is not None:
                self._answer(OK)
        elif connection.wants_continue and self._dice.random() < 0.5:
            self._see(connection.send_continue())

    def _answer(self, response: Response) -> None:
        self._see(self.connection.send_response(response, close=self._dice.random() < 0.05))

    def _see(self, what: object) -> None:
        connection = self.connection
        self.seen.append((
            what,
            connection.state,
            bytes(connection._buffer),
            connection.is_idle,
            connection.is_reading_body,
            connection.wants_continue,
            connection.is_read_out if connection.state is State.CLOSED else None,
        ))  # fmt: skip
