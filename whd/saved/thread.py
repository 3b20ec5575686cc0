"""A thread with a connection of its own: jobs in order, answers on the loop."""

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
from ..sqlite import file as sqlite_file
from .database import WHAT

_log = logging.getLogger(__name__)

Job = Callable[[sqlite3.Connection], Any]
Answer = Callable[[Any, StateError | None], None]


class DatabaseThread:
    """Owns the connection from `start` to its end, which closes it."""

    def __init__(self, connection: sqlite3.Connection, path: Path, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._connection = connection
        self._path = path
        self._loop = loop
        self._jobs: queue.SimpleQueue[tuple[Job, Answer] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins to work. Raises RuntimeError, with the connection closed, where there may be no further thread."""
        try:
            self._thread.start()
        except RuntimeError:
            self._connection.close()
            raise

    def submit(self, job: Job, answer: Answer) -> None:
        """Queues a job; `answer(result, None)` or `answer(None, error)` on the loop."""
        self._jobs.put((job, answer))

    def stop(self) -> None:
        """Closes the connection after the jobs that are queued."""
        self._jobs.put(None)

    def join(self) -> None:
        """Waits for the end, at most a second; after `stop`, and once the last job was answered."""
        self._thread.join(1.0)

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, answer = item
            result, error = self._do(job)
            try:
                self._loop.call_soon_threadsafe(answer, result, error)
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                _log.debug("whoever asked had left before the answer came")
        self._connection.close()

    def _do(self, job: Job) -> tuple[Any, StateError | None]:
        try:
            return job(self._connection), None
        except sqlite3.Error as error:
            fault = sqlite_file.describe(error, self._path, WHAT)
        except Exception as error:
            # A defect of whd: it must not end the thread that everyone else's jobs run in.
            _log.exception("a job on what flows saved failed")
            fault = f"{self._path}: {WHAT} cannot be used ({type(error).__name__}); see the log"
        # The path and SQLite's words are the operator's; a flow only learns that it did not work.
        return None, StateError(f"{WHAT} cannot be used now", log_detail=fault)
