"""What a Runner works with, without processes and without a disk: a test moves each job and each record itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, cast

from tests.fakes.pool import FakePool
from whd.executions.active import ActiveExecution
from whd.executions.lookup import Lookup
from whd.executions.queue import Claim, Queue
from whd.executions.reruns import Reruns
from whd.executions.runner import Runner
from whd.model.budget import BufferBudget
from whd.model.execution import Execution, Status, new_id
from whd.model.options import Options
from whd.model.snapshot import Client, Flow, Snapshot, User
from whd.pool.job import Job
from whd.store.interface import Done, Stored

FLOW = Flow("acme", "fine", "def handler(system, this): pass", "hash", "fine.py")


class FakeStore:
    """Keeps each record as it was when it was saved.

    `accepting`: what is told when a record is on disk. `is_behind`: whoever asks for room is kept in `wants_room`.
    """

    fault = ""
    is_full = False

    def __init__(self) -> None:
        self.saved: list[Execution] = []
        self.accepting: list[Done] = []
        self.is_behind = False
        self.wants_room: list[Callable[[], None]] = []

    def accept(self, execution: Execution, script: str | None, done: Done) -> None:
        self.accepting.append(done)

    def save_nowait(self, execution: Execution, script: str | None) -> None:
        self.saved.append(replace(execution, log=list(execution.log)))

    def when_room(self, done: Callable[[], None]) -> None:
        if self.is_behind:
            self.wants_room.append(done)
        else:
            done()

    async def get(self, execution_id: str) -> Stored | None:
        found = [execution for execution in self.saved if execution.id == execution_id]
        return Stored(found[-1], FLOW.source) if found else None

    def ends(self) -> list[tuple[str, Status]]:
        """The ids of what was saved as ended, in that order."""
        return [(execution.id, execution.status) for execution in self.saved if execution.status.is_ended]


class NoQueue:
    """One that nothing may ask."""

    async def offer(self, stored: Stored) -> None:
        raise AssertionError("offer")

    async def claim(self, most: int) -> Sequence[Claim]:
        raise AssertionError("claim")

    async def renew(self) -> Sequence[str]:
        raise AssertionError("renew")

    def finish(self, execution_id: str, epoch: int) -> bool:
        raise AssertionError("finish")

    def release(self, execution_id: str, epoch: int) -> None:
        raise AssertionError("release")


class FakeCalls:
    """Keeps whose calls were forgotten."""

    def __init__(self) -> None:
        self.forgotten: list[Job] = []

    def handle(self, execution: Execution, job: Job, number: int, name: str, arguments: Any, raw: bytes = b"") -> None:
        raise AssertionError(name)

    def forget(self, job: Job) -> None:
        self.forgotten.append(job)


class RunnerScene:
    """A runner, what is around it, and the client acme, whose kevin may run the flow fine. Made on a running loop."""

    def __init__(self, queue: Queue | None = None) -> None:
        self.options = Options()
        # No job starts by itself.
        self.pool = FakePool(asyncio.get_running_loop())
        self.pool.is_held = True
        self.store, self.calls = FakeStore(), FakeCalls()
        self.budget = BufferBudget(lambda: self.options.max_buffered_bytes)
        queue = queue or NoQueue()
        self.runner = Runner(
            asyncio.get_running_loop(), cast(Any, self.pool), cast(Any, self.store), queue, self.calls, self.budget
        )
        kevin = User("kevin", flows=("*",))
        acme = Client("acme", {"kevin": kevin}, {"fine": FLOW}, {}, {})
        self.snapshot = Snapshot(self.options, {"acme": acme}, ())
        self.lookup = Lookup(self.runner, cast(Any, self.store), None)
        self.reruns = Reruns(self.runner, self.lookup, queue, cast(Any, self.store), lambda: self.snapshot)

    def prepare(self, input_json: bytes = b"{}") -> ActiveExecution:
        execution = Execution("", "acme", "fine", "kevin", "", input_json)
        return self.runner.prepare(execution, FLOW, self.options, "user")

    def start_child(self, parent: ActiveExecution, waiter: Callable[[ActiveExecution], None]) -> ActiveExecution:
        """Starts a child of a running execution."""
        child = self.prepare()
        self.runner.start_child(child, parent, waiter)
        self.runner.run_child(child)
        return child


def interrupted(number: int = 0, **changes: Any) -> Stored:
    """An async execution, the older the lower its number, that a stop interrupted while it ran."""
    execution = Execution(
        new_id(1_000_000 + number),
        "acme",
        "fine",
        "kevin",
        "hash",
        b"{}",
        created_ms=1_000_000 + number,
        started_ms=1_000_000 + number,
        is_async=True,
        attempts=1,
        status=Status.RUNNING,
        log=[b"[1]"],
    )
    return Stored(replace(execution, **changes), FLOW.source)


def run_scene(scene: Coroutine[Any, Any, None]) -> None:
    """Runs a test's coroutine, at most for some seconds."""

    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scene

    asyncio.run(bounded())
