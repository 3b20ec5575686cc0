"""The far side for real: one zygote for the session, workers behind the whole wall, spoken to over their sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .far_side import Ended, TestWorker, TestZygote


@pytest.fixture(scope="session")
def shared_zygote() -> Iterator[TestZygote]:
    zygote = TestZygote()
    yield zygote
    zygote.close()


@pytest.fixture
def workers(shared_zygote: TestZygote) -> Iterator[Callable[..., TestWorker]]:
    """Makes bound workers; all of them end with the test."""
    made: list[TestWorker] = []

    def make(memory_bytes: int = 268_435_456) -> TestWorker:
        worker = shared_zygote.bound(memory_bytes)
        made.append(worker)
        return worker

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def compile_flow(workers: Callable[..., TestWorker]) -> Callable[[str], dict[str, Any]]:
    """Compiles in a process of its own: answers the frame `compiled` or `refused`."""
    return lambda source: workers().compile(source)[0]


@pytest.fixture
def run_flow(workers: Callable[..., TestWorker], compile_flow: Callable[[str], dict[str, Any]]) -> Callable[..., Ended]:
    """Compiles a flow in one worker and runs it in another."""

    def run(
        source: str,
        inputs: Any = None,
        answers: dict[str, Any] | None = None,
        memory_bytes: int = 268_435_456,
        **limits: int,
    ) -> Ended:
        compiled = compile_flow(source)
        assert compiled["op"] == "compiled", compiled["text"]
        worker = workers(memory_bytes)
        job = worker.start(worker.load(source, compiled["code"]), inputs, memory_bytes=memory_bytes, **limits)
        return worker.finish(job, answers)

    return run
