"""A front's process: an HttpEngine whose shared parts are remote; the hub says when it reloads, drains and ends.

It hears no signal of the terminal or the service manager: the hub does, and says what follows. It ends with the hub, by
the end of the link or, should its loop be stuck then, by the kernel (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import uvloop

from .. import log as log_module
from ..admin.documents import summary_row
from ..admin.operations import Admin
from ..engine.engine import Engine
from ..engine.http_engine import EnginePhase, HttpEngine, raise_descriptor_limit
from ..engine.state import Paths
from ..engine.vetting import VettedSettings
from ..errors import WhdError
from ..http.listeners import ListenAddress
from ..model.execution import use_front_number
from ..model.snapshot import Snapshot
from ..store.interface import Stored
from .counters import Count, Counters
from .handover import receive_connections
from .link import Link, Message
from .process import HUB_SIGNALS
from .quota import FrontQuota
from .records import stored_members
from .remote import RemoteShared

log = logging.getLogger("whd.fronts")

# How often the counts are published that nothing else has published.
PUBLISH_S: Final = 0.05
# Idle workers that are ended at once for the sake of another front that may fork no more.
EVICTED_AT_ONCE: Final = 4


_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15


def main() -> None:
    """The process's life; argv[1] is the JSON object that process.py makes."""
    config = json.loads(sys.argv[1])
    for number in HUB_SIGNALS:
        # Not SIG_IGN, which the zygote would inherit.
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HUB_SIGNALS)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NAME, b"whd-front-%d" % config["front"], 0, 0, 0)
    logs = log_module.configure()
    if config["front"]:
        # Every front reads the same files: the first one logs what it finds.
        logging.getLogger("whd.settings").setLevel(logging.CRITICAL)
    try:
        uvloop.run(_run(config, logs))
    finally:
        logs.close()


async def _run(config: dict[str, Any], logs: log_module.Log) -> None:
    await Front(config, logs).run()


class _Tasks:
    """What is under way for the hub: the loop alone would not keep it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Front:
    """One run of a front: its link to the hub, and what it can answer before it serves."""

    def __init__(self, config: dict[str, Any], logs: log_module.Log) -> None:
        loop = asyncio.get_running_loop()
        number, fronts = config["front"], config["fronts"]
        self._number: int = number
        self._paths = Paths(Path(config["config"]), Path(config["flows"]), Path(config["state"]))
        self._logs = logs
        self._link_socket = socket.socket(fileno=config["link"])
        self._connections = socket.socket(fileno=config["connections"])
        self._listener_names: list[str] = []
        self._counters = counters = Counters(config["counters"], fronts)
        self._settings = VettedSettings(self._paths)
        self._handlers: dict[str, Callable[[Message], None]] = {}
        self._link = link = Link(self._handlers, self._on_lost)
        self._shared = RemoteShared(
            loop, self._paths, self._settings.reloader, link=link, counters=counters, front=number, fronts=fronts
        )
        self._quota = FrontQuota(loop, link=link, counters=counters, front=number, fronts=fronts)
        self._handlers.update(self._first_handlers())
        # From the moment that it serves.
        self._serving: ServingFront | None = None
        self._has_ended = False
        self._go = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._gone = asyncio.Event()
        self._tasks = _Tasks()

    async def run(self) -> None:
        """From start to end."""
        raise_descriptor_limit()
        use_front_number(self._number)
        await self._link.connect(self._link_socket)
        async with AsyncExitStack() as stack:
            try:
                engine = await stack.enter_async_context(
                    Engine.open(self._paths, self._settings, self._shared.open(), self._quota, serves=True)
                )
                http = await stack.enter_async_context(
                    HttpEngine.open(engine, self._configure, when_lost=self._on_connection_lost)
                )
            except WhdError as error:
                self._link.tell("failed", text=error.log_detail)
            else:
                await self._serve(http)
        self._has_ended = True
        self._counters.set(self._number, Count.WORKERS, 0)
        self._link.close()
        await self._gone.wait()

    async def _serve(self, http: HttpEngine) -> None:
        serving = self._serving = ServingFront(
            self._number, http, self._shared, self._quota, self._counters, self._connections, self._listener_names
        )
        self._handlers.update(serving.handlers)
        serving.start()
        self._link.tell("ready")
        await self._go.wait()
        http.move(EnginePhase.SERVING)
        await self._stop.wait()
        await serving.drain(self._stop_now)

    def _configure(self, snapshot: Snapshot) -> list[ListenAddress]:
        """The options are read. A front has no address of its own."""
        self._configure_log(snapshot)
        self._settings.reloader.on_swap.append(lambda _old, new: self._configure_log(new))
        return []

    def _configure_log(self, snapshot: Snapshot) -> None:
        self._logs.reconfigure(level=snapshot.options.log_level, format=snapshot.options.log_format)

    def _on_connection_lost(self) -> None:
        if self._serving is not None:
            self._serving.count_closed()

    def _on_lost(self) -> None:
        self._gone.set()
        if not self._has_ended:
            # The hub is gone, and with it everything that a front could write to. Workers end with their zygote.
            self._logs.close()
            os._exit(1)

    # ---- what the hub says -------------------------------------------------------------------------------------------

    def _first_handlers(self) -> dict[str, Callable[[Message], None]]:
        return {
            "greeted": lambda _message: self._shared.on_greeted(),
            "listeners": lambda message: self._listener_names.extend(message.head["names"]),
            "clients": lambda message: self._quota.client_numbers.update(message.head["numbers"]),
            "setting": lambda message: self._shared.saved.take_changes(message.head["changes"]),
            "state": self._on_state,
            "saved": lambda message: self._shared.store.take_accepted(message.head["done"], message.head["refused"]),
            "lease": lambda message: self._quota.scheduler.set_lease(message.head["slots"], message.head["number"]),
            "used": self._on_used,
            "ping": lambda message: message.answer(),
            "settle": lambda message: message.answer(),
            "go": lambda _message: self._go.set(),
            # While it starts it runs nothing.
            "find": self._on_nothing_found,
            "wait": self._on_nothing_found,
            "cancel": self._on_nothing_found,
            "active": lambda message: message.answer(rows=[]),
            "reload": lambda message: self._tasks.start(self._on_reload(message)),
            "drain": lambda _message: self._on_drain(),
            "drain now": lambda _message: self._stop_now.set(),
        }

    def _on_state(self, message: Message) -> None:
        head, shared = message.head, self._shared
        shared.store.take_state(
            head["fault"], is_full=head["is_full"], is_behind=head["is_behind"], is_detached=head["is_detached"]
        )
        shared.saved.fault, shared.saved.is_detached = head["saved_fault"], head["is_saved_detached"]

    def _on_used(self, message: Message) -> None:
        has_slot, running = self._quota.scheduler.used(message.head["client"])
        message.answer(has_slot=has_slot, running=running)

    def _on_drain(self) -> None:
        self._go.set()
        self._stop.set()

    def _on_nothing_found(self, message: Message) -> None:
        _answer_record(self._shared, message, None)

    async def _on_reload(self, message: Message) -> None:
        await self._settings.reloader.reload(force=True)
        message.answer()


class ServingFront:
    """A front whose HttpEngine is open: connections from the hub, what the fronts count together, what the hub asks."""

    def __init__(
        self,
        number: int,
        http: HttpEngine,
        shared: RemoteShared,
        quota: FrontQuota,
        counters: Counters,
        connections: socket.socket,
        listener_names: Sequence[str],
    ) -> None:
        engine = http.engine
        self._loop = engine.loop
        self._number = number
        self._http = http
        self._engine = engine
        self._admin = Admin(engine)
        self._shared = shared
        self._quota = quota
        self._counters = counters
        self._connections = connections
        self._listener_names = listener_names
        self._adopted = 0
        self._publisher: asyncio.TimerHandle | None = None
        self._tasks = _Tasks()
        self.handlers: dict[str, Callable[[Message], None]] = {
            "find": self._on_find,
            "wait": lambda message: self._tasks.start(self._on_wait(message)),
            "cancel": self._on_cancel,
            "active": self._on_active,
            "report": self._on_report,
            "operate": lambda message: self._tasks.start(self._on_operate(message)),
        }
        quota.scheduler.look_again = engine.pool.look_again
        quota.scheduler.accepting = engine.runner.accepting_of
        # At once, for children of other fronts; that there is none any more, in time.
        engine.pool.processes.on_idle = lambda: counters.set(number, Count.IDLE, 1)

    def start(self) -> None:
        """Takes connections from here on, and publishes to the other fronts what is counted."""
        self._publish()
        self._connections.setblocking(False)
        self._loop.add_reader(self._connections, self._adopt)

    async def drain(self, stop_now: asyncio.Event) -> None:
        """Takes the connections that the hub has handed over by now, then drains as HttpEngine does."""
        # What was handed over before the word to stop came.
        self._adopt()
        self._loop.remove_reader(self._connections)
        await self._http.drain(stop_now)
        if self._publisher is not None:
            self._publisher.cancel()
        self._publish_counts()

    # ---- connections -------------------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Serves what was handed over."""
        server = self._http.server
        for handed in receive_connections(self._connections):
            if handed is None:
                self._loop.remove_reader(self._connections)
                return
            self._adopted += 1
            if handed.sock is not None:
                limit = server.connection_count if handed.is_refused else sys.maxsize
                server.let_in(handed.sock, self._listener_names[handed.listener], limit)
            # Also of what could not be received for want of descriptors, or was refused at once.
            self.count_closed()

    def count_closed(self) -> None:
        """Tells the hub how many of the connections that it handed over have ended."""
        self._counters.set(self._number, Count.CLOSED, self._adopted - self._http.server.connection_count)

    # ---- what is counted together ------------------------------------------------------------------------------------

    def _publish(self) -> None:
        self._publisher = self._loop.call_later(PUBLISH_S, self._publish)
        self._publish_counts()
        pool, counters, number = self._engine.pool, self._counters, self._number
        self._quota.scheduler.publish()
        if pool.is_starved:
            if pool.processes.has_room(is_child=False):
                pool.look_again()
        elif counters.of_others(number, Count.STARVED) or self._is_tight():
            for _ in range(EVICTED_AT_ONCE):
                if not pool.processes.evict():
                    break

    def _is_tight(self) -> bool:
        """Whether idle workers may stand in the way of child executions, which fail at once where there is no room."""
        most = self._engine.options.max_workers
        return self._counters.total(Count.WORKERS) > most - most // 4

    def _publish_counts(self) -> None:
        engine, counters, number = self._engine, self._counters, self._number
        counters.set(number, Count.ACTIVE, engine.runner.active_count)
        counters.set(number, Count.STARTED, engine.runner.started_total)
        counters.set(number, Count.WORKERS, engine.pool.processes.total)
        counters.set(number, Count.IDLE, int(engine.pool.processes.has_idle))
        counters.set(number, Count.STARVED, int(engine.pool.is_starved))

    # ---- what the hub asks -------------------------------------------------------------------------------------------

    def _on_active(self, message: Message) -> None:
        self._shared.store.send()
        message.answer(rows=[summary_row(active.execution) for active in self._engine.runner.list_active()])

    def _on_find(self, message: Message) -> None:
        active = self._engine.runner.find_active(message.head["id"])
        _answer_record(self._shared, message, None if active is None else active.stored())

    async def _on_wait(self, message: Message) -> None:
        active = self._engine.runner.find_active(message.head["id"])
        stored = None
        if active is not None:
            stored = await self._engine.lookup.wait(active.stored(), message.head["wait_s"])
        _answer_record(self._shared, message, stored)

    def _on_cancel(self, message: Message) -> None:
        active = self._engine.runner.find_active(message.head["id"])
        if active is not None:
            self._engine.runner.cancel(active, message.head["text"])
        _answer_record(self._shared, message, None if active is None else active.stored())

    def _on_report(self, message: Message) -> None:
        message.answer(report=self._engine.report().of_front().as_dict())

    async def _on_operate(self, message: Message) -> None:
        try:
            result = await self._admin.dispatch(message.head["command"], message.head["arguments"])
        except WhdError as error:
            message.answer(error=error.log_detail)
        except Exception as error:
            log.exception("a command failed")
            message.answer(error=f"the daemon could not do this: {error!r}")
        else:
            message.answer(json.dumps(result).encode("ascii"))


def _answer_record(shared: RemoteShared, message: Message, stored: Stored | None) -> None:
    """None: it is not active here, and all that was saved of it is said before."""
    shared.store.send()
    members, value = stored_members(stored)
    message.answer(value, **members)
