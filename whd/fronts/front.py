"""A front's process: an HttpEngine whose shared parts are remote, told by the hub when to reload, drain and end.

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
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import uvloop

from .. import log as log_module
from ..admin.documents import summary_row
from ..admin.operations import Admin
from ..engine.engine import Engine
from ..engine.http_engine import EnginePhase, HttpEngine, raise_descriptor_limit
from ..engine.shared import Shared
from ..engine.state import Paths
from ..errors import WhdError
from ..executions.active import ActiveExecution
from ..http.listeners import ListenAddress
from ..model.execution import use_front_number
from ..model.snapshot import Snapshot
from ..settings.reload import Reloader
from ..store.interface import Stored
from .counters import Count, Counters
from .handover import receive_connections
from .link import Link, Message
from .records import stored_members
from .remote import RemoteShared

log = logging.getLogger("whd.fronts")

# How often what is counted together is told that was not told at its time.
PUBLISH_S: Final = 0.05
# Idle workers that are ended at once for the sake of another front that may fork no more.
EVICTED_AT_ONCE: Final = 4


_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15


def main() -> None:
    """The process's life; argv[1] is the JSON object that process.py makes."""
    config = json.loads(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not SIG_IGN, which the zygote would inherit.
        signal.signal(number, lambda *_: None)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NAME, b"whd-front-%d" % config["front"], 0, 0, 0)
    logs = log_module.configure()
    if config["front"]:
        # Every front reads the same files: the first one tells what it finds.
        logging.getLogger("whd.settings").setLevel(logging.CRITICAL)
    try:
        uvloop.run(Front(config, logs).run())
    finally:
        logs.close()


class Front:
    """One run of a front."""

    def __init__(self, config: dict[str, Any], logs: log_module.Log) -> None:
        self._number: int = config["front"]
        self._fronts: int = config["fronts"]
        self._paths = Paths(Path(config["config"]), Path(config["flows"]), Path(config["state"]))
        self._logs = logs
        self._link_socket = socket.socket(fileno=config["link"])
        self._connections = socket.socket(fileno=config["connections"])
        self._listener_names: list[str] = config["listener_names"]
        self._counters = Counters(config["counters"], self._fronts)
        self._adopted = 0
        self._publisher: asyncio.TimerHandle | None = None
        self._go = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """From start to end."""
        loop = self._loop = asyncio.get_running_loop()
        raise_descriptor_limit()
        use_front_number(self._number)
        self._link = Link(self._handlers(), self._on_lost)
        self._engine = Engine(loop, self._paths, serves=True, make_shared=self._make_commons)
        self._admin = Admin(self._engine)
        self._serving = HttpEngine(self._engine, when_lost=self._count_closed)
        await self._link.connect(self._link_socket)
        try:
            await self._serving.start(self._configure)
        except WhdError as error:
            self._link.tell("failed", text=error.log_detail)
        else:
            await self._serve()
        await self._serving.close()
        self._counters.set(self._number, Count.WORKERS, 0)
        self._link.close()
        await self._gone.wait()

    async def _serve(self) -> None:
        engine = self._engine
        scheduler = self._shared.scheduler
        scheduler.look_again = engine.pool.look_again
        scheduler.accepting = engine.runner.accepting_of
        # At once, for children of other fronts; that there is none any more, in time.
        engine.pool.processes.on_idle = lambda: self._counters.set(self._number, Count.IDLE, 1)
        self._publish()
        self._connections.setblocking(False)
        self._loop.add_reader(self._connections, self._adopt)
        self._link.tell("ready")
        await self._go.wait()
        if not self._stop.is_set():
            self._serving.move(EnginePhase.SERVING)
            await self._stop.wait()
        else:
            self._serving.move(EnginePhase.SERVING)
        # What was handed over before the word to stop came.
        self._adopt()
        self._loop.remove_reader(self._connections)
        await self._serving.drain(self._stop_now)
        if self._publisher is not None:
            self._publisher.cancel()
        self._publish_counts()

    def _make_commons(self, loop: asyncio.AbstractEventLoop, paths: Paths, reloader: Reloader) -> Shared:
        self._shared = RemoteShared(
            loop,
            paths,
            reloader,
            link=self._link,
            counters=self._counters,
            front=self._number,
            fronts=self._fronts,
        )
        return self._shared

    def _configure(self) -> list[ListenAddress]:
        """The options are read. A front has no address of its own."""
        reloader = self._engine.reloader
        self._configure_log(reloader.snapshot)
        reloader.on_swap.append(lambda _old, new: self._configure_log(new))
        return []

    def _configure_log(self, snapshot: Snapshot) -> None:
        self._logs.reconfigure(level=snapshot.options.log_level, format=snapshot.options.log_format)

    def _on_lost(self) -> None:
        self._gone.set()
        if self._serving.phase is not EnginePhase.STOPPED:
            # The hub is gone, and with it everything that a front could write to. Workers end with their zygote.
            self._logs.close()
            os._exit(1)

    # ---- connections -------------------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Serves what was handed over."""
        server = self._serving.server
        for handed in receive_connections(self._connections):
            if handed is None:
                self._loop.remove_reader(self._connections)
                return
            self._adopted += 1
            if handed.sock is not None:
                limit = server.connection_count if handed.is_refused else sys.maxsize
                server.let_in(handed.sock, self._listener_names[handed.listener], limit)
            # Also of what could not be received for want of descriptors, or was refused at once.
            self._count_closed()

    def _count_closed(self) -> None:
        self._counters.set(self._number, Count.CLOSED, self._adopted - self._serving.server.connection_count)

    # ---- what is counted together ------------------------------------------------------------------------------------

    def _publish(self) -> None:
        self._publisher = self._loop.call_later(PUBLISH_S, self._publish)
        self._publish_counts()
        pool, counters, number = self._engine.pool, self._counters, self._number
        self._shared.scheduler.publish()
        if pool.is_starved:
            if pool.processes.has_room(is_child=False):
                pool.look_again()
        elif counters.elsewhere(number, Count.STARVED) or self._is_tight():
            for _ in range(EVICTED_AT_ONCE):
                if not pool.processes.evict():
                    break

    def _is_tight(self) -> bool:
        """Whether idle workers may stand in the way of child executions, which fail at once where there is no room."""
        most = self._engine.options.max_workers
        return self._counters.total(Count.WORKERS) > most - most // 4

    def _publish_counts(self) -> None:
        engine, counters, number = self._engine, self._counters, self._number
        counters.set(number, Count.LIVE, len(engine.runner.all_active()))
        counters.set(number, Count.STARTED, engine.runner.started_total)
        counters.set(number, Count.WORKERS, engine.pool.processes.total)
        counters.set(number, Count.IDLE, int(engine.pool.processes.has_idle))
        counters.set(number, Count.STARVED, int(engine.pool.is_starved))

    # ---- what the hub says -------------------------------------------------------------------------------------------

    def _handlers(self) -> dict[str, Any]:
        return {
            "told all": lambda _message: self._shared.on_told_all(),
            "clients": lambda message: self._shared.client_numbers.update(message.head["numbers"]),
            "setting": lambda message: self._shared.saved.take_changes(message.head["changes"]),
            "store": lambda message: self._shared.store.take_state(
                message.head["fault"], is_full=message.head["is_full"], is_behind=message.head["is_behind"]
            ),
            "saved": lambda message: self._shared.store.take_accepted(message.head["done"], message.head["refused"]),
            "lease": lambda message: self._shared.scheduler.set_lease(message.head["slots"], message.head["number"]),
            "used": self._on_used,
            "ping": lambda message: message.answer(),
            "settle": lambda message: message.answer(),
            "go": lambda _message: self._go.set(),
            "find": self._on_find,
            "wait": lambda message: self._start(self._on_wait(message)),
            "cancel": self._on_cancel,
            "active": self._on_active,
            "report": self._on_report,
            "operate": lambda message: self._start(self._on_operate(message)),
            "reload": lambda message: self._start(self._on_reload(message)),
            "drain": lambda _message: self._on_drain(),
            "drain now": lambda _message: self._stop_now.set(),
        }

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_used(self, message: Message) -> None:
        has_slot, running = self._shared.scheduler.used(message.head["client"])
        message.answer(has_slot=has_slot, running=running)

    def _on_drain(self) -> None:
        self._go.set()
        self._stop.set()

    def _answer_record(self, message: Message, stored: Stored | None) -> None:
        """None: it does not live here, and all that was saved of it is said before."""
        self._shared.store.send()
        members, value = stored_members(stored)
        message.answer(value, **members)

    def _on_active(self, message: Message) -> None:
        self._shared.store.send()
        runner = getattr(self._engine, "runner", None)
        message.answer(
            rows=[] if runner is None else [summary_row(execution) for execution in runner.active_executions()]
        )

    def _on_find(self, message: Message) -> None:
        active = self._active(message)
        self._answer_record(message, None if active is None else Stored(active.execution, active.flow.source))

    def _active(self, message: Message) -> ActiveExecution | None:
        # While it starts it runs nothing.
        runner = getattr(self._engine, "runner", None)
        return None if runner is None else runner.active(message.head["id"])

    async def _on_wait(self, message: Message) -> None:
        active = self._active(message)
        stored = None
        if active is not None:
            stored = Stored(active.execution, active.flow.source)
            stored = await self._engine.runner.wait(stored, message.head["wait_s"])
        self._answer_record(message, stored)

    def _on_cancel(self, message: Message) -> None:
        active = self._active(message)
        stored = None
        if active is not None:
            self._engine.runner.cancel(active, message.head["text"])
            stored = Stored(active.execution, active.flow.source)
        self._answer_record(message, stored)

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

    async def _on_reload(self, message: Message) -> None:
        await self._engine.reloader.reload(force=True)
        message.answer()
