"""A job that waits in a process is cancelled while the process has not even taken what it is to run before it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.running import simple_project
from whd.executions.live import Live
from whd.executions.record import Execution
from whd.pool import handing
from whd.service import Paths, Service

PATIENCE_S = 20.0
FLOW = "def handler(system, this):\n    this.log('ran')\n"


def run(service: Service, input_json: bytes) -> tuple[Live, asyncio.Future[Live]]:
    """Starts an execution; the future has it once it has ended."""
    ended: asyncio.Future[Live] = service.loop.create_future()
    flow, _user = service.runner.resolve(service.snapshot, "acme", "quick", "kevin")
    execution = Execution("", "acme", "quick", "kevin", "", input_json)
    live = service.runner.prepare(execution, flow, service.options, "user")
    service.runner.start(live, ended.set_result)
    return live, ended


async def scene(folder: Path, size_bytes: int) -> list[tuple[Any, ...]]:
    project = simple_project(folder)
    project.options(workers=1, timeout_s=PATIENCE_S * 2)
    project.flow("acme", "quick", FLOW)
    service = Service(asyncio.get_running_loop(), Paths(project.config, project.flows, project.state), serves=True)
    faults: list[dict[str, Any]] = []
    service.loop.set_exception_handler(lambda _loop, context: faults.append(context))
    await service.start()
    try:
        for _ in range(handing.SHORT_RUNS + 1):
            await asyncio.wait_for(run(service, b"{}")[1], PATIENCE_S)
        calls = [run(service, b'{"x":"%s"}' % (b"x" * size_bytes)), run(service, b"{}"), run(service, b"{}")]
        service.pool.dispatch()
        service.runner.cancel(calls[1][0], "for a test")
        lives = await asyncio.wait_for(asyncio.gather(*(ended for _live, ended in calls)), PATIENCE_S)
        # The process goes on, or another does.
        calls.append(run(service, b"{}"))
        lives.append(await asyncio.wait_for(calls[-1][1], PATIENCE_S))
        assert (service.pool.scheduler.running, service.pool.scheduler.waiting) == (0, 0)
        assert not faults
        return [(live.execution.status, len(live.execution.log)) for live in lives]
    finally:
        await service.close()


@pytest.mark.parametrize("size_bytes", [3_000_000, 8_000_000])
def test_only_the_cancelled_one_ends(tmp_path: Path, size_bytes: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ends = runner.run(scene(tmp_path, size_bytes))
    assert ends == [("ENDED_SUCCESS", 1), ("ENDED_CANCELLED", 0), ("ENDED_SUCCESS", 1), ("ENDED_SUCCESS", 1)]
