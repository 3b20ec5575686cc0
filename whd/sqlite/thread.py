"""A thread with a connection of its own: jobs in order, answers on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from ..errors import StateError
from ..futures import result_of
from .anchor import Anchor

_log = logging.getLogger(__name__)

DatabaseJob = Callable[[sqlite3.Connection], Any]
Answer = Callable[[Any, StateError | None], None]
# In the thread, inside the `except`: what a job raised (sqlite3.Error, or a defect of whd) as the error that it is
# answered with.
Failed = Callable[[Exception], StateError]

# Answers to one wake-up of the loop, at most: the first of them should not wait for very many others.
_ANSWERS = 64


class DatabaseThread:
    """Owns the connection from `start` to its end, which closes it; with `anchor`, only where it still stands."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str,
        failed: Failed,
        anchor: Anchor | None = None,
    ) -> None:
        self._connection = connection
        self._anchor = anchor
        self._loop = loop
        self._failed = failed
        self._jobs: queue.SimpleQueue[tuple[DatabaseJob, Answer] | None] = queue.SimpleQueue()
        self._closed: Answer | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins to work. Raises RuntimeError, with the connection closed, where there may be no further thread."""
        try:
            self._thread.start()
        except RuntimeError:
            self._connection.close()
            raise

    def submit(self, job: DatabaseJob, answer: Answer) -> None:
        """Queues a job; `answer(result, None)` or `answer(None, error)` on the loop."""
        self._jobs.put((job, answer))

    def stop(self, closed: Answer | None = None) -> None:
        """Does the jobs that are queued, closes the connection, then calls `closed(None, None)` on the loop."""
        self._closed = closed
        self._jobs.put(None)

    async def close(self) -> None:
        """`stop`, and waits for the thread's end."""
        await result_of(self.stop)
        # It has done its last; this waits for its own few last instructions.
        self._thread.join(1.0)

    def _run(self) -> None:
        is_open = True
        while is_open:
            item = self._jobs.get()
            answers = []
            while item is not None:
                answers.append(self._do(*item))
                if len(answers) == _ANSWERS:
                    break
                try:
                    item = self._jobs.get_nowait()
                except queue.Empty:
                    break
            is_open = item is not None
            self._wake(answers)
        self._close()
        if self._closed is not None:
            self._wake([(self._closed, None, None)])

    def _close(self) -> None:
        if self._anchor is None:
            self._connection.close()
            return
        with contextlib.suppress(sqlite3.Error):
            self._anchor.rescue(self._connection)
        self._anchor.leave(self._connection)

    def _do(self, job: DatabaseJob, answer: Answer) -> tuple[Answer, Any, StateError | None]:
        try:
            return answer, job(self._connection), None
        except Exception as error:
            # Whatever it is, it must not end the thread that everyone else's jobs run in.
            return answer, None, self._failed(error)

    def _wake(self, answers: list[tuple[Answer, Any, StateError | None]]) -> None:
        if not answers:
            return
        try:
            self._loop.call_soon_threadsafe(_answer_all, answers)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            _log.debug("%d callers had left before their answers came", len(answers))


def _answer_all(answers: list[tuple[Answer, Any, StateError | None]]) -> None:
    for answer, result, error in answers:
        try:
            answer(result, error)
        except Exception:
            _log.exception("a caller failed on the answer to its job")
