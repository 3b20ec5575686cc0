"""A pool whose processes are played by the test: real sockets, no process is forked, nothing takes any time.

    async with scripted_pool(monkeypatch) as scene:
        first, second = scene.submit(), scene.submit()
        await scene.turn()
        (process,) = scene.processes
        assert process.received() == ["run 1", "run 2 behind"]
        process.end(first)
        await scene.turn()

The flow counts as short from the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from whd.model.budget import BufferBudget
from whd.model.options import Options
from whd.model.snapshot import Flow
from whd.pool import pool as pool_module
from whd.pool import processes
from whd.pool.compiler import Code
from whd.pool.job import End, Job
from whd.pool.pool import Pool
from whd.pool.prefetch import SHORT_RUNS
from whd.pool.quota import WholeQuota
from whd.pool.worker import Worker
from whd.wire.frames import RUN, FrameReader, frame, read_run, split

FLOW = Flow("acme", "quick", "", "h", "flows/acme/quick.py")
KEY = ("acme", "h", "quick")
# How often the loop turns: what came is read, a dispatch is called in the turn after the next one.
TURNS = 8


class ScriptedProcess:
    """The far end of one worker's socket. What a job is called is the order in which it was submitted: from 1."""

    def __init__(self, scene: Scene, number: int, stream: socket.socket) -> None:
        self._scene = scene
        self.number = number
        self._stream = stream
        self._reader = FrameReader(1 << 30)
        self.is_killed = False

    def received(self) -> list[str]:
        """What came since the last look, without what a process must know of code and contexts."""
        said = []
        try:
            frames = self._reader.feed(self._stream.recv(1 << 20))
        except BlockingIOError:
            return []
        for payload in frames:
            if payload[0] == RUN:
                head, _start = read_run(payload)
                said.append(f"run {self._scene.name_of(head.job)}{' behind' if head.is_behind else ''}")
            else:
                op = split(payload)[0]["op"]
                said += [] if op in ("bind", "code", "context") else [op]
        return said

    def send(self, head: dict[str, Any], value: bytes | None = None) -> None:
        self._stream.sendall(frame(head, value))

    def end(self, job: Job, **members: Any) -> None:
        known = {"op": "end", "job": job.number, "status": "ENDED_SUCCESS", "message": "", "took_us": 5}
        self.send({**known, **members}, b"{}")

    def log(self, job: Job) -> None:
        self.send({"op": "log", "job": job.number}, b"[]")

    def call(self, job: Job) -> None:
        self.send({"op": "call", "job": job.number, "call": 1, "name": "sleep"}, b"{}")

    def revoked(self) -> None:
        self.send({"op": "revoked"})

    def die(self) -> None:
        """The zygote says that it is gone."""
        self._scene.zygote.listener.on_exited(self.number, 9)
        self._stream.close()


class _Zygote:
    """whd.pool.zygote.Zygote: each process is there at once."""

    def __init__(self, scene: Scene, listener: Any) -> None:
        self._scene = scene
        self.listener = listener
        self.layers: list[dict[str, Any]] = []
        self.failures: list[str] = []

    async def start(self) -> None:
        self.layers = [{"name": name, "engaged": True, "reason": ""} for name in self._scene.options.sandbox_require]

    def fork(self, number: int, theirs: socket.socket) -> None:
        theirs.setblocking(False)
        self._scene.all_processes[number] = ScriptedProcess(self._scene, number, theirs)
        self._scene.loop.call_soon(self._forked, number)

    def _forked(self, number: int) -> None:
        self.listener.on_forked(number, os.open(os.devnull, os.O_RDONLY))

    def close(self) -> None:
        """Nothing is open."""

    async def wait_closed(self) -> None:
        """Nothing is to be waited for."""


class Scene:
    """The pool, and what its listener heard: `heard`, in order, as `start 1`, `end 1 ENDED_SUCCESS`, …"""

    def __init__(self, loop: asyncio.AbstractEventLoop, slots: int) -> None:
        self.loop = loop
        self.options = Options(workers=slots, spare_workers=0)
        self.all_processes: dict[int, ScriptedProcess] = {}
        self.jobs: list[Job] = []
        self.heard: list[str] = []
        self.zygote: _Zygote
        self.pool: Pool

    def make_zygote(self, _loop: Any, _config: Any, listener: Any) -> _Zygote:
        self.zygote = _Zygote(self, listener)
        return self.zygote

    @property
    def processes(self) -> list[ScriptedProcess]:
        """Those that were not killed."""
        return [process for process in self.all_processes.values() if not process.is_killed]

    def name_of(self, number: int) -> int:
        (name,) = (name for name, job in enumerate(self.jobs, 1) if job.number == number)
        return name

    def submit(self, **members: Any) -> Job:
        job = Job("acme", "kevin", FLOW, self.options, "user", b"{}", "0" * 36, 0, "", cast(Any, self), **members)
        self.jobs.append(job)
        self.pool.submit(job)
        return job

    async def turn(self) -> None:
        """All that can happen now has happened."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    # ---- JobListener -------------------------------------------------------------------------------------------------

    def on_start(self, job: Job) -> None:
        self.heard.append(f"start {self.name_of(job.number)}")

    def on_postponed(self, job: Job) -> None:
        self.heard.append(f"postponed {self.name_of(job.number)}")

    def on_log(self, job: Job, _lines_json: bytes) -> None:
        self.heard.append(f"log {self.name_of(job.number)}")

    def on_call(self, job: Job, _call: int, _name: str, _arguments: Any, _raw: bytes) -> None:
        self.heard.append(f"call {self.name_of(job.number)}")

    def on_end(self, job: Job, end: End) -> None:
        self.heard.append(f"end {self.name_of(job.number)} {end.status} {end.message}".rstrip())


@contextlib.asynccontextmanager
async def scripted_pool(monkeypatch: pytest.MonkeyPatch, *, slots: int = 1) -> AsyncIterator[Scene]:
    """A pool that runs."""
    loop = asyncio.get_running_loop()
    scene = Scene(loop, slots)

    def kill(worker: Worker) -> None:
        scene.all_processes[worker.number].is_killed = True

    monkeypatch.setattr(processes, "Zygote", scene.make_zygote)
    monkeypatch.setattr(Worker, "kill", kill)
    # Whatever the clock says: tests call what the sweep calls.
    monkeypatch.setattr(pool_module, "SWEEP_INTERVAL_S", 3_600.0)
    monkeypatch.setattr("whd.pool.worker._cpu_clock_of", lambda _pidfd: 0)
    scene.pool = pool = Pool(loop, lambda: scene.options, BufferBudget(lambda: 1 << 30), WholeQuota())
    pool.compiler._codes[KEY] = Code(KEY, FLOW, frame=frame({"op": "code"}), short_runs=SHORT_RUNS)
    await pool.start()
    try:
        yield scene
    finally:
        await pool.close()
        for process in scene.all_processes.values():
            process._stream.close()
