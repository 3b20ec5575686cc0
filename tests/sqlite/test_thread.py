"""A database thread: jobs in order on a connection of its own, answers on the loop, whatever a job does."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from whd.errors import StateError
from whd.futures import result_of
from whd.sqlite.thread import DatabaseThread


def make(failed: Callable[[Exception], StateError] = lambda error: StateError(f"failed: {error}")) -> DatabaseThread:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    return DatabaseThread(connection, asyncio.get_running_loop(), name="whd-test", failed=failed)


def select(number: int, connection: sqlite3.Connection) -> Any:
    return connection.execute("SELECT ?", (number,)).fetchone()[0]


def test_answers_come_on_the_loop_in_the_order_of_the_jobs() -> None:
    async def main() -> None:
        thread = make()
        thread.start()
        answers: list[tuple[Any, Any, int]] = []
        for number in range(200):
            thread.submit(partial(select, number), lambda *answer: answers.append((*answer, threading.get_ident())))
        await thread.close()
        assert answers == [(number, None, threading.get_ident()) for number in range(200)]

    asyncio.run(main())


def test_answers_that_are_ready_share_a_wake_up_of_the_loop_but_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sizes: list[int] = []
        wake = loop.call_soon_threadsafe

        def note(callback: Any, *arguments: Any, **more: Any) -> Any:
            sizes.append(len(arguments[0]) if arguments else 0)
            return wake(callback, *arguments, **more)

        monkeypatch.setattr(loop, "call_soon_threadsafe", note)
        thread = make()
        for number in range(100):
            thread.submit(partial(select, number), lambda *_: None)
        thread.start()
        await thread.close()
        # The last one is the end of `close`.
        assert sizes == [64, 36, 1]

    asyncio.run(main())


@pytest.mark.parametrize("kind", [sqlite3.OperationalError, ZeroDivisionError])
def test_what_a_job_raises_is_answered_in_the_owners_words_and_ends_nothing(kind: type[Exception]) -> None:
    def job(_connection: sqlite3.Connection) -> None:
        raise kind("no")

    async def main() -> None:
        thread = make()
        thread.start()
        with pytest.raises(StateError, match="failed: no"):
            await result_of(partial(thread.submit, job))
        assert await result_of(partial(thread.submit, partial(select, 1))) == 1
        await thread.close()

    asyncio.run(main())


def test_a_caller_that_fails_on_its_answer_keeps_no_other_from_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        thread = make()
        thread.submit(partial(select, 1), lambda *_: 1 // 0)  # type: ignore[arg-type]
        thread.start()
        assert await result_of(partial(thread.submit, partial(select, 2))) == 2
        await thread.close()
        assert "ZeroDivisionError" in caplog.text

    asyncio.run(main())


def test_where_there_may_be_no_further_thread_the_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        thread = make()
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            thread.start()
        with pytest.raises(sqlite3.ProgrammingError):
            thread._connection.execute("SELECT 1")

    asyncio.run(main())
