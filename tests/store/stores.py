"""Every store there is, each open on a folder of its own: what test_conformance.py runs on. A further one is a line."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from whd.engine.state import Paths
from whd.fronts.counters import Counters
from whd.fronts.leases import SlotLeases
from whd.fronts.link import Link
from whd.fronts.process import FrontProcess
from whd.fronts.remote import FrontStore
from whd.fronts.sessions import FrontSession, Supervisor
from whd.model.options import Options
from whd.settings.reload import Reloader
from whd.store import open_store
from whd.store.interface import ExecutionStore
from whd.store.memory import MemoryStore

from .store_samples import opened


@dataclass(frozen=True, slots=True)
class Given:
    """An open store. `set_fault` has it say that nothing can be written now, for as long as the loop does not turn."""

    store: ExecutionStore
    set_fault: Callable[[str], None]


@contextlib.asynccontextmanager
async def memory(_folder: Path) -> AsyncIterator[Given]:
    store = MemoryStore(asyncio.get_running_loop())
    yield Given(store, lambda fault: setattr(store, "fault", fault))
    await store.close()


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Given]:
    async with opened(folder / "store") as store:
        yield Given(store, lambda fault: setattr(store._writer, "fault", fault))


class FrontHere(FrontProcess):
    """A front as the hub sees it, without a process: the test has the other end of the link."""

    other_end: socket.socket

    def _spawn(self, theirs: socket.socket, connections: socket.socket) -> None:
        self.other_end = theirs.dup()


@contextlib.asynccontextmanager
async def front(folder: Path) -> AsyncIterator[Given]:
    """A front's store over a link to a session of the hub, which has the store on SQLite."""
    loop = asyncio.get_running_loop()
    state = folder / "state"
    counters = Counters.create(1)
    process = FrontHere(0, 1, Paths(folder / "config", folder / "flows", state), counters)
    reloader = Reloader(str(folder / "config"), str(folder / "flows"))
    supervisor = Supervisor(loop, reloader, SlotLeases(1), [process])
    supervisor.store = await open_store(state, loop, Options)
    await process.start(FrontSession(supervisor, process).handlers)
    link = Link(
        {"saved": lambda message: store.take_accepted(message.head["done"], message.head["refused"])}, lambda: None
    )
    store = FrontStore(loop, state, link)
    await link.connect(process.other_end)
    await store.open()
    try:
        yield Given(store, lambda fault: store.take_state(fault, is_full=False, is_behind=False))
        await store.close()
    finally:
        link.close()
        await process.reap()
        await supervisor.store.close()
        counters.close()


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Given]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "front": front,
}
