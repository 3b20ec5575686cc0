"""The zygote dies, and perhaps its successor too: whoever waits for a process gets one from the next that stands."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from whd.errors import ConfigError
from whd.model.budget import BufferBudget
from whd.model.options import Options
from whd.pool import processes as module
from whd.pool.processes import Processes
from whd.pool.worker import Binding, Worker

BINDING = Binding("acme", "kevin", "", 1 << 28)


class _Zygote:
    """Forks nothing; keeps what it is asked for. `starts`: what becomes of the start of each one."""

    starts: list[asyncio.Future[None]]
    made: list[_Zygote]

    def __init__(self, loop: asyncio.AbstractEventLoop, _config: Any, listener: Processes) -> None:
        self.loop, self.listener = loop, listener
        self.layers: list[Any] = []
        self.failures: list[str] = []
        self.asked: list[int] = []
        self.made.append(self)

    async def start(self) -> None:
        await self.starts[self.made.index(self)]

    def fork(self, worker: int, their_socket: socket.socket) -> None:
        self.asked.append(worker)
        their_socket.close()

    def close(self) -> None:
        """Nothing is open."""

    async def wait_closed(self) -> None:
        """Nothing is to be waited for."""

    def answer(self) -> None:
        """Each process that was asked for is there; this one stands for all of them."""
        for worker in self.asked:
            self.listener.on_forked(worker, os.pidfd_open(os.getpid()))
        self.asked.clear()


@pytest.mark.parametrize("failing_starts", [0, 1, 3])
def test_all_that_wait_get_a_process_from_the_next_one(monkeypatch: pytest.MonkeyPatch, failing_starts: int) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        _Zygote.made = []
        _Zygote.starts = [loop.create_future() for _ in range(failing_starts + 2)]
        _Zygote.starts[0].set_result(None)
        processes = Processes(
            loop, lambda: Options(spare_workers=2), {}, BufferBudget(lambda: 1 << 30),
            lambda _worker, _frame: None, lambda _worker: None, lambda: None,
        )  # fmt: skip
        await processes.start()
        got: list[Worker | None] = []
        for _ in range(3):
            processes.request(BINDING, lambda worker, _reason: got.append(worker))
        assert len(_Zygote.made[0].asked) == 5

        processes.on_zygote_lost()
        processes.request(BINDING, lambda worker, _reason: got.append(worker))
        for start in _Zygote.starts[1:-1]:
            start.set_exception(ConfigError("it ended"))
        _Zygote.starts[-1].set_result(None)
        await _until(lambda: len(_Zygote.made) == failing_starts + 2 and len(_Zygote.made[-1].asked) == 6)
        # Nobody else was asked: what would he have done with it?
        assert [len(zygote.asked) for zygote in _Zygote.made[1:-1]] == [0] * failing_starts
        _Zygote.made[-1].answer()
        assert len(got) == 4
        assert all(worker is not None for worker in got)
        counts = processes.counts()
        assert (counts["total"], counts["busy"], counts["spare"], counts["forking"]) == (6, 4, 2, 0)
        for worker in list(processes._workers.values()):
            monkeypatch.setattr(Worker, "kill", lambda _self: None)  # the pidfd is this process's own
            worker.release()
        await processes.close()

    monkeypatch.setattr(module, "Zygote", _Zygote)
    monkeypatch.setattr(module, "ZYGOTE_RETRY_S", 0.001)
    asyncio.run(test())


async def _until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)
