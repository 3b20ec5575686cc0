"""A store of executions in memory."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from whd.errors import StateError
from whd.model.execution import Execution, Status
from whd.store.interface import Done, Records, StoreCounters, Stored, Summaries


class FakeStore:
    """Keeps copies of the records. A test sets `fault`, `is_full`, or `holds`: nobody is answered before `go_on`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._records: dict[str, Stored] = {}
        self._held: list[Callable[[], object]] = []
        self.fault = ""
        self.is_full = False
        self.holds = False

    def accept(self, execution: Execution, script: str | None, done: Done) -> None:
        error = StateError("the execution store cannot write", log_detail=self.fault) if self.fault else None
        if error is None:
            self.save_nowait(execution, script)
        self._later(lambda: done(error))

    def save_nowait(self, execution: Execution, script: str | None) -> None:
        self._records[execution.id] = Stored(copy.deepcopy(execution), script)

    def when_room(self, done: Callable[[], None]) -> None:
        if self.holds:
            self._held.append(done)
        else:
            done()

    def _later(self, answer: Callable[[], object]) -> None:
        if self.holds:
            self._held.append(answer)
        else:
            self._loop.call_soon(answer)

    def go_on(self) -> None:
        """Answers who waits."""
        self.holds = False
        held, self._held = self._held, []
        for answer in held:
            answer()

    async def get(self, execution_id: str) -> Stored | None:
        if self.fault:
            raise StateError("the executions cannot be read", log_detail=self.fault)
        return copy.deepcopy(self._records.get(execution_id))

    async def list(
        self,
        client: str | None = None,
        status: Status | None = None,
        webhook: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Summaries:
        newest = sorted((stored.execution for stored in self._records.values()), key=lambda one: one.id, reverse=True)
        found = [
            one
            for one in newest
            if client in (None, one.client_name)
            and status in (None, one.status)
            and webhook in (None, one.webhook_name)
            and (before is None or one.id < before)
        ]
        return copy.deepcopy(found[:limit])

    async def unfinished(self) -> Records:
        oldest = sorted(self._records.values(), key=lambda stored: stored.execution.id)
        return [copy.deepcopy(stored) for stored in oldest if not stored.execution.status.is_ended]

    async def flush(self) -> None:
        if self.fault:
            raise StateError("the execution store cannot write", log_detail=self.fault)

    async def close(self) -> None:
        return

    def counters(self) -> StoreCounters:
        return StoreCounters(len(self._records), 0, 0, 0, 0.0, 0, 0, self.fault)
