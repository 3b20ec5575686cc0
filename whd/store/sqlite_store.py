"""The execution store as the daemon sees it: one small interface, and SQLite under it.

Every method is called on the loop and every callback arrives there. Nothing here waits for the disk: the writer and
the reader are threads of their own. A second store, on a database that several machines share, implements
`ExecutionStore` and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import StateError
from ..futures import done_of, result_of
from ..model.execution import Execution, Status
from ..model.options import Options
from . import queries, rows, schema
from .intake import BEHIND_BYTES, FULL_BYTES, LIMIT_BYTES, Intake
from .interface import Done, Found, Records, StoreCounters, Stored, Summaries
from .reader import Reader
from .writer import Writer

_log = logging.getLogger(__name__)

FILE_NAME = "executions.sqlite"


class SqliteStore:
    """ExecutionStore on a SQLite file.

    `path`: the file, in a folder (state/) of mode 0700 that is made if missing. `options` gives the current ones:
    retention is live. Whoever makes it calls `open` once, and `close` at the end.
    """

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, options: Callable[[], Options]) -> None:
        self.path = path
        self._loop = loop
        self._options = options
        self._intake = Intake()
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._is_closed = True
        self._refused_before = 0

    def open(self) -> None:
        """Opens the file, makes it or brings it up to this version, and starts both threads. Raises StateError."""
        with contextlib.ExitStack() as undo:
            connection = schema.open_database(self.path)
            undo.callback(connection.close)
            reading = schema.open_reader(self.path)
            undo.callback(reading.close)
            writer = Writer(connection, self.path, self._intake, self._loop, self._options)
            reader = Reader(reading, self.path, self._loop)
            # The writer last: the reader alone, without a job, does not touch its connection.
            reader.start()
            writer.start()
            undo.pop_all()
        self._writer, self._reader, self._is_closed = writer, reader, False

    async def close(self) -> None:
        """Writes all that waits, copies the WAL into the file, ends both threads. Raises StateError for what was lost.

        Safe to call twice.
        """
        if self._is_closed or self._writer is None or self._reader is None:
            return
        self._is_closed = True
        await result_of(self._reader.stop)
        try:
            await done_of(self._writer.stop)
        finally:
            # Both have done their last; this waits for the threads' own few last instructions.
            self._reader.join()
            self._writer.join()

    @property
    def fault(self) -> str:
        """Why nothing can be written now, "" if all is well. It names the file: for the operator, not for callers."""
        return self._writer.fault if self._writer else ""

    @property
    def is_full(self) -> bool:
        """Whether 128 MiB wait to be written: the disk does not keep up, or not at all; refuse new calls."""
        return self._intake.waiting_bytes > FULL_BYTES

    def counters(self) -> StoreCounters:
        """Figures for `whd status`."""
        writer = self._writer
        return StoreCounters(
            written=writer.written if writer else 0,
            waiting=self._intake.waiting,
            waiting_bytes=self._intake.waiting_bytes,
            commits=writer.commits if writer else 0,
            last_commit_ms=round(writer.last_commit_ms, 3) if writer else 0.0,
            lost=(writer.lost if writer else 0) + self._intake.refused,
            file_bytes=writer.file_bytes if writer else 0,
            fault=self.fault,
        )

    def accept(self, execution: Execution, script: str | None, done: Done) -> None:
        """Keeps a record for good; `done(None)` once it is fsynced, else `done(StateError)`: it is not kept.

        While a fault stands, the answer is an error at once: the writer itself finds out when it is over.
        """
        self.accept_row(rows.to_row(execution), script, done)

    def accept_row(self, row: rows.Row, script: str | None, done: Done) -> None:
        """The same for a record that was taken already (rows.take)."""
        if self._is_closed or self.fault:
            refusal = StateError("the execution store cannot write", log_detail=self.fault)
            self._loop.call_soon(done, refusal)
            return
        self._intake.put_urgent(row, script, done)

    def save_nowait(self, execution: Execution, script: str | None) -> None:
        """Keeps a record within a second. The path of every sync call: about 2 µs, no I/O."""
        if self._is_closed:
            raise StateError(f"execution {execution.id} was saved after the store's end")
        if not self._intake.put(rows.to_row(execution), script):
            self._report_refused(execution.id)

    def save_row(self, row: rows.Row, script: str | None) -> None:
        """save_nowait for a record that was taken already."""
        if not self._is_closed and not self._intake.put(row, script):
            self._report_refused(row[rows.ID])

    @property
    def is_behind(self) -> bool:
        """Whether 32 MiB wait to be written."""
        return self._intake.waiting_bytes > BEHIND_BYTES

    def when_room(self, done: Callable[[], None]) -> None:
        """Calls `done` at once or, while more than 32 MiB wait to be written, when they are, or cannot be."""
        if self.is_behind and not self.fault and not self._is_closed:
            self._intake.put_urgent(None, None, lambda _error: done())
        else:
            done()

    def get_nowait(self, execution_id: str, found: Found) -> None:
        """The record as last saved, written or not; `found(None, None)` if there is none."""
        raw_id = rows.to_bytes(execution_id)
        waiting = self._intake.find(execution_id)
        if raw_id is None:
            self._loop.call_soon(found, None, None)
        elif waiting is None:
            self._read(lambda connection: queries.get(connection, raw_id), found)
        else:
            row, script = waiting
            if script is not None:
                self._loop.call_soon(found, Stored(rows.from_row(row), script), None)
            else:
                self._read(
                    lambda connection: Stored(
                        rows.from_row(row), queries.get_script(connection, row[rows.SCRIPT_HASH])
                    ),
                    found,
                )

    async def get(self, execution_id: str) -> Stored | None:
        """As `get_nowait`. Raises StateError."""
        stored: Stored | None = await result_of(partial(self.get_nowait, execution_id))
        return stored

    async def list(
        self,
        client: str | None = None,
        status: Status | None = None,
        webhook: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Summaries:
        """The newest that match, without input, output, response and log. `before`: only older ones than this id.

        Raises StateError; ValueError for a `before` that is no id. While a fault stands, only what is on disk.
        """
        end = rows.to_bytes(before) if before is not None else None
        if before is not None and end is None:
            raise ValueError(f"no id of an execution: {before!r}")
        await self._settle()
        job = partial(
            queries.list_page, client_name=client, status=status, webhook_name=webhook, limit=limit, before=end
        )
        found: Summaries = await result_of(partial(self._read, job))
        return found

    async def unfinished(self) -> Records:
        """What is PENDING or RUNNING, the oldest first. Raises StateError."""
        await self._settle()
        found: Records = await result_of(partial(self._read, queries.unfinished))
        return found

    async def flush(self) -> None:
        """Returns when all that was saved before the call is on disk. Raises StateError."""
        await done_of(lambda done: self._intake.put_urgent(None, None, done))

    async def _settle(self) -> None:
        """Has what waits written, so that a search sees it; goes on without, if that cannot be had."""
        if self._intake.waiting and not self.fault:
            try:
                await self.flush()
            except StateError as error:
                _log.warning("a search does not see %d records: %s", self._intake.waiting, error.log_detail)

    def _read(self, job: Callable[[sqlite3.Connection], Any], answer: Callable[[Any, Exception | None], None]) -> None:
        if self._is_closed or self._reader is None:
            self._loop.call_soon(answer, None, StateError("the execution store is closed"))
        else:
            self._reader.submit(job, answer)

    def _report_refused(self, execution_id: str) -> None:
        # One line to each thousand, beside the writer's own: the disk is full already.
        if self._intake.refused % 1000 == 1:
            _log.error(
                "more than %d bytes wait to be written: execution %s is not kept (%d so far)",
                LIMIT_BYTES,
                execution_id,
                self._intake.refused,
            )
