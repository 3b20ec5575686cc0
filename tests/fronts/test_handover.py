"""Connections on their way from the hub to a front: each arrives once, with the name of the listener it came by."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from whd.engine.state import Paths
from whd.errors import HttpError
from whd.fronts.counters import Counters
from whd.fronts.handover import MAX_NAMES, HandedOver, listener_names, receive_connections, send_connection
from whd.fronts.process import FrontProcess
from whd.http.listeners import PUBLIC, ListenAddress
from whd.http.messages import Admission, Body, Head, Respond, Response
from whd.http.server import Server
from whd.model.budget import BufferBudget
from whd.model.options import Options


@pytest.fixture
def queue() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The hub's end and the front's."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


class Named:
    """An application that answers with its name."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def admit(self, head: Head) -> Admission:
        return Admission(0, None)

    def readmit(self, head: Head) -> Admission | None:
        return None

    def handle(self, admission: Admission, body: Body, respond: Respond) -> Callable[[], None] | None:
        respond(Response(200, (), self._name, close=True))
        return None

    def problem(self, error: HttpError) -> Response:
        return Response(error.status, (), self._name)


def received(theirs: socket.socket) -> Iterator[HandedOver]:
    for handed in receive_connections(theirs):
        assert handed is not None
        yield handed


def test_each_arrives_with_its_listener_and_its_verdict(queue: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = queue
    sent = [(0, False), (MAX_NAMES - 1, True), (0, True), (5, False), (MAX_NAMES - 1, False)]
    for listener, is_refused in sent:
        with socket.socket() as sock:
            send_connection(ours, sock, listener, is_refused=is_refused)
    arrived = list(received(theirs))
    assert [(handed.listener, handed.is_refused) for handed in arrived] == sent
    for handed in arrived:
        assert handed.sock is not None
        handed.sock.close()
    ours.close()
    assert list(receive_connections(theirs)) == [None]


def test_a_connection_without_a_descriptor_still_counts(queue: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = queue
    ours.send(bytes((3,)))
    assert list(receive_connections(theirs)) == [HandedOver(3, False, None)]


def test_names_are_numbered_from_the_public_one() -> None:
    wanted = [ListenAddress("a:1", "admin"), ListenAddress("b:1"), ListenAddress("c:1", "admin")]
    assert listener_names(wanted) == (PUBLIC, "admin")
    assert listener_names([]) == (PUBLIC,)
    assert len(listener_names(ListenAddress("a:1", f"n{number}") for number in range(1_000))) == MAX_NAMES


def test_what_a_front_has_not_taken_comes_back_with_its_listener(
    queue: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    counters = Counters.create(1)
    front = FrontProcess(0, 1, Paths(tmp_path, tmp_path, tmp_path), counters)
    counters.close()
    assert not front.hand(queue[0], 1), "no process, no connection taken"
    front._connections, front._their_connections = queue
    for listener, is_refused in ((1, False), (0, True)):
        assert front.hand(socket.socket(), listener, is_refused=is_refused)
    assert front.connections == 2
    back = list(front.take_back())
    assert [listener for _sock, listener in back] == [1, 0]
    assert front.connections == 0
    for sock, _listener in back:
        sock.close()


def test_a_front_serves_each_connection_by_the_name_that_came_with_it(
    queue: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = queue
    names = listener_names([ListenAddress("a:1"), ListenAddress("b:1", "admin"), ListenAddress("c:1", "whd")])

    async def answers() -> list[bytes]:
        options = Options()
        applications = {PUBLIC: Named(b"public"), "admin": Named(b"admin")}
        server = Server(applications, lambda: options, BufferBudget(lambda: options.max_buffered_bytes))
        await server.start([])
        clients = []
        for name in names:
            client, accepted = socket.socketpair()
            send_connection(ours, accepted, names.index(name))
            accepted.close()
            client.setblocking(False)
            clients.append(client)
        for handed in received(theirs):
            assert handed.sock is not None
            server.let_in(handed.sock, names[handed.listener], sys.maxsize)
        bodies = []
        for client in clients:
            reader, writer = await asyncio.open_connection(sock=client)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            bodies.append((await reader.read()).rpartition(b"\r\n")[2])
            writer.close()
            await writer.wait_closed()
        await server.close()
        return bodies

    assert names == ("public", "admin", "whd")
    assert asyncio.run(answers()) == [b"public", b"admin", b"public"]
