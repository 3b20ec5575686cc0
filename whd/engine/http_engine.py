"""An Engine with HTTP in front of it: what serves calls, alone in the daemon or as one front among several."""

from __future__ import annotations

import asyncio
import enum
import gc
import logging
import resource
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from ..handlers.app import App
from ..handlers.context import HandlerContext
from ..http.listeners import PUBLIC, ListenAddress
from ..http.server import Server
from ..model.snapshot import Snapshot
from .engine import Engine
from .status import readiness

log = logging.getLogger("whd.daemon")

# After the last answer was handed to a connection, how long its client may take to read it.
LAST_ANSWERS_S = 2.0


class EnginePhase(enum.Enum):
    """The life of a daemon, and of each front. ENGINE_PHASES says what may follow what."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


ENGINE_PHASES: dict[EnginePhase, frozenset[EnginePhase]] = {
    EnginePhase.STARTING: frozenset({EnginePhase.SERVING, EnginePhase.STOPPED}),
    EnginePhase.SERVING: frozenset({EnginePhase.DRAINING, EnginePhase.STOPPED}),
    EnginePhase.DRAINING: frozenset({EnginePhase.STOPPED}),
    EnginePhase.STOPPED: frozenset(),
}


# The addresses to listen on, asked for with the settings at hand.
Addresses = Callable[[Snapshot], Sequence[ListenAddress]]


class HttpEngine:
    """Made by `open`; its owner moves it to SERVING and drains it. `when_lost`: called when a connection ended."""

    def __init__(self, engine: Engine, when_lost: Callable[[], None] | None) -> None:
        self.engine = engine
        self.phase = EnginePhase.STARTING
        context = HandlerContext(
            engine.loop,
            engine.reloader,
            engine.runner,
            engine.lookup,
            engine.pool,
            self._readiness,
            engine.store.deliveries,
            engine.call_counts,
        )
        self.server = Server({PUBLIC: App(context)}, lambda: engine.options, engine.budget, when_lost=when_lost)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, engine: Engine, addresses: Addresses, *, when_lost: Callable[[], None] | None = None
    ) -> AsyncIterator[Self]:
        """Listens on `addresses`; at the end ends what is left of the connections. Raises ConfigError."""
        opened = cls(engine, when_lost)
        try:
            await opened.server.start(addresses(engine.snapshot))
            _spare_the_collector()
            yield opened
        finally:
            await opened.server.close()
            opened.move(EnginePhase.STOPPED)

    def move(self, phase: EnginePhase) -> None:
        """Changes the phase along ENGINE_PHASES; anything else is a defect."""
        if phase not in ENGINE_PHASES[self.phase]:
            raise AssertionError(f"{self.phase.name} to {phase.name}")
        self.phase = phase

    def _readiness(self) -> tuple[int, dict[str, Any]]:
        if self.phase is not EnginePhase.SERVING:
            return 503, {"status": self.phase.value}
        store, saved = self.engine.store, self.engine.saved
        state_faults = bool(store.fault) + bool(saved.fault)
        return readiness(self.engine.snapshot, state_faults, is_detached=store.is_detached or saved.is_detached)

    async def drain(self, stop_now: asyncio.Event) -> None:
        """CONTRACT 4: stop accepting, answer what is in flight up to drain_s, hand out 202s for the rest.

        `stop_now`: as if drain_s were over.
        """
        engine = self.engine
        self.move(EnginePhase.DRAINING)
        engine.runner.begin_drain()
        loop = engine.loop
        drained = loop.create_task(self.server.drain())
        idle = loop.create_task(engine.runner.wait_idle())
        urgent = loop.create_task(stop_now.wait())
        everything = loop.create_task(_all(drained, idle))
        await asyncio.wait([everything, urgent], timeout=engine.options.drain_s, return_when=asyncio.FIRST_COMPLETED)
        engine.runner.release_waiters()
        engine.lookup.release_waiters()
        # The last answers are on their way; their readers get a moment.
        await asyncio.wait([drained], timeout=LAST_ANSWERS_S)
        urgent.cancel()
        everything.cancel()
        await asyncio.gather(everything, urgent, return_exceptions=True)
        await self.server.close()


async def _all(*tasks: asyncio.Task[None]) -> None:
    await asyncio.gather(*tasks)


def _spare_the_collector() -> None:
    # What the start made lives as long as the daemon: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    # What a call makes is mostly gone when it has its answer and its record is written; the default of 700 objects has
    # the collector look at much that will be.
    gc.set_threshold(10_000, 20, 20)


def raise_descriptor_limit() -> None:
    """Each connection and each worker takes descriptors; the soft limit is often 1024 for select(2)'s sake alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
