"""`whd serve`: a Service with HTTP and the control socket in front of it, from start to drain.

Signal handlers only set events; one coroutine, `_run`, goes through the lifecycle.
"""

from __future__ import annotations

import asyncio
import enum
import gc
import logging
import resource
import signal
import socket
from typing import Any

import uvloop

from . import __version__
from . import log as log_module
from .admin import Admin
from .app import App
from .control import ControlServer
from .handlers.context import Context
from .http.server import Server
from .service import Paths, Service
from .settings.model import Snapshot
from .systemd import Notifier, take_listen_sockets

log = logging.getLogger("whd.daemon")

STATUS_INTERVAL_S = 10.0
# After the last answer was handed to a connection, how long its client may take to read it.
LAST_ANSWERS_S = 2.0


class Phase(enum.Enum):
    """The daemon's life. PHASES says what may follow what."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.SERVING, Phase.STOPPED}),
    Phase.SERVING: frozenset({Phase.DRAINING}),
    Phase.DRAINING: frozenset({Phase.STOPPED}),
    Phase.STOPPED: frozenset(),
}


def serve(paths: Paths, listen: tuple[str, ...] | None) -> int:
    """Serves until a signal; `listen` stands before the option of that name. Raises ConfigError or StateError."""
    notifier = Notifier.from_environ()
    logs = log_module.configure()
    try:
        return uvloop.run(Daemon(paths, listen, notifier, logs).run())
    finally:
        notifier.close()
        logs.close()


class Daemon:
    """One run of the daemon."""

    def __init__(self, paths: Paths, listen: tuple[str, ...] | None, notifier: Notifier, logs: log_module.Log) -> None:
        self._paths = paths
        self._listen = listen
        self._notifier = notifier
        self._logs = logs
        self._phase = Phase.STARTING
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def _move(self, phase: Phase) -> None:
        if phase not in PHASES[self._phase]:
            raise AssertionError(f"{self._phase.name} to {phase.name}")
        self._phase = phase

    async def run(self) -> int:
        """From start to end; the command's exit status. Raises ConfigError or StateError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        _raise_descriptor_limit()
        self._service = Service(loop, self._paths, serves=True)
        try:
            await self._start(loop)
            await self._stop.wait()
            await self._drain()
        finally:
            await self._service.close()
        self._move(Phase.STOPPED)
        log.info("stopped")
        return 0

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        service = self._service
        given = take_listen_sockets()
        await service.start()
        self._configure_log(service.snapshot)
        service.reloader.on_swap.append(self._on_swap)
        context = Context(loop, service.reloader, service.runner, service.pool, self._readiness)
        self._server = Server(App(context), lambda: service.options, service.budget)
        addresses: list[str | socket.socket] = [entry.socket for entry in given]
        await self._server.start(addresses or list(self._listen or service.options.listen))
        self._control = ControlServer(self._paths.state, Admin(service, addresses=self._addresses).dispatch)
        await self._control.start()
        # What the start made lives as long as the daemon: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        self._move(Phase.SERVING)
        if service.options.processes > 1:
            log.warning("processes is %d, but this version serves with one front", service.options.processes)
        log.info("whd %s listens on %s", __version__, ", ".join(self._addresses()))
        self._notifier.ready(self._status_text())
        self._tell_status()
        self._feed_watchdog()

    def _addresses(self) -> list[str]:
        return list(self._server.addresses)

    # ---- signals and the service manager -----------------------------------------------------------------------------

    def _on_stop(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    def _on_hangup(self) -> None:
        if self._phase is Phase.SERVING:
            task = asyncio.get_running_loop().create_task(self._reload())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        self._notifier.reloading()
        await self._service.reloader.reload(force=True)
        self._notifier.ready(self._status_text())

    def _on_swap(self, old: Snapshot, new: Snapshot) -> None:
        self._configure_log(new)

    def _configure_log(self, snapshot: Snapshot) -> None:
        self._logs.reconfigure(level=snapshot.options.log_level, format=snapshot.options.log_format)

    def _feed_watchdog(self) -> None:
        if self._notifier.watchdog_s and self._phase is not Phase.STOPPED:
            self._notifier.watchdog()
            asyncio.get_running_loop().call_later(self._notifier.watchdog_s / 2, self._feed_watchdog)

    def _tell_status(self) -> None:
        if self._phase is Phase.SERVING:
            self._notifier.status(self._status_text())
            asyncio.get_running_loop().call_later(STATUS_INTERVAL_S, self._tell_status)

    def _status_text(self) -> str:
        runner, scheduler = self._service.runner, self._service.pool.scheduler
        return (
            f"serving on {', '.join(self._addresses())}; {runner.started_total} executions started, "
            f"{scheduler.running} running, {scheduler.waiting} waiting"
        )

    def _readiness(self) -> tuple[int, dict[str, Any]]:
        if self._phase is not Phase.SERVING:
            return 503, {"status": self._phase.value}
        faults = sum(not fault.is_warning for fault in self._service.snapshot.faults)
        faults += bool(self._service.store.fault)
        return (200, {"status": "degraded", "faults": faults}) if faults else (200, {"status": "ready"})

    # ---- the end -----------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """CONTRACT 4: stop accepting, answer what is in flight up to drain_s, hand out 202s for the rest."""
        service = self._service
        drain_s = service.options.drain_s
        self._move(Phase.DRAINING)
        log.info("stopping; up to %g s for what is in flight", drain_s)
        self._notifier.stopping("draining")
        self._notifier.extend_timeout(drain_s + LAST_ANSWERS_S + 10)
        service.runner.begin_drain()
        loop = asyncio.get_running_loop()
        drained = loop.create_task(self._server.drain())
        idle = loop.create_task(service.runner.wait_idle())
        urgent = loop.create_task(self._stop_now.wait())
        everything = loop.create_task(_all(drained, idle))
        await asyncio.wait([everything, urgent], timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
        for live in service.runner.lives():
            if live.stop_waiting is not None:
                live.stop_waiting(live)
            live.release_waiters()
        # The last answers are on their way; their readers get a moment.
        await asyncio.wait([drained], timeout=LAST_ANSWERS_S)
        urgent.cancel()
        everything.cancel()
        await asyncio.gather(everything, urgent, return_exceptions=True)
        await self._server.close()
        await self._control.close()
        left = len(service.runner.lives())
        if left:
            log.info("%d executions have not ended and run again at the next start", left)


async def _all(*tasks: asyncio.Task[None]) -> None:
    await asyncio.gather(*tasks)


def _raise_descriptor_limit() -> None:
    """Each connection and each worker takes descriptors; the soft limit is often 1024 for select(2)'s sake alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
