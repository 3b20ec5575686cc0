"""Which process gets jobs that come together: as few as are soon done with them, as many as that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
import uvloop

from tests.running import simple_project
from whd.executions.live import Live
from whd.executions.record import Execution
from whd.pool import handing
from whd.pool.compiler import Code
from whd.service import Paths, Service

PATIENCE_S = 20.0
PLACES = 4
FLOW = "def handler(system, this):\n    this.log('ran')\n"


class Scene:
    """A service whose flow has shown itself short."""

    def __init__(self, service: Service) -> None:
        self.service = service
        service.pool.handing.spread_us = handing.HANDED_SPREAD_US  # as on several cores
        self._running: list[int] = []
        pool, dispatch = service.pool, service.pool.dispatch

        def dispatch_and_look() -> None:
            # At once: however late the loop comes to its next turn, none has ended yet.
            dispatch()
            if not pool.scheduler.waiting:
                self._running.append(pool.scheduler.running)

        # Once for all: a dispatch that is due already when jobs come is the one that they are handed out by.
        pool.dispatch = dispatch_and_look  # type: ignore[method-assign]

    def run(self) -> asyncio.Future[Live]:
        ended: asyncio.Future[Live] = self.service.loop.create_future()
        flow, _user = self.service.runner.resolve(self.service.snapshot, "acme", "quick", "kevin")
        live = self.service.runner.prepare(
            Execution("", "acme", "quick", "kevin", "", b"{}"), flow, self.service.options, "user"
        )
        self.service.runner.start(live, ended.set_result)
        return ended

    @property
    def code(self) -> Code:
        code = self.service.pool.compiler.known(self.service.snapshot.clients["acme"].flows["quick"])
        assert code is not None
        return code

    async def together(self, count: int) -> tuple[int, int, Sequence[Live]]:
        """Starts so many at once; how many got a process to themselves, how many wait with one, what became of all."""
        scheduler = self.service.pool.scheduler
        self._running.clear()
        lives = await asyncio.wait_for(asyncio.gather(*(self.run() for _ in range(count))), PATIENCE_S)
        assert scheduler.waiting == scheduler.running == 0
        running = self._running[0]
        return running, count - running, lives


@pytest.mark.parametrize(
    ("took_us", "count", "processes"),
    [
        (0, 15, 1),  # a process is done with all of them before another would be awake
        (150, 8, 4),
        (150, 12, 4),  # with every place taken they wait where they will run
        (handing.SHORT_US - 1, 4, 4),
    ],
)
def test_jobs_that_come_together(tmp_path: Path, took_us: int, count: int, processes: int) -> None:
    async def scene() -> None:
        project = simple_project(tmp_path)
        project.options(workers=PLACES)
        project.flow("acme", "quick", FLOW)
        service = Service(asyncio.get_running_loop(), Paths(project.config, project.flows, project.state), serves=True)
        await service.start()
        try:
            here = Scene(service)
            for _ in range(handing.SHORT_RUNS + 1):
                await asyncio.wait_for(here.run(), PATIENCE_S)
            # One process is there; as many as there are places are wanted, so that none of them is still being made.
            here.code.short_runs = 0
            await here.together(PLACES)
            here.code.short_runs, here.code.took_us = handing.SHORT_RUNS, took_us
            running, waiting, lives = await here.together(count)
            assert (running, waiting) == (processes, count - processes)
            assert [(live.execution.status, len(live.execution.log)) for live in lives] == [
                ("ENDED_SUCCESS", 1)
            ] * count
        finally:
            await service.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


def test_a_long_one_is_nobodys_predecessor(tmp_path: Path) -> None:
    async def scene() -> None:
        project = simple_project(tmp_path)
        project.options(workers=1)
        project.flow("acme", "quick", FLOW)
        service = Service(asyncio.get_running_loop(), Paths(project.config, project.flows, project.state), serves=True)
        await service.start()
        try:
            here = Scene(service)
            await asyncio.wait_for(here.run(), PATIENCE_S)
            here.code.short_runs = 0
            await here.together(3)
            assert service.pool.handing.handed_total == 0
        finally:
            await service.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
