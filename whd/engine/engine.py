"""The daemon without its listeners: settings, store, pool, broker, runner, wired.

`whd serve` puts HTTP and the control socket in front of it; `whd run` and the like, when no daemon runs, use it alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from ..broker import Broker
from ..broker.executions import ExecutionCalls
from ..broker.files import FileCalls
from ..broker.rest import RestCalls
from ..broker.settings import SettingCalls
from ..executions.runner import Runner
from ..futures import value_of
from ..model.execution import Execution
from ..model.options import Limits, Options
from ..model.snapshot import Fault, Flow, Snapshot, User, Webhook
from ..pool.compiler import Code, refusal_faults
from ..pool.pool import Pool
from ..rest import RestClient
from ..settings.reload import Reloader
from .report import ExecutionsReport, Report, WorkersReport, fault_texts, settings_report
from .shared import LocalShared, Shared
from .state import Paths

__all__ = ["Engine", "Paths"]

log = logging.getLogger("whd.daemon")


class Engine:
    """All parts. `start` brings them up in order, `close` takes them down in reverse."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        paths: Paths,
        *,
        serves: bool,
        make_shared: Callable[[asyncio.AbstractEventLoop, Paths, Reloader], Shared] = LocalShared,
    ) -> None:
        self.loop = loop
        self.paths = paths
        self._serves = serves
        self._vetting: asyncio.Task[None] | None = None
        self.reloader = Reloader(str(paths.config), str(paths.flows), vet_flows=self._vet_flows)
        self.shared = make_shared(loop, paths, self.reloader)
        self.budget, self.store, self.saved = self.shared.budget, self.shared.store, self.shared.saved

    @property
    def snapshot(self) -> Snapshot:
        """The present snapshot."""
        return self.reloader.snapshot

    @property
    def options(self) -> Options:
        """The present options."""
        return self.reloader.snapshot.options

    async def start(self) -> None:
        """Brings everything up. Raises ConfigError or StateError; then `close` is still to be called."""
        shared = self.shared
        shared.enter()
        await self.reloader.start()
        await shared.open()
        self.pool = Pool(
            self.loop,
            shared.options_of_pool(lambda: self.options),
            self.budget,
            scheduler=shared.scheduler,
            share_worker_count=shared.share_worker_count,
            has_idle_elsewhere=shared.has_idle_elsewhere,
        )
        self.broker = Broker(self.loop, lambda: self.snapshot, self.pool, self.budget)
        settings = SettingCalls(self.broker, self.saved, shared.locks)
        self.broker.on_forget.append(settings.forget)
        self.broker.add(settings.table)
        self.broker.add(FileCalls(self.broker, self.saved).table)
        self.runner = Runner(
            self.loop, self.pool, self.store, self.broker, lambda: self.snapshot, self.budget, shared.remote_executions
        )
        executions = ExecutionCalls(self.broker, self.runner, self.pool.payload_parser, self.budget)
        self.broker.add(executions.table)
        self.rest = RestClient(self.loop, budget=self.budget)
        self.broker.add(RestCalls(self.broker, executions, self.runner, self.rest, self.pool.payload_parser).table)
        await self.pool.start(tells_layers=shared.is_first)
        self.reloader.on_swap.append(self._on_swap)
        self._vet_in_background()
        if self._serves:
            count = self.runner.resume_unfinished(await shared.unfinished(), self.limits_of)
            if count:
                log.info("%d executions that a stop interrupted run again", count)

    async def close(self) -> None:
        """Takes everything down; what the store still holds is written."""
        if self._vetting is not None:
            self._vetting.cancel()
        self.reloader.close()
        if hasattr(self, "runner"):
            self.runner.close()
            await self.rest.close()
            await self.pool.close()
        await self.shared.close()

    def _on_swap(self, old: Snapshot, new: Snapshot) -> None:
        if old.options != new.options:
            self.pool.set_options()
        self.pool.compiler.keep(flow for client in new.clients.values() for flow in client.flows.values())
        self._vet_in_background()

    def _vet_in_background(self) -> None:
        """Compiles what is not yet, one flow after the other, so that a fault is known before the first call."""
        if self._vetting is not None:
            self._vetting.cancel()
        if self._serves:
            self._vetting = self.loop.create_task(self._vet_all(self.snapshot))

    async def _vet_all(self, snapshot: Snapshot) -> None:
        for client in snapshot.clients.values():
            for flow in client.flows.values():
                if self.pool.compiler.known(flow) is None:
                    fault = await self.vet(flow)
                    if fault is not None:
                        self.reloader.flow_fault(flow, fault)

    async def _vet_flows(self, flows: Sequence[Flow]) -> Sequence[Fault | None]:
        """Compiles changed flows before they replace what serves now."""
        return await asyncio.gather(*(self.vet(flow) for flow in flows))

    async def vet(self, flow: Flow) -> Fault | None:
        """Compiles one flow; the fault that keeps it from serving, if any."""
        code: Code = await value_of(partial(self.pool.compiler.compile, flow))
        return refusal_faults(flow, code.refusal)[0] if code.refusal else None

    def report(self) -> Report:
        """What this process has counted and how it is, once it has started."""
        pool, snapshot = self.pool, self.snapshot
        return Report(
            settings=settings_report(snapshot),
            executions=ExecutionsReport(
                started=self.runner.started_total,
                active=len(self.runner.all_active()),
                running=pool.scheduler.running,
                waiting=pool.scheduler.waiting,
                slots=pool.scheduler.slots,
            ),
            workers=WorkersReport(
                **pool.processes.counts(),
                forked=pool.processes.forked_total,
                killed=pool.killed_total,
                prefetched=pool.prefetch.prefetched_total,
                revoked=pool.prefetch.revoked_total,
            ),
            store=self.store.counters(),
            refused_calls=self.broker.refused_total,
            buffered_bytes=self.budget.used_bytes,
            faults=fault_texts(snapshot),
            layers=tuple(pool.processes.layers),
        )

    def limits_of(self, execution: Execution, flow: Flow, user: User) -> tuple[Limits, str]:
        """Limits and isolation for an execution that comes from no request: its webhook's as it stands now."""
        snapshot = self.snapshot
        client = snapshot.clients.get(execution.client_name)
        webhook = client.webhooks.get(execution.webhook_name) if client is not None else None
        is_strict = user.isolation == "execution"
        if isinstance(webhook, Webhook):
            return webhook.limits, "execution" if is_strict else webhook.isolation
        return snapshot.options, "execution" if is_strict else snapshot.options.isolation
