"""A real server on a loop in a thread of its own, and plain blocking sockets as its clients."""

from __future__ import annotations

import asyncio
import enum
import socket
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import uvloop

from whd.http.connection import Connection
from whd.http.lifecycle import PHASE_MOVES, STATE_MOVES, Phase, State
from whd.http.listeners import PUBLIC, ListenAddress
from whd.http.messages import Application
from whd.http.protocol import ClientProtocol
from whd.http.server import Server
from whd.model.budget import BufferBudget
from whd.model.options import Options

from .client import PATIENCE_S, Client
from .fakes import App


class Along:
    """Stands for a slot of a class: an assignment must be one of the moves that are allowed, or change nothing.

    One that is not is kept in `defects` as well as raised: what is tested makes a 500 of an exception, or logs it.
    """

    defects: ClassVar[list[str]] = []

    def __init__(
        self, owner: type, slot: Any, first: enum.Enum, allowed: Collection[tuple[enum.Enum, enum.Enum]]
    ) -> None:
        self._owner = owner
        self._slot = slot
        self._first = first
        self._allowed = frozenset(allowed)

    def __get__(self, instance: Any, _owner: type | None = None) -> Any:
        return self if instance is None else self._slot.__get__(instance, self._owner)

    def __set__(self, instance: Any, after: enum.Enum) -> None:
        try:
            before = self._slot.__get__(instance, self._owner)
        except AttributeError:
            defect = "" if after is self._first else f"begins as {after.name}"
        else:
            is_move = after is before or (before, after) in self._allowed
            defect = "" if is_move else f"{before.name} to {after.name}"
        if defect:
            self.defects.append(defect)
            raise AssertionError(defect)
        self._slot.__set__(instance, after)


@pytest.fixture(scope="session", autouse=True)
def _lifecycles_are_kept() -> Iterator[None]:
    """Every State and Phase that is assigned in any test of this folder is checked along the tables of lifecycle.py."""
    states = {(before, after) for (before, _step), after in STATE_MOVES.items()}
    phases = {(before, after) for before, following in PHASE_MOVES.items() for after in following}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "state", Along(Connection, vars(Connection)["state"], State.HEAD, states))
        protocol = Along(ClientProtocol, vars(ClientProtocol)["_phase"], Phase.FRESH, phases)
        patch.setattr(ClientProtocol, "_phase", protocol)
        yield


@pytest.fixture
def defects() -> list[str]:
    """The moves of this test that are in no table; a test that provokes one takes it out."""
    Along.defects.clear()
    return Along.defects


@pytest.fixture(autouse=True)
def _no_defect_is_swallowed(defects: list[str]) -> Iterator[None]:
    yield
    assert defects == []


class Running:
    """A server that runs; everything about it happens on its loop, by `call`."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop], **options: Any) -> None:
        self.options = Options(**options)
        self.app = App(self.options)
        self.budget = BufferBudget(lambda: self.options.max_buffered_bytes)
        self.problems: list[dict[str, Any]] = []
        self._loop_factory = loop_factory
        self._clients: list[Client] = []

    def start(
        self, *addresses: str | socket.socket | ListenAddress, admin: Application | None = None, **arguments: Any
    ) -> Running:
        """`admin`: what is served on listeners of that name, if anything of their own."""
        started = threading.Event()

        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
            self._end = asyncio.Event()
            started.set()
            await self._end.wait()

        def run() -> None:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(main())

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert started.wait(PATIENCE_S)
        try:
            applications: dict[str, Application] = {PUBLIC: self.app}
            if admin is not None:
                applications["admin"] = admin
            self.server = Server(applications, lambda: self.options, self.budget, **arguments)
            wanted = addresses or ("127.0.0.1:0",)
            self.wait_for(
                self.server.start([at if isinstance(at, ListenAddress) else ListenAddress(at) for at in wanted])
            )
        except BaseException:
            self._stop_loop()
            raise
        self.address = self.server.addresses[0]
        return self

    def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE_S)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def run() -> Any:
            return function(*arguments)

        return self.wait_for(run())

    def set(self, **options: Any) -> None:
        self.options = replace(self.options, **options)

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition, which is evaluated on the loop."""

        async def run() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        self.wait_for(run())

    def client(self, address: str = "") -> Client:
        client = Client(address or self.address)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self.wait_for(self.server.close())
        self._stop_loop()
        assert self.problems == []
        assert self.server.connection_count == 0
        assert self.budget.used_bytes == 0

    def _stop_loop(self) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop is what the daemon runs on; the standard loop shows that only its interface is used."""
    return uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop


@pytest.fixture
def make(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[Callable[..., Running]]:
    """Makes servers, not started yet, from options; stops those that were started."""
    made: list[Running] = []

    def make_one(**options: Any) -> Running:
        made.append(Running(loop_factory, **options))
        return made[-1]

    yield make_one
    for running in made:
        if hasattr(running, "address"):
            running.stop()


@pytest.fixture
def running(make: Callable[..., Running]) -> Running:
    """A server on a free port with the default options."""
    return make().start()
