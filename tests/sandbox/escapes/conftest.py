"""Flow after flow in one process, for the attempts to leave something for the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ..far_side import Ended, TestWorker
from .bodies import InOneProcess, handler


@pytest.fixture
def in_one_process(workers: Callable[..., TestWorker], compile_flow: Callable[[str], dict[str, Any]]) -> InOneProcess:
    """Runs handlers' bodies one after the other, in a process that is replaced only when it asks for that."""

    def run(*bodies: str, memory_bytes: int = 268_435_456) -> list[Ended]:
        worker = workers(memory_bytes)
        ends = []
        for body in bodies:
            source = handler(body)
            compiled = compile_flow(source)
            assert compiled["op"] == "compiled", compiled["text"]
            job = worker.start(worker.load(source, compiled["code"]), None, memory_bytes=memory_bytes)
            ends.append(worker.finish(job))
            if ends[-1].head.get("fresh"):
                worker = workers(memory_bytes)
        return ends

    return run
