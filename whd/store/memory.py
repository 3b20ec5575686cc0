"""The store in memory: for tests of what uses a store, and the plainest reading of the interface."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import StateError
from ..model.delivery import read_delivery
from ..model.execution import Execution, Status
from .deliveries import Deliveries, Found, KeptDelivery
from .interface import Done, ExecutionStore, Records, StoreCounters, Stored, Summaries, answer_all
from .rows import Row, cursor_bytes, from_row, to_row


class MemoryStore(ExecutionStore):
    """A store whose records are gone with it. It writes at once, so that it is never behind or full.

    A test sets `fault`, `is_full` or `is_behind` to see what the store's users make of it.
    """

    fault = ""
    is_detached = False
    is_full = False
    is_behind = False
    deliveries: Deliveries

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rows: dict[str, Row] = {}
        self._scripts: dict[str, str] = {}
        self._written = 0
        self._is_closed = False
        self._kept: dict[bytes, dict[bytes, KeptDelivery]] = {}
        self.deliveries = Deliveries(loop, self._find, lambda done: done(None))

    def accept(self, execution: Execution, script: str | None, done: Done) -> None:
        self.accept_row(to_row(execution), script, done)

    def accept_row(self, row: Row, script: str | None, done: Done) -> None:
        error = None
        if self._is_closed or self.fault:
            error = StateError("the execution store cannot write", log_detail=self.fault)
        else:
            self._keep(row, script)
        self._loop.call_soon(answer_all, [(done, error)])

    def save_nowait(self, execution: Execution, script: str | None) -> None:
        self.save_row(to_row(execution), script)

    def save_row(self, row: Row, script: str | None) -> None:
        if self._is_closed:
            raise StateError(f"execution {row.id} was saved after the store's end")
        self._keep(row, script)

    def _keep(self, row: Row, script: str | None) -> None:
        self._rows[row.id] = row
        if script is not None:
            self._scripts[row.script_hash] = script
        self._written += 1
        if row.delivery:
            delivery = read_delivery(row.delivery)
            kept = KeptDelivery(delivery.body, row.id, row.status, delivery.until_ms)
            group = self._kept.setdefault(delivery.key, {})
            if delivery.body not in group or group[delivery.body].execution_id <= row.id:
                group[delivery.body] = kept
            self.deliveries.saved(row)

    def _find(self, key: bytes, found: Found) -> None:
        found(list(self._kept.get(key, {}).values()))

    def when_room(self, done: Callable[[], None]) -> None:
        done()

    async def flush(self) -> None:
        self._check_open()
        if self.fault:
            raise StateError("the execution store cannot write", log_detail=self.fault)

    async def close(self) -> None:
        self._is_closed = True
        self.deliveries.close()

    def counters(self) -> StoreCounters:
        return StoreCounters(
            written=self._written,
            waiting=0,
            waiting_bytes=0,
            commits=self._written,
            last_commit_ms=0.0,
            lost=0,
            file_bytes=0,
            fault=self.fault,
        )

    async def get(self, execution_id: str) -> Stored | None:
        self._check_open()
        row = self._rows.get(execution_id)
        return None if row is None else self._stored(row)

    async def list(
        self,
        client: str | None = None,
        status: Status | None = None,
        webhook: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Summaries:
        self._check_open()
        cursor_bytes(before)
        # Ids in their one spelling sort as their bytes do: by the moment they were made.
        found = [
            from_row(row._replace(input_json=b"", output_json=b"", response_json=b"", log=()))
            for execution_id, row in sorted(self._rows.items(), reverse=True)
            if client in (None, row.client_name)
            and status in (None, row.status)
            and webhook in (None, row.webhook_name)
            and (before is None or execution_id < before)
        ]
        return found[:limit]

    async def unfinished(self) -> Records:
        self._check_open()
        return [self._stored(row) for _, row in sorted(self._rows.items()) if not row.status.is_ended]

    def _stored(self, row: Row) -> Stored:
        return Stored(from_row(row), self._scripts.get(row.script_hash))

    def _check_open(self) -> None:
        if self._is_closed:
            raise StateError("the execution store is closed")
