"""Servers for the outgoing client: each connection is handled by a few lines of a test, byte by byte if it wants to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from whd.auth.connections import Target, check_url
from whd.model.snapshot import User
from whd.rest import RestClient, RestError, RestFault, RestLimits, RestRequest, RestResult

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Handler = Callable[[Reader, Writer], Awaitable[None]]
Run = Callable[[Callable[[], Awaitable[None]]], None]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def runner(loop_name: str) -> Run:
    """Runs a test on a loop of its own; afterwards nothing may be left open, and no error may have gone unseen."""
    factory = LOOPS[loop_name]
    problems: list[dict[str, Any]] = []

    def run(test: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
            async with asyncio.timeout(30):
                await test()

        factory().close()  # a process's first uvloop opens two descriptors for good
        before = open_descriptors()
        with asyncio.Runner(loop_factory=factory) as started:
            started.run(main())
        assert problems == []
        assert open_descriptors() == before

    return run


@dataclass
class Heard:
    """A request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes


async def hear(reader: Reader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(line, headers, body)


@dataclass
class LocalServer:
    """A server on a free port of 127.0.0.1. `gone` counts connections whose client has left."""

    port: int
    heard: list[Heard] = field(default_factory=list)
    accepted: int = 0
    gone: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answering(*answers: bytes) -> Callable[[LocalServer], Handler]:
    """Hears a request and gives the next of the answers, the last one again and again."""

    def make(server: LocalServer) -> Handler:
        async def handle(reader: Reader, writer: Writer) -> None:
            server.heard.append(await hear(reader))
            writer.write(answers[min(len(server.heard), len(answers)) - 1])
            await writer.drain()

        return handle

    return make


def silent_after(sent: bytes) -> Callable[[LocalServer], Handler]:
    """Hears a request, sends that much, and then nothing until the client leaves."""

    def make(server: LocalServer) -> Handler:
        async def handle(reader: Reader, writer: Writer) -> None:
            server.heard.append(await hear(reader))
            writer.write(sent)
            await left(reader)

        return handle

    return make


def endless(head: bytes, piece: bytes) -> Callable[[LocalServer], Handler]:
    """Hears a request, sends `head`, then `piece` until the client leaves."""

    def make(server: LocalServer) -> Handler:
        async def handle(reader: Reader, writer: Writer) -> None:
            server.heard.append(await hear(reader))
            writer.write(head)
            while True:
                writer.write(piece)
                await writer.drain()

        return handle

    return make


async def left(reader: Reader) -> None:
    """Waits until the client has closed its end."""
    while await reader.read(65_536):
        pass


@contextlib.asynccontextmanager
async def serving(
    make: Callable[[LocalServer], Handler], tls: ssl.SSLContext | None = None
) -> AsyncIterator[LocalServer]:
    server = LocalServer(0)
    handler = make(server)
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        server.accepted += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            server.gone += 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            handlers.discard(task)

    listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls, backlog=1024)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        while handlers:
            await asyncio.wait(tuple(handlers), timeout=10)


@contextlib.contextmanager
def unanswered_port() -> Iterator[int]:
    """The port of a listener that takes no more connections: what comes next gets no answer at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.settimeout(0.2)
            fillers.append(filler)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            pytest.skip("this system accepts connections beyond the backlog")
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


def authorizing(*rules: str) -> Callable[[str], Target]:
    user = User("kevin", connections={"REST": rules})
    return lambda url: check_url(user, "REST", url)


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def call(
    url: str,
    *,
    method: str = "GET",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes | None = None,
    expected: tuple[int, ...] = (200,),
    rules: tuple[str, ...] = (),
    client: RestClient | None = None,
    asked: dict[str, Any] | None = None,
    **limits: Any,
) -> RestResult:
    """One call; without rules, everything on that origin is allowed. `asked`: further fields of the request."""
    client = client or RestClient(asyncio.get_running_loop())
    origin = "/".join(url.split("/")[:3])
    request = RestRequest(method, url, headers, body, expected, **(asked or {}))
    return await client.call(request, authorizing(*(rules or (f"{origin}/*",))), RestLimits(**limits))


async def fails(fault: RestFault, call: Awaitable[RestResult]) -> str:
    with pytest.raises(RestError) as caught:
        await call
    assert caught.value.fault == fault, caught.value
    return str(caught.value)


def named(*addresses: str) -> Callable[[str], tuple[str, ...]]:
    """A name service in which every name has these addresses."""
    return lambda host: addresses


def redirect(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nmoved".encode()
