"""A flow is compiled once per change: whoever asks while that goes on waits for the same answer, later ones have it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from whd.model.snapshot import Flow
from whd.pool.compiler import Code, Compiler
from whd.wire.frames import frame


class _Worker:
    """A compiling process that keeps what it is sent."""

    def __init__(self, exit_status: int | None = None) -> None:
        self.sent: list[bytes] = []
        self.send = self.sent.append
        self.exit_status = exit_status

    def expect(self, _limit_bytes: int) -> None:
        """Nobody here looks how large its answer is."""


class _Processes:
    """Hands a process out when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Callable[[Any, str], None]] = []
        self.discarded: list[Any] = []
        self.discard = self.discarded.append

    def request(self, _binding: Any, ready: Callable[[Any, str], None], *, is_child: bool) -> None:
        assert is_child  # it must not wait behind calls that wait for it
        self.asked.append(ready)


COMPILED = frame({"op": "compiled", "hash": "h1", "code": "AAAA", "warnings": [], "asks": []})[4:]


def made(source_hash: str = "h1", name: str = "signup") -> Flow:
    return Flow("acme", name, "def handler(system, this): pass", source_hash, f"flows/acme/{name}.py")


def test_a_source_is_compiled_once_however_often_it_is_asked_for() -> None:
    async def test() -> None:
        processes = _Processes()
        compiler = Compiler(asyncio.get_running_loop(), processes)  # type: ignore[arg-type]
        told: list[Code] = []
        for _ in range(3):
            compiler.compile(made(), told.append)
        assert len(processes.asked) == 1
        worker: Any = _Worker()
        processes.asked[0](worker, "")
        assert told == []
        assert compiler.on_frame(worker, COMPILED)
        assert len(told) == 3
        for _ in range(100):
            compiler.compile(made(), told.append)
        assert len(told) == 103
        assert len({id(code) for code in told}) == len(processes.asked) == 1

        # A change is another source.
        compiler.compile(made("h2"), told.append)
        compiler.compile(made("h1", "other"), told.append)
        assert len(processes.asked) == 3
        for ready in processes.asked[1:]:
            ready(None, "no room")

    asyncio.run(test())


def test_a_process_that_could_not_be_had_is_no_answer_for_the_next_one() -> None:
    async def test() -> None:
        processes = _Processes()
        compiler = Compiler(asyncio.get_running_loop(), processes)  # type: ignore[arg-type]
        told: list[Code] = []
        compiler.compile(made(), told.append)
        processes.asked[0](None, "no room")
        assert "cannot be compiled now: no room" in told[0].refusal
        compiler.compile(made(), told.append)
        assert len(processes.asked) == 2

    asyncio.run(test())


KILLED, CRASHED = 9, 11  # as waitpid(2) has it; None: it went with its zygote


@pytest.mark.parametrize("exit_status", [KILLED, None])
def test_a_process_that_somebody_killed_says_nothing_of_the_source(exit_status: int | None) -> None:
    async def test() -> None:
        processes = _Processes()
        compiler = Compiler(asyncio.get_running_loop(), processes)  # type: ignore[arg-type]
        told: list[Code] = []
        compiler.compile(made(), told.append)
        first: Any = _Worker(exit_status)
        processes.asked[0](first, "")
        assert compiler.on_gone(first)
        assert told == []
        second: Any = _Worker()
        processes.asked[1](second, "")
        assert second.sent == first.sent
        assert compiler.on_frame(second, COMPILED)
        assert [code.refusal for code in told] == [""]

    asyncio.run(test())


@pytest.mark.parametrize(("exit_status", "processes_used"), [(CRASHED, 1), (0, 1), (KILLED, 3), (None, 3)])
def test_a_source_that_ends_its_process_is_refused_at_last(exit_status: int | None, processes_used: int) -> None:
    async def test() -> None:
        processes = _Processes()
        compiler = Compiler(asyncio.get_running_loop(), processes)  # type: ignore[arg-type]
        told: list[Code] = []
        compiler.compile(made(), told.append)
        while not told:
            worker: Any = _Worker(exit_status)
            processes.asked[-1](worker, "")
            assert compiler.on_gone(worker)
        assert len(processes.asked) == processes_used
        assert "the source is too deep or too large" in told[0].refusal

    asyncio.run(test())
