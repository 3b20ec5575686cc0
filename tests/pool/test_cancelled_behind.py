"""A job that waits in a process is cancelled while the process has not even taken what it is to run before it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.running import simple_project
from whd.engine.engine import Engine, open_engine
from whd.engine.state import Paths
from whd.executions.active import ActiveExecution
from whd.model.execution import Execution
from whd.pool import prefetch

PATIENCE_S = 20.0
FLOW = "def handler(system, this):\n    this.log('ran')\n"


def run(engine: Engine, input_json: bytes) -> tuple[ActiveExecution, asyncio.Future[ActiveExecution]]:
    """Starts an execution; the future has it once it has ended."""
    ended: asyncio.Future[ActiveExecution] = engine.loop.create_future()
    flow, _user = engine.runner.resolve(engine.snapshot, "acme", "quick", "kevin")
    execution = Execution("", "acme", "quick", "kevin", "", input_json)
    live = engine.runner.prepare(execution, flow, engine.options, "user")
    engine.runner.start(live, ended.set_result)
    return live, ended


async def scene(folder: Path, size_bytes: int) -> list[tuple[Any, ...]]:
    project = simple_project(folder)
    project.options(workers=1, timeout_s=PATIENCE_S * 2)
    project.flow("acme", "quick", FLOW)
    async with open_engine(Paths(project.config, project.flows, project.state), serves=True) as engine:
        faults: list[dict[str, Any]] = []
        engine.loop.set_exception_handler(lambda _loop, context: faults.append(context))
        for _ in range(prefetch.SHORT_RUNS + 1):
            await asyncio.wait_for(run(engine, b"{}")[1], PATIENCE_S)
        calls = [run(engine, b'{"x":"%s"}' % (b"x" * size_bytes)), run(engine, b"{}"), run(engine, b"{}")]
        engine.pool.dispatch()
        engine.runner.cancel(calls[1][0], "for a test")
        lives = await asyncio.wait_for(asyncio.gather(*(ended for _live, ended in calls)), PATIENCE_S)
        # The process goes on, or another does.
        calls.append(run(engine, b"{}"))
        lives.append(await asyncio.wait_for(calls[-1][1], PATIENCE_S))
        assert (engine.pool.scheduler.running, engine.pool.scheduler.waiting) == (0, 0)
        assert not faults
        return [(live.execution.status, len(live.execution.log)) for live in lives]


@pytest.mark.parametrize("size_bytes", [3_000_000, 8_000_000])
def test_only_the_cancelled_one_ends(tmp_path: Path, size_bytes: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ends = runner.run(scene(tmp_path, size_bytes))
    assert ends == [("ENDED_SUCCESS", 1), ("ENDED_CANCELLED", 0), ("ENDED_SUCCESS", 1), ("ENDED_SUCCESS", 1)]
