"""Jobs that wait in a process are revoked just when the one before them ends: none is lost, none runs twice."""

from __future__ import annotations

import asyncio
import select
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.running import simple_project
from whd.engine.engine import Engine, open_engine
from whd.engine.state import Paths
from whd.executions.active import ActiveExecution
from whd.model.execution import Execution
from whd.pool import pool, prefetch, processes
from whd.pool.worker import Worker

PATIENCE_S = 20.0

# Short, until its input says how long.
FLOW = """
import time

def handler(system, this, inputs):
    this.log('ran')
    end = time.monotonic() + inputs['seconds']
    while time.monotonic() < end:
        pass
"""


def run(engine: Engine, seconds: float, padding: int = 0) -> asyncio.Future[ActiveExecution]:
    """Starts an execution; the future has it once it has ended."""
    ended: asyncio.Future[ActiveExecution] = engine.loop.create_future()
    flow, _user = engine.runner.resolve(engine.snapshot, "acme", "spin", "kevin")
    input_json = b'{"seconds":%g,"padding":"%s"}' % (seconds, b"x" * padding)
    execution = Execution("", "acme", "spin", "kevin", "", input_json)
    live = engine.runner.prepare(execution, flow, engine.options, "user")
    engine.runner.start(live, ended.set_result)
    return ended


def prefetch_whatever_it_takes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy machine makes long counts as short all the same."""
    always_us = int(PATIENCE_S * 1e6)
    monkeypatch.setattr(prefetch, "SHORT_US", always_us)
    engine.pool.prefetch.spread_us = engine.pool.prefetch.most_us = always_us


async def scene(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = simple_project(folder)
    project.options(workers=1)
    project.flow("acme", "spin", FLOW)
    async with open_engine(Paths(project.config, project.flows, project.state), serves=True) as engine:
        prefetch_whatever_it_takes(engine, monkeypatch)
        for _ in range(prefetch.SHORT_RUNS + 1):
            await asyncio.wait_for(run(engine, 0), PATIENCE_S)
        read_last = Worker.read_last
        raced: list[int] = []

        def read_late(worker: Worker) -> None:
            # Between the revocation and the look at what has come, the process ends the job that it runs: it then
            # sees the revocation before it starts the next one, and the daemon cannot tell.
            line = worker.line
            if line is not None and line.prefetched and line.is_revoking and not raced:
                assert worker._socket is not None
                raced.append(len(line.prefetched))
                assert select.select([worker._socket], [], [], PATIENCE_S)[0]
            read_last(worker)

        monkeypatch.setattr(Worker, "read_last", read_late)
        # The first gets the process, the others come together when it is free.
        long_s = 5 * prefetch.REVOKE_AFTER_S + pool.SWEEP_INTERVAL_S
        calls = [run(engine, seconds) for seconds in (0, long_s, 0, 0, 0)]
        lives = await asyncio.wait_for(asyncio.gather(*calls), PATIENCE_S)
        assert raced == [3]
        assert engine.pool.prefetch.revoked_total >= 3
        described: list[tuple[Any, ...]] = [
            (live.execution.status, len(live.execution.log), live.execution.attempts) for live in lives
        ]
        assert described == [("ENDED_SUCCESS", 1, 1)] * 5
        # The process goes on, or another does.
        assert (await asyncio.wait_for(run(engine, 0), PATIENCE_S)).execution.status == "ENDED_SUCCESS"
        assert (engine.pool.scheduler.running, engine.pool.scheduler.waiting) == (0, 0)


def test_a_job_that_the_process_dropped_at_the_last_moment_waits_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene(tmp_path, monkeypatch))


async def stay_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = simple_project(folder)
    project.options(workers=2, timeout_s=10 * PATIENCE_S, cpu_s=10 * PATIENCE_S)
    project.flow("acme", "spin", FLOW)
    async with open_engine(Paths(project.config, project.flows, project.state), serves=True) as engine:
        prefetch_whatever_it_takes(engine, monkeypatch)
        for _ in range(prefetch.SHORT_RUNS + 1):
            await asyncio.wait_for(run(engine, 0), PATIENCE_S)
        long = run(engine, 5 * PATIENCE_S)
        await asyncio.wait_for(run(engine, 0), PATIENCE_S)
        assert (engine.pool.prefetch.prefetched_total, engine.pool.prefetch.revoked_total) == (1, 1)
        for _ in range(3):
            await asyncio.wait_for(run(engine, 0), PATIENCE_S)
        assert engine.pool.prefetch.prefetched_total == 1
        assert not long.done()


def test_nothing_is_prefetched_again_behind_what_turned_out_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait until the next sweep each time, beside slots that are free."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(stay_long(tmp_path, monkeypatch))


async def be_narrow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As net.core.wmem_max bounds it: twice that much, less what the kernel needs for itself.
    monkeypatch.setattr(processes, "SOCKET_BUFFER_BYTES", 16_384)
    project = simple_project(folder)
    project.options(workers=2, timeout_s=10 * PATIENCE_S, cpu_s=10 * PATIENCE_S)
    project.flow("acme", "spin", FLOW)
    async with open_engine(Paths(project.config, project.flows, project.state), serves=True) as engine:
        prefetch_whatever_it_takes(engine, monkeypatch)
        for _ in range(prefetch.SHORT_RUNS + 1):
            await asyncio.wait_for(run(engine, 0), PATIENCE_S)
        long = run(engine, 5 * PATIENCE_S)
        await asyncio.wait_for(
            asyncio.gather(*(run(engine, 0, 2_000) for _ in range(prefetch.MAX_PREFETCHED))), PATIENCE_S
        )
        assert engine.pool.prefetch.revoked_total
        assert not long.done()


def test_what_waits_in_a_process_is_revoked_through_a_small_socket_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(be_narrow(tmp_path, monkeypatch))
