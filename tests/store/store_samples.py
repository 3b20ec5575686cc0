"""Executions to store, and an open store to put them in; for the tests of the store."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from whd.model.execution import Cause, Execution, Status, new_id
from whd.model.options import Options
from whd.store.interface import ExecutionStore
from whd.store.sqlite_store import SqliteStore

SOURCE = "def handler(system, this):\n    return this.success('ä')\n"
WAIT_S = 20.0


def make(**fields: Any) -> Execution:
    """An ended execution of acme's signup, or what `fields` make of it."""
    now = time.time_ns() // 1_000_000
    values: dict[str, Any] = {
        "id": new_id(fields.get("created_ms", now)),
        "client_name": "acme",
        "flow_name": "signup",
        "user_name": "kevin",
        "script_hash": "a" * 64,
        "input_json": b'{"json":{"name":"x"}}',
        "webhook_name": "signup",
        "key_webhook_name": "signup",
        "status": Status.ENDED_SUCCESS,
        "created_ms": now,
        "started_ms": now,
        "ended_ms": now,
    } | fields
    values.setdefault("root_id", values["id"])
    return Execution(**values)


@contextlib.asynccontextmanager
async def opened(path: Path, options: Callable[[], Options] = Options) -> AsyncIterator[SqliteStore]:
    """A store on the SQLite file, open for the block."""
    store = SqliteStore(path, asyncio.get_running_loop(), options)
    store.open()
    try:
        yield store
    finally:
        await store.close()


def accepted(
    store: ExecutionStore, execution: Execution, script: str | None = SOURCE
) -> "asyncio.Future[Exception | None]":
    """What `accept` answers, to be awaited."""
    future: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    store.accept(execution, script, future.set_result)
    return future


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition that other threads bring about."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        await asyncio.sleep(0.005)


LOG = [b'{"a": 1}', b'{"text": "line\\nbreak",\n "b": 2}', b'""']

FULL = make(
    name="a name",
    kind="TASK",
    status=Status.ENDED_ERROR,
    cause=Cause.TIMEOUT,
    message="späte\0 Antwort \U0001f600",
    input_json=b'{"json":"' + "ü".encode() * 9000 + b'"}',
    output_json=b"[1,2]",
    response_json=b'{"body":"x"}',
    is_async=True,
    show_script=False,
    attempts=3,
    parent_id=new_id(),
    root_id=new_id(),
    replay_of=new_id(),
    created_ms=1_700_000_000_001,
    started_ms=1_700_000_000_002,
    ended_ms=1_700_000_000_003,
    log=LOG,
)
SPARSE = make(input_json=b"", output_json=b"", webhook_name="", key_webhook_name="", started_ms=0, ended_ms=0)
