#!/usr/bin/env python3
"""Floors: how fast can the pieces of a webhook daemon be, each as lean as its class allows?

A floor is a small server on 127.0.0.1. It keeps no record, has no sandbox, no limits and no settings: what it costs,
every daemon that is built of the same pieces pays too. So whd's figures are given as a ratio to these.

    raw      uvloop alone: a fixed answer to each read, nothing parsed
    h11      h11 parses the request and writes the answer, which is fixed
    worker   h11 + one warm worker: a process forked at the start, spoken to over a socket pair
    fork     h11 + fork per call: a child for each request, which answers through a pipe

worker and fork do the job of bench/answers.py: JSON in, key check, greeting and total, JSON out. No floor is held
back: what is fixed is prepared, each hop is one read and one write, nothing is logged, the garbage collector is
frozen, and the pieces run with the same Python as the daemon.

The first line on standard output is the address; the floor ends when its standard input is closed, or by SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from struct import Struct
from typing import Any

import h11
import uvloop

KINDS = ("raw", "h11", "worker", "fork", "length")
KEY = "my-secret-api-key"

# Worker frames, both ways: length of what follows the head, and the number of the call (or, from fork, the status).
FRAME = Struct("<II")

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

FIXED_BODY = b'{"status":"ENDED_SUCCESS","pad":"%s"}' % (b"x" * 270)
FIXED_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(FIXED_BODY)),
]
FIXED_ANSWER = (
    b"HTTP/1.1 200 OK\r\n" + b"".join(b"%s: %s\r\n" % header for header in FIXED_HEADERS) + b"\r\n" + FIXED_BODY
)

REFUSED = b'401{"code":"invalid_key","status":401}'
BROKEN = b'400{"code":"bad_payload","status":400}'

Done = Callable[[bytes], None]


# The job ---------------------------------------------------------------------------------------------------------


def job(call: bytes) -> bytes:
    """What a worker does with one call: `call` is header lines, an empty line and the body; gives status and JSON."""
    head, _, body = call.partition(b"\n\n")
    try:
        data = json.loads(body)
        if data.pop("key", None) != KEY:
            return REFUSED
        output = {
            "greeting": "Hello " + data["name"],
            "total": sum(item["qty"] * item["price"] for item in data["items"]),
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return BROKEN
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\n"))
    record = {
        "status": "ENDED_SUCCESS",
        "input_value": {"headers": headers, "json": data},
        "output_value": output,
    }
    return b"200" + _encode(record).encode()


def call_of(request: h11.Request, body: bytes) -> bytes:
    """A request as `job` takes it. h11 has checked that no header holds a newline."""
    return b"\n".join([b"%s: %s" % header for header in request.headers]) + b"\n\n" + body


# One warm worker -------------------------------------------------------------------------------------------------


def worker_main(pair: socket.socket) -> None:
    """The worker's life: read calls, do them, write their answers; all that one read brought goes out in one write."""
    held = b""
    while True:
        data = pair.recv(262_144)
        if not data:
            return
        data = held + data
        size = len(data)
        position = 0
        answers = []
        while size - position >= 8:
            length, number = FRAME.unpack_from(data, position)
            end = position + 8 + length
            if end > size:
                break
            answer = job(data[position + 8 : end])
            answers.append(FRAME.pack(len(answer), number) + answer)
            position = end
        held = data[position:]
        if answers:
            pair.sendall(b"".join(answers))


class Worker(asyncio.Protocol):
    """The server's end of the socket pair. Answers may come in any order; the number finds the caller."""

    def __init__(self) -> None:
        self._held = b""
        self._waiting: dict[int, Done] = {}
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._write = transport.write  # type: ignore[attr-defined]

    def call(self, call: bytes, done: Done) -> None:
        """Hands `call` to the worker; `done` gets its answer."""
        number = self._number = (self._number + 1) & 0xFFFF_FFFF
        self._waiting[number] = done
        self._write(FRAME.pack(len(call), number) + call)

    def data_received(self, data: bytes) -> None:
        """asyncio: answers, whole or in parts."""
        if self._held:
            data = self._held + data
        size = len(data)
        position = 0
        while size - position >= 8:
            length, number = FRAME.unpack_from(data, position)
            end = position + 8 + length
            if end > size:
                break
            self._waiting.pop(number)(data[position + 8 : end])
            position = end
        self._held = data[position:]

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the worker is gone; a floor without its worker has nothing to measure."""
        asyncio.get_running_loop().stop()


def start_worker() -> socket.socket:
    """Forks the warm worker; gives the server's end of the pair. The worker ends when that end is closed."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The server may end while a call is done: that is the end of the worker too, and no fault.
        with contextlib.suppress(ConnectionError):
            worker_main(theirs)
        os._exit(0)
    theirs.close()
    ours.setblocking(False)
    return ours


# Fork per call ---------------------------------------------------------------------------------------------------


class ForkPerCall:
    """A child for every call; its answer comes through a pipe, after its length."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._children = 0

    def call(self, call: bytes, done: Done) -> None:
        """Forks a child that does `call`; `done` gets its answer."""
        reading, writing = os.pipe()
        if os.fork() == 0:
            answer = job(call)
            left = FRAME.pack(len(answer), 0) + answer
            while left:
                left = left[os.write(writing, left) :]
            os._exit(0)
        self._children += 1
        os.close(writing)
        self._loop.add_reader(reading, self._ready, reading, [], done)

    def _ready(self, reading: int, parts: list[bytes], done: Done) -> None:
        part = os.read(reading, 65_536)
        parts.append(part)
        answer = b"".join(parts)
        if part and (len(answer) < 8 or len(answer) < 8 + FRAME.unpack_from(answer)[0]):
            return
        self._loop.remove_reader(reading)
        os.close(reading)
        done(answer[8:])
        # After the answer, and without waiting: whichever children have ended by now. SIG_IGN for SIGCHLD would spare
        # this, but then the children's CPU time would be lost to the measurement.
        while self._children and os.waitpid(-1, os.WNOHANG)[0]:
            self._children -= 1


# HTTP ------------------------------------------------------------------------------------------------------------


class Raw(asyncio.Protocol):
    """One fixed answer to each read. Right for a client that sends a request in one write and waits for the answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """asyncio: a request."""
        self._write(FIXED_ANSWER)


class Http(asyncio.Protocol):
    """h11 on a connection, keep-alive included. `call` does a call, or is None for the fixed answer."""

    _FIXED_RESPONSE = h11.Response(status_code=200, reason=b"OK", headers=FIXED_HEADERS)
    _FIXED_DATA = h11.Data(data=FIXED_BODY)
    _END = h11.EndOfMessage()

    def __init__(self, call: Callable[[bytes, Done], None] | None) -> None:
        self._call = call
        self._connection = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the client has gone."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """asyncio: a request or part of one."""
        self._connection.receive_data(data)
        self._advance()

    def _advance(self) -> None:
        connection = self._connection
        while True:
            try:
                event: Any = connection.next_event()
            except h11.RemoteProtocolError:
                self._transport.close()
                return
            kind = type(event)
            if kind is h11.Request:
                self._request, self._body = event, bytearray()
            elif kind is h11.Data:
                self._body += event.data
            elif kind is h11.EndOfMessage:
                self._complete()
            elif kind is h11.ConnectionClosed:
                self._transport.close()
                return
            else:  # NEED_DATA, or PAUSED until the answer is sent
                return

    def _complete(self) -> None:
        if self._call is None:
            self._send(self._FIXED_RESPONSE, self._FIXED_DATA)
        else:
            assert self._request is not None
            self._call(call_of(self._request, bytes(self._body)), self._answer)

    def _answer(self, answer: bytes) -> None:
        if self._transport is None:
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % (len(answer) - 3))]
        self._send(h11.Response(status_code=int(answer[:3]), reason=b"OK", headers=headers), h11.Data(data=answer[3:]))
        if self._connection.trailing_data[0]:
            self._advance()

    def _send(self, response: h11.Response, data: h11.Data) -> None:
        send = self._connection.send
        self._transport.write(send(response) + send(data) + send(self._END))
        if self._connection.our_state is h11.MUST_CLOSE:
            self._transport.close()
        else:
            self._connection.start_next_cycle()


class Length(Http):
    """The same; the answer is the body's length."""

    def _complete(self) -> None:
        self._answer(b'200{"length":%d}' % len(self._body))


# The process -----------------------------------------------------------------------------------------------------


async def serve(kind: str, port: int, pair: socket.socket | None) -> None:
    """Serves until standard input ends or SIGTERM comes. `pair` leads to the worker, if the floor has one."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    call: Callable[[bytes, Done], None] | None = None
    if pair is not None:
        _, worker = await loop.create_connection(Worker, sock=pair)
        call = worker.call
    elif kind == "fork":
        call = ForkPerCall(loop).call
    kinds: dict[str, Callable[[], asyncio.Protocol]] = {"raw": Raw, "length": lambda: Length(None)}
    server = await loop.create_server(kinds.get(kind, lambda: Http(call)), "127.0.0.1", port, backlog=4096)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_reader(0, ended.set)
    # Frozen last: whatever lives now lives for ever, and forked children do not touch its pages.
    gc.collect()
    gc.freeze()
    host, bound = server.sockets[0].getsockname()
    print(f"{host}:{bound}", flush=True)
    await ended.wait()
    server.close()


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS, help="which floor")
    parser.add_argument("port", nargs="?", type=int, default=0, help="port on 127.0.0.1 (0, the default: a free one)")
    options = parser.parse_args(arguments)
    pair = start_worker() if options.kind == "worker" else None
    uvloop.run(serve(options.kind, options.port, pair))
    return 0


if __name__ == "__main__":
    sys.exit(main())
