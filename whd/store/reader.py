"""The thread that reads the store, on a connection of its own: the writer never makes a reader wait (WAL)."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import StateError
from . import schema

_log = logging.getLogger(__name__)

Job = Callable[[sqlite3.Connection], Any]
Answer = Callable[[Any, Exception | None], None]

# Answers to one wake-up of the loop, at most: the first of them should not wait for very many others.
_ANSWERS = 64


class Reader:
    """Runs jobs in order; each answer arrives on the loop as (result, None) or (None, StateError)."""

    def __init__(self, connection: sqlite3.Connection, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._path = path
        self._loop = loop
        self._jobs: queue.SimpleQueue[tuple[Job, Answer] | None] = queue.SimpleQueue()
        self._closed: Answer | None = None
        self._thread = threading.Thread(target=self._run, name="whd-store-reader", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def submit(self, job: Job, answer: Answer) -> None:
        """Queues a job."""
        self._jobs.put((job, answer))

    def stop(self, closed: Answer) -> None:
        """Does the jobs that are queued, closes the connection, then calls `closed` on the loop."""
        self._closed = closed
        self._jobs.put(None)

    def join(self) -> None:
        """Waits for the thread's end, at most a second; for use after `stop` has called back."""
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
            self._tell(answers)
        self._connection.close()
        if self._closed is not None:
            self._tell([(self._closed, None, None)])

    def _do(self, job: Job, answer: Answer) -> tuple[Answer, Any, Exception | None]:
        try:
            return answer, job(self._connection), None
        except sqlite3.Error as error:
            fault = schema.describe(error, self._path)
            _log.error("%s", fault)
            return answer, None, StateError("the execution store cannot be read", log_detail=fault)
        except Exception as error:
            # A defect of whd: it must not end the thread that everyone else reads through.
            _log.exception("a read of the store failed")
            return answer, None, StateError("the execution store cannot be read", log_detail=repr(error))

    def _tell(self, answers: list[tuple[Answer, Any, Exception | None]]) -> None:
        try:
            self._loop.call_soon_threadsafe(_tell, answers)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            _log.debug("%d readers had left before their answers came", len(answers))


def _tell(answers: list[tuple[Answer, Any, Exception | None]]) -> None:
    for answer, result, error in answers:
        try:
            answer(result, error)
        except Exception:
            _log.exception("a caller of the store failed when given what it had asked for")
