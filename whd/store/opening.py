"""Which store keeps the executions: the one place that decides it, for the daemon and for those who only read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..model.options import Options
from .interface import ExecutionReader, ExecutionStore
from .reader import SqliteReader
from .sqlite_store import SqliteStore

# Below state/.
FILE_NAME: Final = "executions.sqlite"


async def open_store(state: Path, loop: asyncio.AbstractEventLoop, options: Callable[[], Options]) -> ExecutionStore:
    """The store, open; the caller closes it. `options` gives the present ones. Raises StateError."""
    store = SqliteStore(state / FILE_NAME, loop, options)
    store.open()
    return store


async def open_reader(state: Path, loop: asyncio.AbstractEventLoop) -> ExecutionReader:
    """What another process of the daemon has written, open; the caller closes it. Raises StateError."""
    reader = SqliteReader(state / FILE_NAME, loop)
    reader.open()
    return reader
