"""Drives a Connection as the server does, without any I/O, and writes down what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from whd.errors import HttpError
from whd.http.connection import Connection, Signal
from whd.http.lifecycle import State
from whd.http.messages import Head, Response

from .corpus import LIMITS, MAX_BODY_BYTES

OK = Response(200, ((b"content-type", b"text/plain"),), b"ok")


class Driver:
    """Answers every request with 200 and every error with its status; `outcome` is as in corpus."""

    def __init__(self) -> None:
        self.connection = Connection(**LIMITS)
        self.outcome: list[str] = []
        self.heads: list[Head] = []
        self.answers: list[bytes] = []
        self.error: HttpError | None = None
        self._body = b""

    def feed(self, pieces: Iterable[bytes], *, eof: bool) -> tuple[str, ...]:
        for number, piece in enumerate(pieces):
            # Either way of handing over a part of a body, in turn: both may be used within one body.
            if number % 2 and self.connection.take_part(len(piece)):
                self._body += piece
                continue
            self.connection.receive_data(piece)
            self._pump()
        if eof:
            self.connection.receive_eof()
            self._pump()
        if self.connection.state is not State.CLOSED:
            self.outcome.append("open")
        elif self.error is None:
            self.outcome.append("closed")
        return tuple(self.outcome)

    def _pump(self) -> None:
        connection = self.connection
        # Every event takes a byte out of the buffer or changes the state: no more rounds than that can be needed.
        for _ in range(3 * connection.buffered_bytes + 10):
            try:
                event = connection.next_event()
                if type(event) is bytes:
                    assert event
                    self._body += event
                elif type(event) is Head:
                    self.heads.append(event)
                    connection.admit_body(MAX_BODY_BYTES)
                elif event is Signal.END:
                    head, body = self.heads[-1], self._body.decode("latin-1")
                    self._body = b""
                    self.outcome.append(f"{head.method} {head.target} {body}")
                    self.answers.append(connection.send_response(OK))
                else:
                    return
            except HttpError as error:
                self.error = error
                self.outcome.append(str(error.status))
                self.answers.append(connection.send_response(Response(error.status, ()), close=True))
        raise AssertionError("the connection goes round in circles")


def outcome_of(pieces: Iterable[bytes], *, eof: bool = False) -> tuple[str, ...]:
    return Driver().feed(pieces, eof=eof)


def one_by_one(stream: bytes) -> Iterator[bytes]:
    return (stream[at : at + 1] for at in range(len(stream)))


def at_random(stream: bytes, random: Random) -> list[bytes]:
    """`stream` in pieces of 1 to some bytes; small ones are likelier, since the edges are where they are short."""
    pieces = []
    while stream:
        size = min(len(stream), 1 + int(random.expovariate(0.1)))
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces
