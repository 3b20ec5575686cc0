"""What commands ask of an Engine, in the running daemon (over the control socket) or in the command's own process.

Every operation takes JSON arguments and gives JSON; errors are WhdError with a text for the person at the terminal.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from .. import __version__
from ..engine.engine import Engine
from ..errors import HttpError, WhdError
from ..executions.reruns import limits_now
from ..executions.runner import Runner
from ..futures import value_of
from ..model.execution import Execution, Status, to_json
from ..store.interface import ExecutionStore, Stored
from ..wire.timestamps import timestamp
from .client import MAX_LIST
from .settings import SettingOperations


class Admin:
    """The operations, by the name that commands use."""

    def __init__(self, engine: Engine, *, addresses: Callable[[], list[str]] = list) -> None:
        self._engine = engine
        self._addresses = addresses
        self._started = time.monotonic()
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "status": self._status,
            "run": self._run,
            "executions.list": self._list,
            "executions.show": self._show,
            "executions.logs": self._logs,
            "executions.replay": self._replay,
            "executions.cancel": self._cancel,
            **SettingOperations(engine).table,
        }

    async def dispatch(self, command: str, arguments: dict[str, Any]) -> Any:
        """Does one operation. Raises WhdError."""
        operation = self._operations.get(command)
        if operation is None:
            raise WhdError(f"this daemon (whd {__version__}) does not know the operation {command!r}")
        try:
            return await operation(arguments)
        except HttpError as error:
            raise WhdError(error.log_detail) from None

    async def _status(self, _arguments: dict[str, Any]) -> Any:
        engine = self._engine
        snapshot = engine.snapshot
        scheduler = engine.pool.scheduler
        webhooks = sum(len(client.webhooks) for client in snapshot.clients.values())
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "state": "draining" if engine.runner.is_draining else "serving",
            "addresses": self._addresses(),
            "processes": 1,
            "config": str(engine.paths.config),
            "flows": str(engine.paths.flows),
            "state_folder": str(engine.paths.state),
            "clients": len(snapshot.clients),
            "webhooks": webhooks,
            "snapshot": snapshot.serial,
            "faults": [str(fault) for fault in snapshot.faults if not fault.is_warning],
            "executions": {
                "started": engine.runner.started_total,
                "live": engine.runner.active_count,
                "running": scheduler.running,
                "waiting": scheduler.waiting,
                "places": scheduler.slots,
            },
            "workers": {
                **engine.pool.processes.counts(),
                "forked": engine.pool.processes.forked_total,
                **_pool_counts(engine),
            },
            "refused_calls": engine.broker.refused_total,
            "buffered_bytes": engine.budget.used_bytes,
            "store": asdict(engine.store.counters()),
            "sandbox": engine.pool.processes.layers,
        }

    async def _run(self, arguments: dict[str, Any]) -> Any:
        """{client, flow, user, input}: runs one flow, recorded, and gives its record once it ended."""
        engine = self._engine
        client_name, flow_name, user_name = arguments["client"], arguments["flow"], arguments["user"]
        client = engine.snapshot.clients.get(client_name)
        if client is None:
            raise WhdError(f"there is no client {client_name!r}; there are: {_names(engine.snapshot.clients)}")
        if flow_name not in client.flows:
            raise WhdError(f"{client_name} has no flow {flow_name!r}; there are: {_names(client.flows)}")
        if user_name not in client.users:
            raise WhdError(f"{client_name} has no user {user_name!r}; there are: {_names(client.users)}")
        flow, user = engine.runner.resolve(engine.snapshot, client_name, flow_name, user_name)
        input_json = json.dumps(arguments.get("input"), separators=(",", ":")).encode("ascii")
        execution = Execution("", client_name, flow_name, user_name, "", input_json)
        limits, isolation = limits_now(engine.snapshot, execution, user)
        active = engine.runner.prepare(execution, flow, limits, isolation)
        await value_of(partial(engine.runner.start, active))
        return _record(active.stored())

    async def _list(self, arguments: dict[str, Any]) -> Any:
        """{client, status, webhook, limit}: the newest first, without inputs and outputs."""

        async def all_active() -> list[dict[str, Any]]:
            return active_summaries(self._engine.runner)

        return await list_executions(self._engine.store, arguments, all_active)

    async def _find(self, arguments: dict[str, Any]) -> Stored:
        execution_id = str(arguments["id"])
        stored = await self._engine.lookup.get(execution_id)
        if stored is None:
            raise WhdError(f"there is no execution {execution_id}")
        return stored

    async def _show(self, arguments: dict[str, Any]) -> Any:
        return _record(await self._find(arguments))

    async def _logs(self, arguments: dict[str, Any]) -> Any:
        stored = await self._find(arguments)
        return [line for lines in stored.execution.log for line in _log_lines(lines)]

    async def _replay(self, arguments: dict[str, Any]) -> Any:
        await self._find(arguments)
        active = await self._engine.reruns.replay(str(arguments["id"]))
        if arguments.get("wait") and not active.execution.status.is_ended:
            await value_of(active.add_waiter)
        return _record(active.stored())

    async def _cancel(self, arguments: dict[str, Any]) -> Any:
        stored = await self._find(arguments)
        if stored.execution.status.is_ended:
            raise WhdError(f"{stored.execution.id} is not running: {stored.execution.status}")
        return _record(await self._engine.lookup.cancel(stored, "cancelled by an operator"))


async def list_executions(
    store: ExecutionStore, arguments: dict[str, Any], all_active: Callable[[], Awaitable[list[dict[str, Any]]]]
) -> list[dict[str, Any]]:
    """{client, status, webhook, limit}: the store's rows, overlaid with what lives and is newer in memory.

    Raises WhdError.
    """
    status = arguments.get("status")
    limit = arguments.get("limit", 50)
    if status is not None and status not in list(Status):
        raise WhdError(f"there is no status {status!r}; there are: {', '.join(Status)}")
    if not 1 <= limit <= MAX_LIST:
        raise WhdError(f"--limit takes 1 to {MAX_LIST}")
    by_id = {row["id"]: row for row in await all_active()}
    found = await store.list(
        client=arguments.get("client"),
        status=None if status is None else Status(status),
        webhook=arguments.get("webhook"),
        limit=limit,
    )
    for execution in found:
        # Asked later, it knows of ends that came meanwhile.
        if execution.status.is_ended or execution.id not in by_id:
            by_id[execution.id] = _summary(execution)
    wanted = {"client_name": "client", "status": "status", "webhook_name": "webhook"}
    kept = [
        row
        for row in by_id.values()
        if all(arguments.get(name) is None or row[field] == arguments[name] for field, name in wanted.items())
    ]
    # UUIDv7 sorts by time.
    return sorted(kept, key=lambda row: str(row["id"]), reverse=True)[:limit]


def active_summaries(runner: Runner) -> list[dict[str, Any]]:
    """What has not ended, as `whd executions list` shows it."""
    return [_summary(active.execution) for active in runner.list_active()]


def _pool_counts(engine: Engine) -> dict[str, int]:
    pool = engine.pool
    return {
        "killed": pool.killed_total,
        "handed": pool.prefetch.prefetched_total,
        "taken_back": pool.prefetch.revoked_total,
    }


def _log_lines(lines: bytes) -> list[Any]:
    """A worker's own words, kept as they came: what is no JSON list is shown as the text that it is."""
    try:
        parsed = json.loads(lines, parse_float=_finite, parse_constant=str)
    except (ValueError, RecursionError):
        parsed = None
    if type(parsed) is not list:
        return [{"text": lines.decode("utf-8", "replace")}]
    return [line if type(line) is dict else {"text": str(line)} for line in parsed]


def _finite(text: str) -> float | str:
    value = float(text)
    return value if value - value == 0 else text


def _names(mapping: Any) -> str:
    names = sorted(mapping)
    return ", ".join(names[:20]) + (" and more" if len(names) > 20 else "") if names else "none"


def _record(stored: Stored) -> Any:
    return json.loads(to_json(stored.execution, stored.script))


def _summary(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "client_name": execution.client_name,
        "webhook_name": execution.webhook_name or None,
        "flow_name": execution.flow_name,
        "user_name": execution.user_name,
        "status": execution.status,
        "message": execution.message,
        "created_at": timestamp(execution.created_ms),
        "started_at": timestamp(execution.started_ms),
        "ended_at": timestamp(execution.ended_ms),
        "attempts": execution.attempts,
        "parent_id": execution.parent_id or None,
        "replay_of": execution.replay_of or None,
    }
