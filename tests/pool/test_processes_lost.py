"""Processes die by themselves or with the zygote: what ran has ended with them, what waited runs all the same."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import uvloop

from tests.running import simple_project
from whd.engine.engine import Engine, open_engine
from whd.engine.state import Paths
from whd.executions.active import ActiveExecution
from whd.model.execution import Execution

PATIENCE_S = 30.0
FLOW = """
def handler(system, this, inputs):
    this.log('ran')
    while inputs['stays']:
        pass
"""


def run(engine: Engine, stays: str) -> tuple[ActiveExecution, asyncio.Future[ActiveExecution]]:
    """Starts an execution; the future has it once it has ended."""
    ended: asyncio.Future[ActiveExecution] = engine.loop.create_future()
    flow, _user = engine.runner.resolve(engine.snapshot, "acme", "stay", "kevin")
    execution = Execution("", "acme", "stay", "kevin", "", b'{"stays":%s}' % stays.encode())
    live = engine.runner.prepare(execution, flow, engine.options, "user")
    engine.runner.start(live, ended.set_result)
    return live, ended


def stay_engine(folder: Path) -> AbstractAsyncContextManager[Engine]:
    project = simple_project(folder)
    project.options(workers=2, spare_workers=3, timeout_s=10 * PATIENCE_S, cpu_s=10 * PATIENCE_S)
    project.flow("acme", "stay", FLOW)
    return open_engine(Paths(project.config, project.flows, project.state), serves=True)


async def scene(folder: Path) -> None:
    async with stay_engine(folder) as engine:
        processes = engine.pool.processes
        running = [run(engine, "true") for _ in range(2)]
        async with asyncio.timeout(PATIENCE_S):
            while not (processes.counts()["spare"] == 3 and all(live.execution.log for live, _ended in running)):
                await asyncio.sleep(0.001)
        waiting = [run(engine, "false") for _ in range(4)]
        await asyncio.sleep(0)
        assert engine.pool.scheduler.waiting == 4
        os.kill(processes._zygote.pid, signal.SIGKILL)
        calls = [ended for _live, ended in running + waiting]
        lives = await asyncio.wait_for(asyncio.gather(*calls), PATIENCE_S)
        ends = [(live.execution.status, len(live.execution.log)) for live in lives]
        assert ends == [("ENDED_ERROR", 1)] * 2 + [("ENDED_SUCCESS", 1)] * 4
        assert (engine.pool.scheduler.running, engine.pool.scheduler.waiting) == (0, 0)
        assert not processes._dying


def test_what_only_waited_runs_when_there_is_another(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene(tmp_path))


async def crash(folder: Path) -> None:
    async with stay_engine(folder) as engine:
        live, ended = run(engine, "true")
        async with asyncio.timeout(PATIENCE_S):
            while not live.execution.log:
                await asyncio.sleep(0.001)
        assert live.job is not None
        assert live.job.line is not None
        live.job.line.worker.kill()
        await asyncio.wait_for(ended, PATIENCE_S)
        assert live.execution.status == "ENDED_ERROR"
        assert not engine.pool.processes._dying


def test_nothing_is_kept_of_a_process_that_died(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(crash(tmp_path))
