"""The daemon without its listeners: settings, store, pool, broker, runner, wired.

`whd serve` puts HTTP and the control socket in front of it; `whd run` and the like, when no daemon runs, use it alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass

from ..broker import Broker
from ..broker.executions import ExecutionCalls
from ..broker.files import FileCalls
from ..broker.rest import RestCalls
from ..broker.settings import SettingCalls
from ..executions.lookup import Lookup
from ..executions.reruns import Reruns
from ..executions.runner import Runner
from ..handlers.counts import CallCounts
from ..model.budget import BufferBudget
from ..model.options import Options
from ..model.snapshot import Snapshot
from ..pool.pool import Pool
from ..pool.quota import PoolQuota, WholeQuota
from ..rest import RestClient
from ..saved import SavedRecords
from ..settings.reload import Reloader
from ..store.interface import ExecutionStore
from .report import (
    CallsReport,
    ExecutionsReport,
    Report,
    WorkersReport,
    fault_texts,
    settings_report,
    watch_report,
)
from .shared import Shared, open_local
from .state import Paths, StateLock
from .vetting import VettedSettings

log = logging.getLogger("whd.daemon")


@dataclass(frozen=True, slots=True)
class Engine:
    """All parts, up from `open` to its end."""

    loop: asyncio.AbstractEventLoop
    paths: Paths
    reloader: Reloader
    shared: Shared
    pool: Pool
    broker: Broker
    runner: Runner
    lookup: Lookup
    reruns: Reruns
    rest: RestClient
    call_counts: CallCounts

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        paths: Paths,
        settings: VettedSettings,
        shared: AbstractAsyncContextManager[Shared],
        quota: PoolQuota,
        *,
        serves: bool,
    ) -> AsyncIterator[Engine]:
        """Brings all parts up in order and takes them down in reverse, also when one of them does not come up.

        `shared` is entered once the settings are read. `serves`: runs what a stop interrupted, and compiles all flows.
        Raises ConfigError or StateError; at the end StateError if records were lost.
        """
        async with AsyncExitStack() as stack:
            stack.callback(settings.close)
            await settings.reloader.start()
            engine = _wire(paths, settings.reloader, await stack.enter_async_context(shared), quota)
            stack.push_async_callback(engine.pool.close)
            stack.push_async_callback(engine.rest.close)
            stack.callback(engine.runner.close)
            # Here too, which is before the pool goes down: no change of the settings is to reach it after that.
            stack.callback(settings.close)
            await engine.pool.start()
            engine.reloader.on_swap.append(engine._on_swap)
            settings.vet_with(engine.pool.compiler, in_background=serves)
            if serves:
                count = await engine.reruns.resume()
                if count:
                    log.info("%d executions that a stop interrupted run again", count)
            yield engine

    @property
    def snapshot(self) -> Snapshot:
        """The present snapshot."""
        return self.reloader.snapshot

    @property
    def options(self) -> Options:
        """The present options."""
        return self.reloader.snapshot.options

    @property
    def budget(self) -> BufferBudget:
        """Counts against max_buffered_bytes."""
        return self.shared.budget

    @property
    def store(self) -> ExecutionStore:
        """All executions."""
        return self.shared.store

    @property
    def saved(self) -> SavedRecords:
        """What flows saved."""
        return self.shared.saved

    def report(self) -> Report:
        """What this process has counted, and how it is."""
        pool, snapshot = self.pool, self.snapshot
        return Report(
            settings=settings_report(snapshot),
            watch=watch_report(self.reloader.watched_count, self.reloader.polled),
            executions=ExecutionsReport(
                started=self.runner.started_total,
                active=self.runner.active_count,
                running=pool.scheduler.running,
                waiting=pool.scheduler.waiting,
                slots=pool.scheduler.slots,
                fenced=self.runner.fenced_total,
            ),
            workers=WorkersReport(
                **pool.processes.counts(),
                forked=pool.processes.forked_total,
                killed=pool.killed_total,
                prefetched=pool.prefetch.prefetched_total,
                revoked=pool.prefetch.revoked_total,
            ),
            store=self.store.counters(),
            saved_fault=self.saved.fault,
            refused_calls=self.broker.refused_total,
            calls=CallsReport(**asdict(self.call_counts)),
            buffered_bytes=self.budget.used_bytes,
            faults=fault_texts(snapshot),
            layers=tuple(pool.processes.layers),
        )

    def _on_swap(self, old: Snapshot, new: Snapshot) -> None:
        if old.options != new.options:
            self.pool.set_options()
        self.pool.compiler.keep(new.clients.values())


def _wire(paths: Paths, reloader: Reloader, shared: Shared, quota: PoolQuota) -> Engine:
    loop = asyncio.get_running_loop()
    budget, store, saved = shared.budget, shared.store, shared.saved

    def snapshot() -> Snapshot:
        return reloader.snapshot

    pool = Pool(loop, lambda: reloader.snapshot.options, budget, quota)
    broker = Broker(loop, snapshot, pool, budget)
    runner = Runner(loop, pool, store, shared.queue, broker, budget)
    lookup = Lookup(runner, store, shared.remote_executions)
    reruns = Reruns(runner, lookup, shared.queue, store, snapshot)
    rest = RestClient(loop, budget=budget)
    settings = SettingCalls(broker, saved, shared.locks)
    broker.on_forget.append(settings.forget)
    broker.add(settings.table)
    broker.add(FileCalls(broker, saved).table)
    executions = ExecutionCalls(broker, runner, lookup, pool.payload_parser, budget)
    broker.add(executions.table)
    broker.add(RestCalls(broker, executions, runner, rest, pool.payload_parser).table)
    return Engine(loop, paths, reloader, shared, pool, broker, runner, lookup, reruns, rest, CallCounts())


@asynccontextmanager
async def open_engine(paths: Paths, *, serves: bool) -> AsyncIterator[Engine]:
    """The Engine of the one process that has state/, locked to its end. Raises as `Engine.open` does."""
    with StateLock(paths.state):
        settings = VettedSettings(paths)
        shared = open_local(paths, settings.reloader)
        async with Engine.open(paths, settings, shared, WholeQuota(), serves=serves) as engine:
            yield engine
