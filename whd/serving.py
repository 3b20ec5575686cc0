"""A Service with HTTP in front of it: what serves calls, alone in the daemon or as one front among several."""

from __future__ import annotations

import asyncio
import enum
import gc
import logging
import resource
import socket
from collections.abc import Callable, Sequence
from typing import Any

from .app import App
from .handlers.context import Context
from .http.server import Server
from .service import Service

log = logging.getLogger("whd.daemon")

# After the last answer was handed to a connection, how long its client may take to read it.
LAST_ANSWERS_S = 2.0


class Phase(enum.Enum):
    """The life of a daemon, and of each front. PHASES says what may follow what."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.SERVING, Phase.STOPPED}),
    Phase.SERVING: frozenset({Phase.DRAINING, Phase.STOPPED}),
    Phase.DRAINING: frozenset({Phase.STOPPED}),
    Phase.STOPPED: frozenset(),
}


class Serving:
    """`start`, then `drain`, then `close`, which may also come alone. `when_lost`: called when a connection ended."""

    def __init__(self, service: Service, *, when_lost: Callable[[], None] | None = None) -> None:
        self.service = service
        self.phase = Phase.STARTING
        self._when_lost = when_lost

    def move(self, phase: Phase) -> None:
        """Changes the phase along PHASES; anything else is a defect."""
        if phase not in PHASES[self.phase]:
            raise AssertionError(f"{self.phase.name} to {phase.name}")
        self.phase = phase

    async def start(self, addresses: Callable[[], Sequence[str | socket.socket]]) -> None:
        """Starts the service, then listens on `addresses`, asked once the options are read; whoever calls moves on.

        Raises ConfigError or StateError; then `close` is still to be called.
        """
        service = self.service
        await service.start()
        context = Context(service.loop, service.reloader, service.runner, service.pool, self._readiness)
        self.server = Server(App(context), lambda: service.options, service.budget, when_lost=self._when_lost)
        await self.server.start(addresses())
        # What the start made lives as long as the daemon: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        # What a call makes is mostly gone when it has its answer and its record is written; the default of 700 objects
        # has the collector look at much that will be.
        gc.set_threshold(10_000, 20, 20)

    def _readiness(self) -> tuple[int, dict[str, Any]]:
        if self.phase is not Phase.SERVING:
            return 503, {"status": self.phase.value}
        faults = sum(not fault.is_warning for fault in self.service.snapshot.faults)
        faults += bool(self.service.store.fault)
        return (200, {"status": "degraded", "faults": faults}) if faults else (200, {"status": "ready"})

    async def drain(self, stop_now: asyncio.Event) -> None:
        """CONTRACT 4: stop accepting, answer what is in flight up to drain_s, hand out 202s for the rest.

        `stop_now`: as if drain_s were over.
        """
        service = self.service
        self.move(Phase.DRAINING)
        service.runner.begin_drain()
        loop = service.loop
        drained = loop.create_task(self.server.drain())
        idle = loop.create_task(service.runner.wait_idle())
        urgent = loop.create_task(stop_now.wait())
        everything = loop.create_task(_all(drained, idle))
        await asyncio.wait([everything, urgent], timeout=service.options.drain_s, return_when=asyncio.FIRST_COMPLETED)
        service.runner.release_waiters()
        # The last answers are on their way; their readers get a moment.
        await asyncio.wait([drained], timeout=LAST_ANSWERS_S)
        urgent.cancel()
        everything.cancel()
        await asyncio.gather(everything, urgent, return_exceptions=True)
        await self.server.close()

    async def close(self) -> None:
        """Takes everything down."""
        await self.service.close()
        self.move(Phase.STOPPED)


async def _all(*tasks: asyncio.Task[None]) -> None:
    await asyncio.gather(*tasks)


def raise_descriptor_limit() -> None:
    """Each connection and each worker takes descriptors; the soft limit is often 1024 for select(2)'s sake alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
