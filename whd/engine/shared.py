"""What is one for the whole daemon, however many processes serve: stores, queue, locks, what is counted together.

With one process, and for a command that runs without a daemon, these are the objects themselves: `open_local`. A front
among several has others of the same interfaces, which speak to the process that has the objects (fronts/remote.py).
What the pools of several processes share is apart: pool/quota.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from ..broker.locks import Locks, LockTable
from ..executions.lookup import RemoteExecutions
from ..executions.queue import LocalQueue, Queue
from ..model.budget import BufferBudget
from ..model.options import Options
from ..saved import Saved, SavedRecords
from ..settings.reload import Reloader
from ..store import ExecutionStore, open_store
from .state import Paths


@dataclass(frozen=True, slots=True)
class Shared:
    """All of it, open.

    `store`: all executions. `queue`: what this process is to run of those that nobody runs. `saved`: what flows saved.
    `locks`: named ones; a holder is a Job. `budget`: counts against max_buffered_bytes. `remote_executions`: those of
    other processes, None where there are none.
    """

    store: ExecutionStore
    queue: Queue
    saved: SavedRecords
    locks: LockTable
    budget: BufferBudget
    remote_executions: RemoteExecutions | None


@asynccontextmanager
async def open_local(paths: Paths, reloader: Reloader) -> AsyncIterator[Shared]:
    """The objects themselves; state/ is locked already, the settings are read. At the end writes what waits.

    Raises StateError, also at the end, if records were lost.
    """
    loop = asyncio.get_running_loop()

    def options() -> Options:
        return reloader.snapshot.options

    async with AsyncExitStack() as stack:
        store = await open_store(paths.state, loop, options)
        stack.push_async_callback(store.close)
        saved = Saved(paths.state, loop, options, reloader)
        saved.open()
        stack.push_async_callback(saved.close)
        yield Shared(
            store=store,
            queue=LocalQueue(store.unfinished),
            saved=saved,
            locks=Locks(loop.call_later),
            budget=BufferBudget(lambda: options().max_buffered_bytes),
            remote_executions=None,
        )
