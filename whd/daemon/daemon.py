"""`whd serve`: what serves, with the control socket and the service manager beside it, from start to drain.

What serves is an HttpEngine in this process or, with more than one of `processes`, a Hub with its fronts (fronts/).
Signal handlers only set events; one coroutine, `run`, goes through the lifecycle.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import uvloop

from .. import __version__
from .. import log as log_module
from ..admin.operations import Admin
from ..admin.server import ControlServer
from ..engine.engine import Engine, open_engine
from ..engine.http_engine import Addresses, EnginePhase, HttpEngine, raise_descriptor_limit
from ..engine.report import Report
from ..engine.state import Paths
from ..engine.status import service_line
from ..errors import WhdError
from ..fronts.hub import Hub
from ..fronts.partition import front_count
from ..http.listeners import PUBLIC, ListenAddress
from ..model.options import Options
from ..model.snapshot import Snapshot
from ..pool.cores import core_count
from ..settings.parse import parse_options
from ..settings.reload import Reloader
from .first_steps import first_steps
from .systemd import Notifier, take_listen_sockets

log = logging.getLogger("whd.daemon")

STATUS_INTERVAL_S = 10.0

# SIGQUIT and SIGUSR1 as other servers have them (nginx, haproxy): logrotate's and admins' habits must end no daemon.
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
RELOAD_SIGNALS: Final = (signal.SIGHUP, signal.SIGUSR1)


class Serving(Protocol):
    """What serves, from the start to the end of what it was opened in: SingleProcess or Hub."""

    reloader: Reloader
    phase: EnginePhase

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""

    def move(self, phase: EnginePhase) -> None:
        """Changes the phase along ENGINE_PHASES."""

    async def reload(self) -> None:
        """Reads every file again."""

    async def dispatch(self, command: str, arguments: dict[str, Any]) -> Any:
        """An operation of the control socket. Raises WhdError."""

    def report(self) -> Report:
        """What can be said at once, without asking another process."""

    async def drain(self, stop_now: asyncio.Event) -> None:
        """CONTRACT 4: accepts no more and answers what is in flight, up to drain_s or until `stop_now`."""


class SingleProcess(HttpEngine):
    """Serves in this process."""

    def __init__(self, engine: Engine, when_lost: Callable[[], None] | None) -> None:
        super().__init__(engine, when_lost)
        self.reloader = engine.reloader
        self._admin = Admin(engine, addresses=lambda: self.addresses)

    @property
    def addresses(self) -> list[str]:
        return list(self.server.addresses)

    async def reload(self) -> None:
        await self.reloader.reload(force=True)

    async def dispatch(self, command: str, arguments: dict[str, Any]) -> Any:
        return await self._admin.dispatch(command, arguments)

    def report(self) -> Report:
        return self.engine.report()


@asynccontextmanager
async def _open_single(paths: Paths, addresses: Addresses) -> AsyncIterator[Serving]:
    async with open_engine(paths, serves=True) as engine, SingleProcess.open(engine, addresses) as single:
        yield single


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
        # From the moment that it listens; before that there is nothing that signals or timers could ask of it.
        self._serving: Serving | None = None
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """From start to end; the command's exit status. Raises ConfigError or StateError."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop)
        for number in RELOAD_SIGNALS:
            loop.add_signal_handler(number, self._on_reload)
        loop.add_signal_handler(signal.SIGUSR2, _on_reopen)
        raise_descriptor_limit()
        async with self._open_serving() as serving:
            self._serving = serving
            serving.reloader.on_swap.append(self._on_swap)
            control = ControlServer(self._paths.state, serving.dispatch)
            await control.start()
            try:
                self._announce(serving)
                hints = asyncio.get_running_loop().create_task(self._show_first_steps(serving))
                await self._stop.wait()
                hints.cancel()
                await self._drain(serving)
            finally:
                await control.close()
        log.info("stopped")
        return 0

    def _open_serving(self) -> AbstractAsyncContextManager[Serving]:
        given = [ListenAddress(entry.socket, entry.name or PUBLIC) for entry in take_listen_sockets()]

        def addresses(snapshot: Snapshot) -> list[ListenAddress]:
            self._configure_log(snapshot)
            return given or [ListenAddress(address) for address in self._listen or snapshot.options.listen]

        fronts = front_count(_options(self._paths.config), core_count())
        if fronts > 1:
            return Hub.open(self._paths, fronts, addresses)
        return _open_single(self._paths, addresses)

    def _announce(self, serving: Serving) -> None:
        serving.move(EnginePhase.SERVING)
        log.info("whd %s listens on %s", __version__, ", ".join(serving.addresses))
        self._notifier.ready(_status_text(serving))
        self._tell_status(serving)
        self._feed_watchdog()

    async def _show_first_steps(self, serving: Serving) -> None:
        try:
            example = await serving.dispatch("webhooks.example", {})
        except WhdError as error:
            log.debug("no webhook to call was found: %s", error)
            return
        for line in first_steps(example, serving.addresses, self._paths.command_line):
            log.info("%s", line)

    # ---- signals and the service manager -----------------------------------------------------------------------------

    def _on_stop(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    def _on_reload(self) -> None:
        serving = self._serving
        if serving is not None and serving.phase is EnginePhase.SERVING:
            task = asyncio.get_running_loop().create_task(self._reload(serving))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reload(self, serving: Serving) -> None:
        self._notifier.reloading()
        await serving.reload()
        self._notifier.ready(_status_text(serving))

    def _on_swap(self, old: Snapshot, new: Snapshot) -> None:
        self._configure_log(new)

    def _configure_log(self, snapshot: Snapshot) -> None:
        self._logs.reconfigure(level=snapshot.options.log_level, format=snapshot.options.log_format)

    def _feed_watchdog(self) -> None:
        if self._notifier.watchdog_s:
            self._notifier.watchdog()
            asyncio.get_running_loop().call_later(self._notifier.watchdog_s / 2, self._feed_watchdog)

    def _tell_status(self, serving: Serving) -> None:
        if serving.phase is EnginePhase.SERVING:
            self._notifier.status(_status_text(serving))
            asyncio.get_running_loop().call_later(STATUS_INTERVAL_S, self._tell_status, serving)

    # ---- the end -----------------------------------------------------------------------------------------------------

    async def _drain(self, serving: Serving) -> None:
        drain_s = serving.reloader.snapshot.options.drain_s
        log.info("stopping; up to %g s for what is in flight", drain_s)
        self._notifier.stopping("draining")
        self._notifier.extend_timeout(drain_s + 12)
        await serving.drain(self._stop_now)
        left = serving.report().executions.active
        if left:
            log.info("%d executions have not ended and run again at the next start", left)


def _on_reopen() -> None:
    log.info("SIGUSR2 is ignored: whd logs to standard error and has no files to reopen; SIGHUP or SIGUSR1 reloads")


def _status_text(serving: Serving) -> str:
    return service_line(serving.report(), serving.addresses)


def _options(config: Path) -> Options:
    """whd.yaml as it stands, for what must be known before all else; its faults are logged when it is read again."""
    path = config / "whd.yaml"
    try:
        options, _faults = parse_options(path.read_bytes(), str(path))
    except OSError:
        options = None
    return options or Options()
