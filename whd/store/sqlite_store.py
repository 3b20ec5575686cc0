"""The store on a SQLite file. Nothing here waits for the disk: the writer and the reader are threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from ..errors import StateError
from ..futures import done_of
from ..model.execution import Execution, Status
from ..model.options import Options
from . import schema
from .deliveries import Deliveries
from .intake import BEHIND_BYTES, FULL_BYTES, LIMIT_BYTES, Intake
from .interface import Done, ExecutionStore, Records, StoreCounters, Stored, Summaries
from .reader import SqliteReader
from .rows import Row, from_row, to_row
from .writer import Writer

_log = logging.getLogger(__name__)


class SqliteStore(ExecutionStore):
    """A store on a SQLite file.

    `path`: the file, in a folder (state/) of mode 0700 that is made if missing. `options` gives the current ones:
    retention is live. Its maker calls `open` once, and `close` at the end.
    """

    deliveries: Deliveries

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, options: Callable[[], Options]) -> None:
        self._path = path
        self._loop = loop
        self._options = options
        self._intake = Intake()
        self._writer: Writer | None = None
        self._reader = SqliteReader(path, loop)
        self._is_closed = True
        self.deliveries = Deliveries(loop, self._reader.deliveries, self._flush)

    def open(self) -> None:
        """Opens the file, makes it or brings it up to this version, and starts both threads. Raises StateError."""
        with contextlib.ExitStack() as undo:
            connection = schema.open_database(self._path)
            undo.callback(connection.close)
            self._reader.open()
            undo.callback(self._reader.stop)
            writer = Writer(connection, self._path, self._intake, self._loop, self._options)
            # The writer last: the reader alone, without a job, does not touch its connection.
            writer.start()
            undo.pop_all()
        self._writer, self._is_closed = writer, False

    async def close(self) -> None:
        """Writes all that waits, copies the WAL into the file, ends both threads. Harmless twice, or without `open`."""
        if self._is_closed or self._writer is None:
            return
        self._is_closed = True
        self.deliveries.close()
        await self._reader.close()
        try:
            await done_of(self._writer.stop)
        finally:
            # It has done its last; this waits for the thread's own few last instructions.
            self._writer.join()

    @property
    def fault(self) -> str:
        return self._writer.fault if self._writer else ""

    @property
    def is_detached(self) -> bool:
        return self._writer is not None and self._writer.is_detached

    @property
    def is_full(self) -> bool:
        """Whether 128 MiB wait to be written: the disk does not keep up, or not at all."""
        return self._intake.waiting_bytes > FULL_BYTES

    @property
    def is_behind(self) -> bool:
        """Whether 32 MiB wait to be written."""
        return self._intake.waiting_bytes > BEHIND_BYTES

    def counters(self) -> StoreCounters:
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

    # ---- writing -----------------------------------------------------------------------------------------------------

    def accept(self, execution: Execution, script: str | None, done: Done) -> None:
        self.accept_row(to_row(execution), script, done)

    def accept_row(self, row: Row, script: str | None, done: Done) -> None:
        # While a fault stands: the writer itself finds out when it is over.
        if self._is_closed or self.fault:
            refusal = StateError("the execution store cannot write", log_detail=self.fault)
            self._loop.call_soon(done, refusal)
            return
        self._intake.put_urgent(row, script, done)
        if row.delivery:
            self.deliveries.saved(row)

    def save_nowait(self, execution: Execution, script: str | None) -> None:
        # Not by save_row: one call less for each sync call.
        if self._is_closed:
            raise StateError(f"execution {execution.id} was saved after the store's end")
        row = to_row(execution)
        if not self._intake.put(row, script):
            self._report_refused(execution.id)
        if execution.delivery:
            self.deliveries.saved(row)

    def save_row(self, row: Row, script: str | None) -> None:
        if self._is_closed:
            raise StateError(f"execution {row.id} was saved after the store's end")
        if not self._intake.put(row, script):
            self._report_refused(row.id)
        if row.delivery:
            self.deliveries.saved(row)

    def when_room(self, done: Callable[[], None]) -> None:
        if self.is_behind and not self.fault and not self._is_closed:
            self._intake.put_urgent(None, None, lambda _error: done())
        else:
            done()

    async def flush(self) -> None:
        if self._is_closed:
            raise StateError("the execution store is closed")
        await done_of(lambda done: self._intake.put_urgent(None, None, done))

    def _flush(self, done: Done) -> None:
        if self._is_closed:
            done(StateError("the execution store is closed"))
        else:
            self._intake.put_urgent(None, None, done)

    def _report_refused(self, execution_id: str) -> None:
        # One line to each thousand, beside the writer's own: the disk is full already.
        if self._intake.refused % 1000 == 1:
            _log.error(
                "more than %d bytes wait to be written: execution %s is not kept (%d so far)",
                LIMIT_BYTES,
                execution_id,
                self._intake.refused,
            )

    # ---- reading -----------------------------------------------------------------------------------------------------

    async def get(self, execution_id: str) -> Stored | None:
        waiting = self._intake.find(execution_id)
        if waiting is None:
            return await self._reader.get(execution_id)
        row, script = waiting
        return Stored(from_row(row), await self._reader.script(row.script_hash) if script is None else script)

    async def list(
        self,
        client: str | None = None,
        status: Status | None = None,
        webhook: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Summaries:
        await self._settle()
        return await self._reader.list(client, status, webhook, limit, before)

    async def unfinished(self) -> Records:
        await self._settle()
        return await self._reader.unfinished()

    async def _settle(self) -> None:
        """Has what waits written, so that a search sees it; goes on without, if that cannot be had."""
        if self._intake.waiting and not self.fault:
            try:
                await self.flush()
            except StateError as error:
                _log.warning("a search does not see %d records: %s", self._intake.waiting, error.log_detail)
