"""Which process gets jobs that come together: as few as are soon done with them, as many as that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
import uvloop

from tests.running import simple_project
from whd.engine.engine import Engine, open_engine
from whd.engine.state import Paths
from whd.executions.active import ActiveExecution
from whd.model.execution import Execution
from whd.pool import prefetch
from whd.pool.compiler import Code

PATIENCE_S = 20.0
SLOTS = 4
FLOW = "def handler(system, this):\n    this.log('ran')\n"


class Scene:
    """A service whose flow has shown itself short."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.pool.prefetch.spread_us = prefetch.SPREAD_US  # as on several cores
        self._running: list[int] = []
        pool, dispatch = engine.pool, engine.pool.dispatch

        def dispatch_and_look() -> None:
            # At once: however late the loop comes to its next turn, none has ended yet.
            dispatch()
            if not pool.scheduler.waiting:
                self._running.append(pool.scheduler.running)

        # Once for all: a dispatch that is due already when jobs come is the one that they are given out by.
        pool.dispatch = dispatch_and_look  # type: ignore[method-assign]

    def run(self) -> asyncio.Future[ActiveExecution]:
        ended: asyncio.Future[ActiveExecution] = self.engine.loop.create_future()
        flow, _user = self.engine.runner.resolve(self.engine.snapshot, "acme", "quick", "kevin")
        live = self.engine.runner.prepare(
            Execution("", "acme", "quick", "kevin", "", b"{}"), flow, self.engine.options, "user"
        )
        self.engine.runner.start(live, ended.set_result)
        return ended

    @property
    def code(self) -> Code:
        code = self.engine.pool.compiler.known(self.engine.snapshot.clients["acme"].flows["quick"])
        assert code is not None
        return code

    async def together(self, count: int) -> tuple[int, int, Sequence[ActiveExecution]]:
        """Starts so many at once; how many got a process to themselves, how many wait with one, what became of all."""
        scheduler = self.engine.pool.scheduler
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
        (150, 12, 4),  # with every slot taken they wait where they will run
        (prefetch.SHORT_US - 1, 4, 4),
    ],
)
def test_jobs_that_come_together(tmp_path: Path, took_us: int, count: int, processes: int) -> None:
    async def scene() -> None:
        project = simple_project(tmp_path)
        project.options(workers=SLOTS)
        project.flow("acme", "quick", FLOW)
        async with open_engine(Paths(project.config, project.flows, project.state), serves=True) as engine:
            here = Scene(engine)
            for _ in range(prefetch.SHORT_RUNS + 1):
                await asyncio.wait_for(here.run(), PATIENCE_S)
            # One process is there; as many as there are slots are wanted, so that none of them is still being made.
            here.code.short_runs = 0
            await here.together(SLOTS)
            here.code.short_runs, here.code.took_us = prefetch.SHORT_RUNS, took_us
            running, waiting, lives = await here.together(count)
            assert (running, waiting) == (processes, count - processes)
            assert [(live.execution.status, len(live.execution.log)) for live in lives] == [
                ("ENDED_SUCCESS", 1)
            ] * count

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


def test_a_long_one_is_nobodys_predecessor(tmp_path: Path) -> None:
    async def scene() -> None:
        project = simple_project(tmp_path)
        project.options(workers=1)
        project.flow("acme", "quick", FLOW)
        async with open_engine(Paths(project.config, project.flows, project.state), serves=True) as engine:
            here = Scene(engine)
            await asyncio.wait_for(here.run(), PATIENCE_S)
            here.code.short_runs = 0
            await here.together(3)
            assert engine.pool.prefetch.prefetched_total == 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
