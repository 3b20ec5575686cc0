"""What is one for the whole daemon, however many processes serve: the stores, the locks, what is counted together.

With one process, and for a command that runs without a daemon, these are the objects themselves: LocalShared. A front
among several has others of the same interface, which speak to the process that has the objects (fronts/remote.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from ..broker.locks import Locks, LockTable
from ..budget import BufferBudget
from ..executions.runner import RemoteExecutions
from ..model.options import Options
from ..pool.scheduler import Scheduler
from ..saved import Saved, SavedRecords
from ..settings.reload import Reloader
from ..store import ExecutionStore, Stored, open_store
from .state import Paths, StateLock


class Shared(Protocol):
    """Made once, then `enter`, `open` once the settings are read, and `close` at the end."""

    @property
    def store(self) -> ExecutionStore:
        """All executions; there from `open` on."""

    @property
    def saved(self) -> SavedRecords:
        """What flows saved."""

    @property
    def locks(self) -> LockTable:
        """Named locks; a holder is a Job."""

    @property
    def budget(self) -> BufferBudget:
        """Counts against max_buffered_bytes."""

    @property
    def remote_executions(self) -> RemoteExecutions | None:
        """Other processes' executions, None where there are none."""

    @property
    def scheduler(self) -> Scheduler | None:
        """The pool's scheduler, None for one that has all places."""

    @property
    def is_first(self) -> bool:
        """Whether this process tells what every one of them finds alike."""

    def share_worker_count(self, count: int) -> int:
        """Tells how many workers this process has; how many others have that count against max_workers too."""

    def has_idle_elsewhere(self) -> bool:
        """Whether other processes have idle workers, which they end where there is no room for children."""

    def options_of_pool(self, options: Callable[[], Options]) -> Callable[[], Options]:
        """The present options with this process's part of what the pool keeps ahead."""

    def enter(self) -> None:
        """Takes state/ for this daemon. Raises StateError, naming who has it."""

    async def open(self) -> None:
        """Opens what stands on the disk. Raises StateError."""

    async def unfinished(self) -> list[Stored]:
        """The executions that are this process's to run again after a start. Raises StateError."""

    async def close(self) -> None:
        """Writes what waits and lets go of everything."""


class LocalShared:
    """The objects themselves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, paths: Paths, reloader: Reloader) -> None:
        def options() -> Options:
            return reloader.snapshot.options

        self._lock = StateLock(paths.state)
        self._loop = loop
        self._paths = paths
        self._options = options
        self.store: ExecutionStore
        self.saved = Saved(paths.state, loop, options, reloader)
        self.locks = Locks(loop.call_later)
        self.budget = BufferBudget(lambda: options().max_buffered_bytes)
        self.remote_executions: RemoteExecutions | None = None
        self.scheduler: Scheduler | None = None
        self.is_first = True
        # What `enter` and `open` took, to be let go of in reverse.
        self._at_end = contextlib.AsyncExitStack()

    def share_worker_count(self, count: int) -> int:
        """None."""
        return 0

    def has_idle_elsewhere(self) -> bool:
        """No."""
        return False

    def options_of_pool(self, options: Callable[[], Options]) -> Callable[[], Options]:
        """All of it."""
        return options

    def enter(self) -> None:
        """As Shared."""
        self._lock.acquire()
        self._at_end.callback(self._lock.release)

    async def open(self) -> None:
        """As Shared."""
        self.store = await open_store(self._paths.state, self._loop, self._options)
        self._at_end.push_async_callback(self.store.close)
        self.saved.open()
        self._at_end.push_async_callback(self.saved.close)

    async def unfinished(self) -> list[Stored]:
        """All that there are."""
        return await self.store.unfinished()

    async def close(self) -> None:
        """As Shared."""
        await self._at_end.aclose()
