"""A drain that begins while an async execution is being written down does not wait for it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from whd.budget import BufferBudget
from whd.executions.runner import Runner
from whd.model.execution import Execution
from whd.model.options import Options
from whd.model.snapshot import Flow


class Scheduler:
    """One without a queue."""

    def check_queue(self, _client_name: str, _more: int) -> None:
        return

    def waiting_jobs(self) -> list[Any]:
        return []


class Pool:
    """One that must not be asked for anything."""

    scheduler = Scheduler()

    def submit(self, _job: Any) -> None:
        raise AssertionError("it was started")


class SlowStore:
    """Keeps whom to tell until the disk is done."""

    is_full = False
    fault = ""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def save_nowait(self, _execution: Execution, _script: str | None) -> None:
        return

    def when_room(self, done: Any) -> None:
        self.waiting.append(done)

    def accept(self, _execution: Execution, _script: str | None, done: Any) -> None:
        self.waiting.append(done)


def new_runner(store: SlowStore, options: Options) -> Runner:
    return Runner(
        asyncio.get_running_loop(),
        cast(Any, Pool()),
        cast(Any, store),
        cast(Any, None),
        cast(Any, None),
        BufferBudget(lambda: options.max_buffered_bytes),
    )


def test_the_end_of_a_large_execution_is_told_when_the_store_has_room() -> None:
    async def run() -> None:
        store, options = SlowStore(), Options()
        runner = new_runner(store, options)
        flow = Flow("acme", "fine", "source", "hash", "fine.py")
        for size, is_told in ((1_000, True), (100_000, False)):
            execution = Execution("", "acme", "fine", "kevin", "", b"1" * size)
            active = runner.prepare(execution, flow, options, "user")
            runner.start_async(active, lambda _error: None)
            store.waiting.clear()
            told: list[Any] = []
            active.waiters.append(told.append)
            runner.cancel(active, "enough")
            assert told == ([active] if is_told else [])
            for done in store.waiting:
                done()
            assert told == [active]
            assert runner.all_active() == []
        runner.close()

    asyncio.run(run())


def test_an_accept_that_is_written_while_the_drain_begins_is_left_for_the_next_start() -> None:
    async def run() -> None:
        store, options = SlowStore(), Options()
        runner = new_runner(store, options)
        answers: list[Exception | None] = []
        flow = Flow("acme", "fine", "source", "hash", "fine.py")
        active = runner.prepare(Execution("", "acme", "fine", "kevin", "", b"{}"), flow, options, "user")
        runner.start_async(active, answers.append)
        runner.begin_drain()
        assert runner.all_active() == [active]
        (done,) = store.waiting
        done(None)
        # The caller has its 202, and nothing is left to wait for.
        assert answers == [None]
        assert runner.all_active() == []
        await runner.wait_idle()
        runner.close()

    asyncio.run(run())
