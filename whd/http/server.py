"""The HTTP server: opens its addresses, lets connections in up to a limit, and ends them when the daemon stops.

It runs on any asyncio loop through the standard API. What happens on a connection is in protocol.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from functools import partial

from ..errors import Overloaded
from ..model.budget import BufferBudget
from ..model.options import Options
from .listeners import PUBLIC, Acceptor, ListenAddress, open_listeners
from .messages import Application, ObserveAnswer, Response
from .protocol import ClientProtocol
from .resources import ServerResources
from .writer import response_bytes

REFUSED_AT_ONCE = 128
"""So many connections beyond the limit are refused with care; further ones in one go (see Server._refuse)."""

RESERVED_DESCRIPTORS = 256
"""Connections leave at least so many to workers and files, or half of all where there are few."""

LOG = logging.getLogger("whd.http")


class Server:
    """Serves any number of addresses: on each listener the application of the listener's name.

    `applications` by listener's name; that of PUBLIC serves where the name has none of its own.
    `get_options` is asked at each use, since options are live. `budget` counts the bodies being read. `unix_mode` is
    the mode of the socket files that it makes: like systemd's SocketMode, everyone may connect, as to a TCP port.
    Start it once; its owner calls drain() or close(). `when_lost` is called when a connection has ended,
    `observe_answer` for each answer that a connection sent (not for those of `refuse`).
    """

    def __init__(
        self,
        applications: Mapping[str, Application],
        get_options: Callable[[], Options],
        budget: BufferBudget,
        *,
        unix_mode: int = 0o666,
        when_lost: Callable[[], None] | None = None,
        observe_answer: ObserveAnswer | None = None,
    ) -> None:
        self._applications = applications
        self._get_options = get_options
        self._budget = budget
        self._unix_mode = unix_mode
        self._tell_lost = when_lost
        self._observe_answer = observe_answer
        self._acceptors: list[Acceptor] = []
        self._descriptor_limit = 0
        self._date = b""
        self._date_second = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._emptied: asyncio.Event = asyncio.Event()
        self._refusal = b""
        self._services: ServerResources | None = None

    async def start(self, addresses: Sequence[ListenAddress]) -> None:
        """Listens.

        Names of hosts are looked up on the loop: nothing is served yet. Raises ConfigError; then nothing listens.
        """
        loop = asyncio.get_running_loop()
        listeners = open_listeners(addresses, self._unix_mode)
        self._refusal = refusal_bytes(self._applications[PUBLIC].problem(Overloaded("too many connections")))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._descriptor_limit = soft - min(RESERVED_DESCRIPTORS, soft // 2)
        self._services = ServerResources(
            loop=loop,
            applications=self._applications,
            get_options=self._get_options,
            budget=self._budget,
            get_date=self._get_date,
            when_lost=self._when_lost,
            observe_answer=self._observe_answer,
        )
        self._acceptors = [
            Acceptor(loop, listener, partial(self._let_in, listener.name), self._refuse) for listener in listeners
        ]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, in the form of ListenAddress.where, with the real ports."""
        return tuple(acceptor.listener.address for acceptor in self._acceptors)

    @property
    def connection_count(self) -> int:
        """Open connections, those included that are being refused."""
        services = self._services
        return len(services.connections) + len(services.opening) if services is not None else 0

    async def drain(self) -> None:
        """Accepts no more, ends idle connections, and waits until every other one has got its answer.

        The caller bounds the wait, and calls close() when it is over.
        """
        services = self._services
        if services is None:
            return
        services.is_draining = True
        for acceptor in self._acceptors:
            acceptor.close()
        for protocol in tuple(services.connections):
            protocol.drain()
        await self._wait_until_empty()

    async def close(self) -> None:
        """Ends everything now; requests without an answer are cancelled."""
        services = self._services
        if services is None:
            return
        services.is_draining = True
        for acceptor in self._acceptors:
            acceptor.close()
        for protocol in tuple(services.connections):
            protocol.abort()
        await self._wait_until_empty()

    async def _wait_until_empty(self) -> None:
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        while self.connection_count:
            self._emptied.clear()
            await self._emptied.wait()

    def _when_lost(self) -> None:
        if not self.connection_count:
            self._emptied.set()
        if self._tell_lost is not None:
            self._tell_lost()

    # Connections

    def _let_in(self, listener: str, sock: socket.socket) -> None:
        self.let_in(sock, listener, self._get_options().max_connections)

    def let_in(self, sock: socket.socket, listener: str, limit: int) -> None:
        """Serves a connection that a listener of this name accepted, or refuses it where there are `limit` already."""
        services = self._services
        assert services is not None
        count = self.connection_count
        limit = min(limit, self._descriptor_limit)
        if count >= limit + REFUSED_AT_ONCE:
            self._refuse(sock)
            return
        protocol = ClientProtocol(services, listener, is_refused=count >= limit)
        services.opening.add(protocol)
        task = services.loop.create_task(self._open(services, protocol, sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, services: ServerResources, protocol: ClientProtocol, sock: socket.socket) -> None:
        # The one task of a connection: asyncio has no other way to make a transport of an accepted socket.
        try:
            await services.loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError as error:
            LOG.debug("a connection ended before it was served: %s", error)
            sock.close()
        finally:
            services.opening.discard(protocol)
            self._when_lost()

    def _refuse(self, sock: socket.socket) -> None:
        refuse(sock, self._refusal)

    def _get_date(self) -> bytes:
        second = int(time.time())
        if second != self._date_second:
            self._date_second = second
            self._date = formatdate(second, usegmt=True).encode("ascii")
        return self._date


def refusal_bytes(response: Response) -> bytes:
    """An answer that ends its connection, for `refuse`."""
    return response_bytes(response, date=b"", connection=b"close", is_head=False)


def refuse(sock: socket.socket, refusal: bytes) -> None:
    """Tells a client that there are too many connections, without keeping anything of it. Closes the socket.

    What it sent already is read first: a close with bytes unread would reset the connection (RFC 9112, 9.6).
    """
    sock.setblocking(False)
    with sock, contextlib.suppress(OSError):
        sock.send(refusal)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(65_536)
