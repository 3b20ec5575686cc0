"""Reads of the store's file, in a thread with a connection of its own: the writer never makes a reader wait (WAL).

Any number of processes may read at once, so the store and each front have one.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import StateError
from ..futures import result_of
from ..model.execution import Status
from ..sqlite.thread import DatabaseJob, DatabaseThread
from . import queries, schema
from .deliveries import Found
from .interface import ExecutionReader, Records, Stored, Summaries
from .rows import cursor_bytes, to_bytes

_log = logging.getLogger(__name__)


class SqliteReader(ExecutionReader):
    """Reads a SQLite file: finds what is on disk."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._thread: DatabaseThread | None = None

    def open(self) -> None:
        """Opens the file, which is there. Raises StateError."""
        connection = schema.open_reader(self._path)
        thread = DatabaseThread(connection, self._loop, name="whd-store-reader", failed=self._failed)
        thread.start()
        self._thread = thread

    def stop(self) -> None:
        """Ends the thread, waiting for nothing: for an `open` of something larger that fails half-way."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.close()

    async def get(self, execution_id: str) -> Stored | None:
        raw_id = to_bytes(execution_id)
        return None if raw_id is None else await self._read(partial(queries.get, raw_id=raw_id))

    async def script(self, script_hash: str) -> str | None:
        """A script's source, None if it is not kept."""
        source: str | None = await self._read(partial(queries.get_script, script_hash=script_hash))
        return source

    async def list(
        self,
        client: str | None = None,
        status: Status | None = None,
        webhook: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Summaries:
        found: Summaries = await self._read(
            partial(
                queries.list_page,
                client_name=client,
                status=status,
                webhook_name=webhook,
                limit=limit,
                before=cursor_bytes(before),
            )
        )
        return found

    async def unfinished(self) -> Records:
        found: Records = await self._read(queries.unfinished)
        return found

    def deliveries(self, key: bytes, found: Found) -> None:
        """What is kept under a delivery's key, or why it cannot be read."""

        def answered(value: Any, error: Exception | None) -> None:
            found(value if error is None else error)

        if self._thread is None:
            answered(None, StateError("the execution store is closed"))
        else:
            self._thread.submit(partial(queries.get_deliveries, key=key), answered)

    async def _read(self, job: DatabaseJob) -> Any:
        if self._thread is None:
            raise StateError("the execution store is closed")
        return await result_of(partial(self._thread.submit, job))

    def _failed(self, error: Exception) -> StateError:
        if isinstance(error, sqlite3.Error):
            fault = schema.describe(error, self._path)
            _log.error("%s", fault)
        else:
            _log.exception("a read of the store failed")
            fault = repr(error)
        return StateError("the execution store cannot be read", log_detail=fault)
