"""What the HTTP tests serve and what they serve it with: an application, a clock that is moved by hand, a transport."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from whd.errors import HttpError, NotFound
from whd.http.messages import Admission, Body, Head, Respond, Response
from whd.model.options import Options

LARGE_BYTES = 20_000_000


@dataclass
class Held:
    """A request that waits for its answer."""

    head: Head
    body: bytes
    respond: Respond
    was_cancelled: threading.Event = field(default_factory=threading.Event)


class App:
    """Answers by path; see `handle`. Everything but the paths that hold answers at once.

    `remembers`: it says again what it said of a head, so that the connection may take its short way.
    """

    def __init__(self, options: Options, *, remembers: bool = True) -> None:
        self.options = options
        self.remembers = remembers
        self.admitted: list[Head] = []
        self.held: list[Held] = []
        self.parts: list[int] = []  # bytes of each, of the last body that came in several
        self.was_held = threading.Semaphore(0)

    def admit(self, head: Head) -> Admission:
        self.admitted.append(head)
        path = head.target.partition("?")[0]
        if path == "/nowhere":
            raise NotFound
        if path == "/crash/admit":
            raise RuntimeError("admit failed")
        admission = Admission(self.options.max_body_bytes, head)
        if self.remembers:
            head.memo = admission  # type: ignore[misc]  # frozen for the type checker only
        return admission

    def readmit(self, head: Head) -> Admission | None:
        admission: Admission | None = head.memo
        return admission

    def handle(self, admission: Admission, body: Body, respond: Respond) -> Callable[[], None] | None:
        head = admission.call
        if isinstance(body, list):
            self.parts = [len(part) for part in body]
            body = b"".join(body)
        path = head.target.partition("?")[0]
        if path == "/hold":
            held = Held(head, body, respond)
            self.held.append(held)
            self.was_held.release()
            return held.was_cancelled.set
        if path == "/crash":
            raise RuntimeError("handle failed")
        if path == "/crash/after":
            respond(Response(200, (), b"answered"))
            raise RuntimeError("handle failed late")
        if path == "/missing":
            raise NotFound
        if path == "/broken":
            respond(Response(200, ((b"x", b"a\r\nb: c"),)))
        elif path == "/mistyped":
            respond(Response(200, (("x", "text"),)))  # type: ignore[arg-type]
        elif path == "/later":
            asyncio.get_running_loop().call_soon(respond, Response(200, (), body))
        elif path == "/large":
            respond(Response(200, (), b"x" * LARGE_BYTES))
        else:
            respond(Response(200, (), head.target.encode() + b" " + body))
        return None

    def problem(self, error: HttpError) -> Response:
        return Response(error.status, (*error.headers, (b"x-code", error.code.encode())), error.detail.encode())


class FakeLoop:
    """A clock and its timers; `advance` moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[FakeTimer] = []
        self.armed = 0

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, callback: Callable[[], None]) -> FakeTimer:
        self.armed += 1
        timer = FakeTimer(self, at, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= until]:
            timer = min(due, key=lambda timer: timer.at)
            self.now = max(self.now, timer.at)
            timer.cancel()
            timer.callback()
        self.now = until


@dataclass(eq=False)
class FakeTimer:
    loop: FakeLoop
    at: float
    callback: Callable[[], None]

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class FakeTransport(asyncio.Transport):
    """Takes what is written; `capacity` is how much the client takes until read_by_client()."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = b""
        self.unsent_bytes = 0
        self.capacity = 1 << 40
        self.is_paused = False
        self.is_blocked = False
        self.is_eof_written = False
        self.is_closed = False
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_eof_written
        self.written += bytes(data)
        taken = min(self.capacity, len(data))
        self.capacity -= taken
        self.unsent_bytes += len(data) - taken
        if self.unsent_bytes > 65536 and not self.is_blocked:
            self.is_blocked = True
            self.protocol.pause_writing()

    def read_by_client(self, size: int) -> None:
        self.unsent_bytes -= min(self.unsent_bytes, size)
        if self.is_blocked and self.unsent_bytes <= 16384:
            self.is_blocked = False
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def write_eof(self) -> None:
        self.is_eof_written = True

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.is_closed or self.is_aborted

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    @property
    def statuses(self) -> list[int]:
        """The statuses of the answers so far; their bodies never look like one."""
        return [int(part[:3]) for part in self.written.split(b"HTTP/1.1 ")[1:]]
