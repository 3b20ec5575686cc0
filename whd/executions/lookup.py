"""Executions wherever they are: active in this process, active in another one, or ended and in the store."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..store.interface import ExecutionStore, Stored
from .active import ActiveExecution
from .runner import Runner


class RemoteExecutions(Protocol):
    """The executions of other processes. `wait` and `cancel` give the record as it then is; they raise StateError."""

    async def wait(self, stored: Stored, wait_s: float) -> Stored:
        """Waits for its end, at most so long."""

    async def cancel(self, stored: Stored, message: str) -> Stored:
        """Ends it."""

    def release_waiters(self) -> None:
        """Ends every wait, now and from now on, with what is known: the daemon stops."""


class Lookup:
    """What is active here is asked first: it is newer than what the store has of it."""

    def __init__(self, runner: Runner, store: ExecutionStore, remote_executions: RemoteExecutions | None) -> None:
        self._runner = runner
        self._store = store
        self._remote_executions = remote_executions

    async def get(self, execution_id: str) -> Stored | None:
        """An execution with its script, ended or not. Raises StateError."""
        active = self._runner.find_active(execution_id)
        return await self._store.get(execution_id) if active is None else active.stored()

    async def wait(self, stored: Stored, wait_s: float) -> Stored:
        """Waits for the end of one that was found, at most so long; the record as it then is. Raises StateError."""
        active = self._runner.find_active(stored.execution.id)
        if active is None:
            if self._remote_executions is None or stored.execution.status.is_ended:
                return stored
            return await self._remote_executions.wait(stored, wait_s)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(active: ActiveExecution) -> None:
            if not future.done():
                future.set_result(None)

        active.add_waiter(ended)
        try:
            await asyncio.wait([future], timeout=wait_s)
        finally:
            active.remove_waiter(ended)
        return active.stored()

    async def cancel(self, stored: Stored, message: str) -> Stored:
        """Ends one that was found; harmless when it has ended. The record as it then is. Raises StateError."""
        active = self._runner.find_active(stored.execution.id)
        if active is not None:
            self._runner.cancel(active, message)
            return active.stored()
        if self._remote_executions is None or stored.execution.status.is_ended:
            return stored
        return await self._remote_executions.cancel(stored, message)

    def release_waiters(self) -> None:
        """Ends every wait for another process's execution: the daemon stops."""
        if self._remote_executions is not None:
            self._remote_executions.release_waiters()
