"""A job that waits in the queue is taken out again."""

from __future__ import annotations

import asyncio
from typing import Any

from whd.model.budget import BufferBudget
from whd.model.execution import Status
from whd.model.options import Options
from whd.model.snapshot import Flow
from whd.pool.job import End, Job, JobState
from whd.pool.pool import Pool
from whd.pool.quota import WholeQuota

OPTIONS = Options()


class Silent:
    """A listener that must hear nothing."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def new_job() -> Job:
    listener: Any = Silent()
    return Job("acme", "kevin", Flow("acme", "fine", "", "h", ""), OPTIONS, "user", b"{}", "id", 0, "", listener)


def test_it_never_starts_and_its_listener_hears_no_more_of_it() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        pool = Pool(loop, lambda: OPTIONS, BufferBudget(lambda: 1_000_000), WholeQuota())
        first, second = new_job(), new_job()
        pool.submit(first)
        pool.submit(second)
        pool.withdraw(first)
        assert first.state is JobState.ENDED
        assert pool.scheduler.waiting_jobs() == [second]
        pool.cancel(first, End(Status.ENDED_CANCELLED, ""))
        pool.withdraw(second)
        pool.dispatch()
        assert (pool.scheduler.waiting, pool.scheduler.running) == (0, 0)

    asyncio.run(scene())
