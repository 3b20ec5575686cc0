"""The life of executions in this process: started, running, ended, cancelled, disowned, drained.

What is active is here in memory, what ended is in the store; lookup.py looks in both. The pool runs, the broker answers
what flows ask for, the store keeps; this module joins them and knows nothing of HTTP. What runs again comes from
reruns.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ..auth.permissions import Action, PermissionDenied, authorize
from ..errors import Draining, Forbidden, Misconfigured, Overloaded
from ..model.budget import BufferBudget
from ..model.execution import Cause, Event, Execution, Status, new_id, shared_names_json
from ..model.options import Limits
from ..model.snapshot import Flow, Snapshot, User
from ..pool.job import End, Job, JobListener, JobState
from ..pool.pool import Pool
from ..store.interface import ExecutionStore
from .active import DISOWNED, ActiveExecution
from .family import Child, Family
from .protection import Protection
from .queue import Queue
from .responses import response_to_json
from .sync_waiters import SyncWaiters

log = logging.getLogger("whd.executions")

# A sync execution that ends sooner is written once, when it ended; a longer one also while it runs, so that a restart
# finds it. Well below the second within which everything is to be in the store.
SAVE_INTERVAL_S = 0.25
# A record of that size is a large one.
LARGE_BYTES = 65_536

_EVENTS = {
    Status.ENDED_SUCCESS: Event.SUCCEED,
    Status.ENDED_ERROR: Event.FAIL,
    Status.ENDED_CANCELLED: Event.CANCEL,
}


class Calls(Protocol):
    """Who does what running flows ask for: the broker."""

    def handle(self, execution: Execution, job: Job, number: int, name: str, arguments: Any, raw: bytes = b"") -> None:
        """One call of a running flow, answered through the pool now or later."""

    def forget(self, job: Job) -> None:
        """The job ended: nothing more is done for it, and what it holds is released."""


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class Runner(JobListener):
    """All executions of one process; hears from the pool how their jobs go."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        store: ExecutionStore,
        queue: Queue,
        calls: Calls,
        budget: BufferBudget,
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._store = store
        self._queue = queue
        self._calls = calls
        self._budget = budget
        self._active: dict[str, ActiveExecution] = {}
        self._jobs: dict[Job, ActiveExecution] = {}
        self._accepting: dict[str, int] = {}
        self._saver: asyncio.TimerHandle | None = None
        self._sync_waiters = SyncWaiters(loop)
        self._idle_waiters: list[asyncio.Future[None]] = []
        self.is_draining = False
        self.started_total = 0
        # Attempts whose end was dropped: overtaken or disowned.
        self.fenced_total = 0

    # ---- starting ----------------------------------------------------------------------------------------------------

    def resolve(self, snapshot: Snapshot, client_name: str, flow_name: str, user_name: str) -> tuple[Flow, User]:
        """Flow and user of a call, with the permission checked. Raises Misconfigured or Forbidden."""
        client = snapshot.clients.get(client_name)
        flow = client.flows.get(flow_name) if client is not None else None
        user = client.users.get(user_name) if client is not None else None
        if flow is None or user is None:
            what = f"flow {flow_name!r}" if flow is None else f"user {user_name!r}"
            raise Misconfigured("the webhook is misconfigured", log_detail=f"{client_name}: {what} does not exist")
        try:
            authorize(user, Action.RUN_FLOW, flow_name)
        except PermissionDenied as error:
            log.warning("%s: %s", client_name, error)
            raise Forbidden("the webhook's user may not run its flow", log_detail=str(error)) from None
        return flow, user

    def prepare(self, execution: Execution, flow: Flow, limits: Limits, isolation: str) -> ActiveExecution:
        """A new execution, not started yet; its id and time are stamped here."""
        execution.created_ms = now_ms()
        execution.id = new_id(execution.created_ms)
        execution.root_id = execution.root_id or execution.id
        execution.script_hash = flow.script_hash
        return ActiveExecution(execution, flow, limits, isolation)

    def prepare_child(
        self, execution: Execution, flow: Flow, parent: ActiveExecution, protection: Protection | None, kinds_json: str
    ) -> ActiveExecution:
        """`prepare` for a child, within its parent's limits. `protection`, `kinds_json`: see ActiveExecution."""
        child = self.prepare(execution, flow, parent.limits, parent.isolation)
        if protection is not None:
            # Its parent names it. It is seen long before the child itself writes something, and in its parent's errors.
            execution.name = protection.text(execution.name)
        if protection is None and not kinds_json:
            return child
        return replace(child, protection=protection, kinds_json=kinds_json)

    def start(
        self,
        active: ActiveExecution,
        waiter: Callable[[ActiveExecution], None],
        stop_waiting: Callable[[ActiveExecution], None] | None = None,
    ) -> None:
        """Starts a sync execution; `waiter` hears of its end. Raises Overloaded or Draining, then nothing started.

        `stop_waiting` is called if it has not ended after wait_s, or when the daemon stops.
        """
        self._check_room(active)
        active.stop_waiting = stop_waiting
        active.add_waiter(waiter)
        self._admit(active)
        self._sync_waiters.add(active)
        self._submit(active, is_first=False)

    def start_async(self, active: ActiveExecution, done: Callable[[Exception | None], None]) -> None:
        """Writes the execution down, calls `done`, then starts it. Raises Overloaded or Draining.

        `done` gets None once the record is on disk, or what kept it from there; then nothing starts.
        """
        self._check_room(active)
        execution = active.execution
        execution.is_async = True
        client_name = execution.client_name
        self._accepting[client_name] = self._accepting.get(client_name, 0) + 1
        self._admit(active)

        def accepted(error: Exception | None) -> None:
            self._accepting[client_name] -= 1
            if not self._accepting[client_name]:
                del self._accepting[client_name]
            if error is not None:
                self._forget(active)
                done(error)
                return
            active.saved_status = Status.PENDING
            done(None)
            if execution.status.is_ended or active.epoch == DISOWNED:
                return
            if self.is_draining:
                # On disk, like what waits for a slot when the drain begins: the next start runs it.
                self._forget(active)
                active.release_waiters()
            else:
                self._submit(active, is_first=False)

        self._store.accept(execution, active.flow.script, accepted)

    def _check_room(self, active: ActiveExecution) -> None:
        if self.is_draining:
            raise Draining("the daemon is stopping")
        client_name = active.execution.client_name
        scheduler = self._pool.scheduler
        if self._store.is_full:
            raise Overloaded("executions cannot be written down fast enough", log_detail=self._store.fault)
        scheduler.check_queue(client_name, self._accepting.get(client_name, 0))
        size = len(active.execution.input_json)
        if not self._budget.take(size):
            raise Overloaded(
                "too many payloads are waiting (max_buffered_bytes)", retry_after_s=scheduler.retry_after_s()
            )
        active.counted_bytes = size

    def _admit(self, active: ActiveExecution) -> None:
        self.started_total += 1
        self._active[active.execution.id] = active
        if self._saver is None:
            self._saver = self._loop.call_later(SAVE_INTERVAL_S, self._save_unsaved)

    def start_child(
        self, active: ActiveExecution, parent: ActiveExecution, waiter: Callable[[ActiveExecution], None]
    ) -> None:
        """Starts a prepared execution below another; `waiter` hears of its end. Its limits were checked before."""
        execution = active.execution
        execution.parent_id = parent.execution.id
        execution.root_id = parent.execution.root_id
        execution.key_webhook_name = parent.execution.key_webhook_name
        active.join(parent)
        active.add_waiter(waiter)
        self._admit(active)

    def count_input(self, active: ActiveExecution) -> bool:
        """Counts a prepared execution's input as waiting; False if max_buffered_bytes has no room for it."""
        size = len(active.execution.input_json)
        if not self._budget.take(size):
            return False
        active.counted_bytes = size
        return True

    def run_child(self, active: ActiveExecution) -> None:
        """Hands a started child that is a flow to the pool."""
        self._submit(active, is_first=True)

    def run_claimed(self, active: ActiveExecution) -> None:
        """Runs what was claimed from the queue and may run again."""
        self._admit(active)
        self._submit(active, is_first=True)

    def run_task(self, active: ActiveExecution, start: Callable[[], Callable[[], None]]) -> None:
        """A started child that is no flow begins: `start` begins it and gives what cancels it. See `end_task`."""
        active.execution.apply(Event.START, now_ms=now_ms())
        active.cancel_task = start()

    def end_task(self, active: ActiveExecution, status: Status, message: str, output_json: bytes) -> None:
        """An execution that is no flow ended. Harmless when it was cancelled meanwhile."""
        execution = active.execution
        if execution.status.is_ended:
            return
        execution.message, execution.output_json = message, output_json
        if active.protection is not None:
            active.protection.cover(execution, has_output=True)
        execution.apply(_EVENTS[status], now_ms=now_ms())
        self._ended(active)

    def end_by_limit(self, active: ActiveExecution, text: str) -> None:
        """Ends a running flow that went past a limit which the daemon counts."""
        if active.job is not None:
            self._pool.cancel(active.job, End(Status.ENDED_ERROR, text, Cause.LIMIT))

    def save_running(
        self, active: ActiveExecution, message: str | None, name: str | None, output_json: bytes | None
    ) -> None:
        """A running flow writes to its own record; None leaves what is there."""
        execution = active.execution
        execution.message = execution.message if message is None else message
        execution.name = execution.name if name is None else name
        execution.output_json = execution.output_json if output_json is None else output_json
        if active.protection is not None:
            active.protection.cover(execution, has_output=output_json is not None)
        active.saved_status = None

    def _submit(self, active: ActiveExecution, *, is_first: bool) -> None:
        execution = active.execution
        about_json = shared_names_json(execution)
        if active.kinds_json:
            about_json += f',"kinds":{active.kinds_json}'
        job = active.job = Job(
            execution.client_name,
            execution.user_name,
            active.flow,
            active.limits,
            active.isolation,
            execution.input_json if active.protection is None else active.protection.input_json,
            execution.id,
            execution.created_ms,
            about_json,
            self,
            name=execution.name,
            is_child=execution.parent_id != "",
            is_first=is_first,
        )
        self._jobs[job] = active
        self._pool.submit(job)

    # ---- JobListener -------------------------------------------------------------------------------------------------

    def on_start(self, job: Job) -> None:
        active = self._jobs[job]
        self._uncount(active)
        execution = active.execution
        if active.flow.library is not None and job.code is not None:
            active.run_with_modules(job.code.flow)
        execution.apply(Event.START, now_ms=now_ms())

    def on_postponed(self, job: Job) -> None:
        active = self._jobs[job]
        self.count_input(active)
        execution = active.execution
        execution.apply(Event.REQUEUE, now_ms=now_ms())
        execution.attempts -= 1  # it was none

    def on_log(self, job: Job, lines_json: bytes) -> None:
        active = self._jobs[job]
        if active.protection is not None:
            lines_json = active.protection.json(lines_json)
        active.execution.log.append(lines_json)

    def on_call(self, job: Job, call: int, name: str, arguments: Any, raw: bytes) -> None:
        self._calls.handle(self._jobs[job].execution, job, call, name, arguments, raw)

    def on_end(self, job: Job, end: End) -> None:
        active = self._jobs.pop(job)
        execution = active.execution
        if job.calls:
            self._calls.forget(job)
        if active.epoch and not self.finish_claim(execution, active.epoch):
            self._drop(active)
            return
        execution.cause = end.cause
        execution.message = end.message
        if end.output_json is not None:
            execution.output_json = end.output_json
        execution.name = end.name or execution.name
        if active.protection is not None:
            active.protection.cover(execution, has_output=end.output_json is not None)
        active.response = end.response
        if end.response is not None and execution.delivery:
            execution.response_json = response_to_json(end.response)
        execution.apply(_EVENTS[end.status], now_ms=now_ms())
        self._ended(active)

    def _ended(self, active: ActiveExecution) -> None:
        if active.known_family is not None:
            self._cancel_awaited(active.known_family)
        execution = active.execution
        self._store.save_nowait(execution, active.flow.script)
        active.saved_status = execution.status
        if len(execution.input_json) + len(execution.output_json) > LARGE_BYTES:
            # Callers that send much are not answered faster than the disk takes it; else they would be refused soon.
            self._store.when_room(partial(self._release, active))
        else:
            self._release(active)

    def keep_output(self, parent: ActiveExecution, known: Child, child: ActiveExecution) -> None:
        """A protected child ended: its parent may ask for what it put out, which the record does not have."""
        protection = child.protection
        if protection is None or not protection.output_json or self._active.get(parent.execution.id) is not parent:
            return
        size = len(protection.output_json)
        if self._budget.take(size):
            known.output_json = protection.output_json
            parent.family.kept_bytes += size
        else:
            known.is_output_lost = True

    def _cancel_awaited(self, family: Family) -> None:
        for child_id in family.awaited:
            child = self._active.get(child_id)
            if child is not None:
                self.cancel(child, "its parent ended while it waited for it")

    def _release(self, active: ActiveExecution) -> None:
        self._forget(active)
        active.release_waiters()

    def _forget(self, active: ActiveExecution) -> None:
        self._uncount(active)
        if active.known_family is not None:
            self._budget.give(active.known_family.kept_bytes)
            active.known_family.kept_bytes = 0
        self._sync_waiters.until.pop(active, None)
        self._active.pop(active.execution.id, None)
        if not self._active:
            for future in self._idle_waiters:
                if not future.done():
                    future.set_result(None)
            self._idle_waiters.clear()

    def _uncount(self, active: ActiveExecution) -> None:
        if active.counted_bytes:
            self._budget.give(active.counted_bytes)
            active.counted_bytes = 0

    def _save_unsaved(self) -> None:
        """Writes down what has been alive for a while and is not in the store as it stands."""
        self._saver = self._loop.call_later(SAVE_INTERVAL_S, self._save_unsaved) if self._active else None
        old = now_ms() - int(SAVE_INTERVAL_S * 1000)
        for active in self._active.values():
            execution = active.execution
            is_accepting = execution.is_async and active.saved_status is None
            if active.saved_status is not execution.status and execution.created_ms <= old and not is_accepting:
                active.saved_status = execution.status
                self._store.save_nowait(execution, active.flow.script)

    # ---- what is active, and ending it -------------------------------------------------------------------------------

    def find_active(self, execution_id: str) -> ActiveExecution | None:
        """An execution that has not ended."""
        return self._active.get(execution_id)

    def list_active(self) -> list[ActiveExecution]:
        """All that have not ended."""
        return list(self._active.values())

    @property
    def active_count(self) -> int:
        """How many have not ended."""
        return len(self._active)

    def accepting_of(self, client_name: str) -> int:
        """How many of a client's calls are being written down, and start then."""
        return self._accepting.get(client_name, 0)

    def make_async(self, active: ActiveExecution, done: Callable[[Exception | None], None]) -> None:
        """A sync caller waits no longer: from now on the execution survives a restart. `done` as in start_async."""
        active.execution.is_async = True
        active.saved_status = active.execution.status
        self._store.accept(active.execution, active.flow.script, done)

    def cancel(self, active: ActiveExecution, message: str) -> None:
        """Ends an execution that has not ended: ENDED_CANCELLED."""
        if active.job is not None and active.job.state is not JobState.ENDED:
            self._pool.cancel(active.job, End(Status.ENDED_CANCELLED, message))
        elif not active.execution.status.is_ended:
            if active.cancel_task is not None:
                active.cancel_task()
            active.execution.message = message
            active.execution.apply(Event.CANCEL, now_ms=now_ms())
            self._ended(active)

    # ---- claims ------------------------------------------------------------------------------------------------------

    def finish_claim(self, execution: Execution, epoch: int) -> bool:
        """A claimed execution ends. False: its end is not this node's to write, which is counted and logged."""
        if epoch != DISOWNED and self._queue.finish(execution.id, epoch):
            return True
        self.fenced_total += 1
        why = "it was disowned" if epoch == DISOWNED else f"its claim (epoch {epoch}) was overtaken"
        log.warning("%s: the end of execution %s is dropped: %s", execution.client_name, execution.id, why)
        return False

    def disown(self, execution_ids: Iterable[str]) -> None:
        """Other nodes have these by now: those that are async end here without a record; who waits hears how it stands.

        Sync ones go on, since their callers wait for nobody else. With one node nothing calls this (Queue.renew).
        """
        for execution_id in execution_ids:
            active = self._active.get(execution_id)
            if active is None or active.execution.status.is_ended or not active.execution.is_async:
                continue
            active.epoch = DISOWNED
            if active.job is not None:
                self._pool.cancel(active.job, End(Status.ENDED_CANCELLED, ""))
            else:
                self._drop(active)

    def _drop(self, active: ActiveExecution) -> None:
        """Ends an attempt of which nothing is kept."""
        if active.known_family is not None:
            self._cancel_awaited(active.known_family)
        self._release(active)

    # ---- drain -------------------------------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """Nothing new starts; async executions that wait for a slot are left for the next start."""
        self.is_draining = True
        for job in self._pool.scheduler.waiting_jobs():
            active = self._jobs.get(job)
            if active is not None and job.state is JobState.QUEUED and active.execution.is_async and not active.waiters:
                del self._jobs[job]
                self._pool.withdraw(job)
                if active.epoch:
                    self._queue.release(active.execution.id, active.epoch)
                self._forget(active)

    async def wait_idle(self) -> None:
        """Waits until nothing is active any more."""
        if self._active:
            future: asyncio.Future[None] = self._loop.create_future()
            self._idle_waiters.append(future)
            await future

    def release_waiters(self) -> None:
        """The drain's end: sync callers get a 202, all others who wait for an end the record as it stands."""
        for active in self.list_active():
            if active.stop_waiting is not None:
                active.stop_waiting(active)
            active.release_waiters()

    def close(self) -> None:
        """Stops the timers; the pool and the store are closed by their owner."""
        if self._saver is not None:
            self._saver.cancel()
        self._sync_waiters.close()
