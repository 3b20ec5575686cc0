"""Looking names up without holding up the loop: getaddrinfo(3) in a few threads, one look-up per name at a time.

getaddrinfo cannot be cancelled and may take half a minute (resolv.conf(5): timeout, attempts), so the threads are
daemon threads, which a stopping daemon does not wait for (those of concurrent.futures it would).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence

MAX_THREADS = 32

LookUp = Callable[[str], Sequence[str]]


class NameNotFound(Exception):
    """The name has no address; the text says what the resolver said."""


def look_up_by_system(host: str) -> tuple[str, ...]:
    """The host's addresses in the order in which to try them (RFC 6724). Blocks. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class Resolver:
    """Answers on the loop. Those who ask for a name that is being looked up wait for that one look-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, look_up: LookUp = look_up_by_system) -> None:
        self._loop = loop
        self._look_up = look_up
        self._waiting: dict[str, list[asyncio.Future[tuple[str, ...]]]] = {}
        self._queue: deque[str] = deque()
        self._threads = 0

    async def addresses(self, host: str) -> tuple[str, ...]:
        """At least one address. Raises NameNotFound. When cancelled, it just stops waiting."""
        future: asyncio.Future[tuple[str, ...]] = self._loop.create_future()
        waiting = self._waiting.get(host)
        if waiting is not None:
            waiting.append(future)
        else:
            self._waiting[host] = [future]
            self._queue.append(host)
            self._start_next()
        return await future

    def _start_next(self) -> None:
        while self._queue and self._threads < MAX_THREADS:
            host = self._queue.popleft()
            if all(future.done() for future in self._waiting[host]):
                del self._waiting[host]
                continue
            self._threads += 1
            try:
                threading.Thread(target=self._run, args=(host,), name="whd-names", daemon=True).start()
            except RuntimeError as error:
                # The system has no thread left.
                self._done(host, NameNotFound(f"no thread to look it up in: {error}"))

    def _run(self, host: str) -> None:
        outcome: tuple[str, ...] | NameNotFound
        try:
            outcome = tuple(self._look_up(host)) or NameNotFound("it has no address")
        except (OSError, UnicodeError) as error:
            outcome = NameNotFound(str(getattr(error, "strerror", None) or error))
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._done, host, outcome)

    def _done(self, host: str, outcome: tuple[str, ...] | NameNotFound) -> None:
        self._threads -= 1
        for future in self._waiting.pop(host):
            if future.done():
                continue
            if isinstance(outcome, NameNotFound):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._start_next()
