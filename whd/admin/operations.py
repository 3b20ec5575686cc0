"""What commands ask of an Engine, in the running daemon (over the control socket) or in the command's own process.

Every operation takes JSON arguments and gives JSON; errors are WhdError with a text for the person at the terminal.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from .. import __version__
from ..engine.engine import Engine
from ..engine.status import DaemonFacts, status_document
from ..errors import HttpError, WhdError
from ..executions.active import ActiveExecution
from ..executions.reruns import limits_now
from ..futures import value_of
from ..model.execution import Execution, Status
from ..model.snapshot import Client, Webhook
from ..settings.tree import WEBHOOK_PREFIX
from ..store.interface import ExecutionStore, Stored
from .client import MAX_LIST
from .documents import log_lines, record_document, response_document, summary_row
from .settings import SettingOperations
from .webhooks import WebhookOperations

MAX_FOLLOWED: Final = 64
FOLLOW_S: Final = 2.0
LOOK_S: Final = 0.05


class Admin:
    """The operations, by the name that commands use."""

    def __init__(self, engine: Engine, *, addresses: Callable[[], list[str]] = list) -> None:
        self._engine = engine
        self._addresses = addresses
        self._started = time.monotonic()
        # Runs that a command follows, by id. One that stopped asking leaves its run here until others displace it.
        self._followed: OrderedDict[str, ActiveExecution] = OrderedDict()
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "status": self._status,
            "run": self._run,
            "run.follow": self._follow,
            "executions.list": self._list,
            "executions.show": self._show,
            "executions.logs": self._logs,
            "executions.replay": self._replay,
            "executions.cancel": self._cancel,
            **SettingOperations(engine).table,
            **WebhookOperations(engine).table,
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
        facts = DaemonFacts(
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started,
            state="draining" if self._engine.runner.is_draining else "serving",
            addresses=self._addresses(),
            processes=1,
            paths=self._engine.paths,
        )
        return status_document(self._engine.report(), facts)

    async def _run(self, arguments: dict[str, Any]) -> Any:
        """{client, flow, user, input}: runs one flow, recorded, and gives its record once it ended.

        Without `input`, with what an empty POST gives. With `follow` gives {id} at once; `run.follow` tells the rest.
        """
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
        value = arguments["input"] if "input" in arguments else empty_call(client, flow_name, user_name)
        input_json = json.dumps(value, separators=(",", ":")).encode("ascii")
        execution = Execution("", client_name, flow_name, user_name, "", input_json)
        limits, isolation = limits_now(engine.snapshot, execution, user)
        active = engine.runner.prepare(execution, flow, limits, isolation)
        if arguments.get("follow"):
            engine.runner.start(active, lambda _active: None)
            self._followed[execution.id] = active
            if len(self._followed) > MAX_FOLLOWED:
                self._followed.popitem(last=False)
            return {"id": execution.id}
        await value_of(partial(engine.runner.start, active))
        return record_document(active.stored())

    async def _follow(self, arguments: dict[str, Any]) -> Any:
        """{id, after}: the log of a run that is followed, from frame `after` on, once there is more or it ended.

        Gives {log, next, record, response}: the latter two are null before the end, and `response` unless the flow
        answers for itself. Asked again after FOLLOW_S at the latest, lest it be mistaken for a daemon that hangs.
        """
        execution_id, after = str(arguments["id"]), int(arguments["after"])
        active = self._followed.get(execution_id)
        if active is None:
            raise WhdError(
                f"nobody follows {execution_id} any more; `whd executions show {execution_id}` has its record"
            )
        execution = active.execution
        deadline = time.monotonic() + FOLLOW_S
        while not execution.status.is_ended and len(execution.log) <= after and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_S)
        frames = execution.log[after:]
        news: dict[str, Any] = {"log": [line for lines in frames for line in log_lines(lines)]}
        news |= {"next": after + len(frames), "record": None, "response": None}
        if execution.status.is_ended:
            del self._followed[execution_id]
            news["record"] = record_document(active.stored())
            if active.response is not None and execution.status is Status.ENDED_SUCCESS:
                news["response"] = response_document(active.response)
        return news

    async def _list(self, arguments: dict[str, Any]) -> Any:
        """{client, status, webhook, limit}: the newest first, without inputs and outputs."""

        async def all_active() -> list[dict[str, Any]]:
            return [summary_row(active.execution) for active in self._engine.runner.list_active()]

        return await list_executions(self._engine.store, arguments, all_active)

    async def _find(self, arguments: dict[str, Any]) -> Stored:
        execution_id = str(arguments["id"])
        stored = await self._engine.lookup.get(execution_id)
        if stored is None:
            raise WhdError(f"there is no execution {execution_id}")
        return stored

    async def _show(self, arguments: dict[str, Any]) -> Any:
        return record_document(await self._find(arguments))

    async def _logs(self, arguments: dict[str, Any]) -> Any:
        stored = await self._find(arguments)
        return [line for lines in stored.execution.log for line in log_lines(lines)]

    async def _replay(self, arguments: dict[str, Any]) -> Any:
        await self._find(arguments)
        active = await self._engine.reruns.replay(str(arguments["id"]))
        if arguments.get("wait") and not active.execution.status.is_ended:
            await value_of(active.add_waiter)
        return record_document(active.stored())

    async def _cancel(self, arguments: dict[str, Any]) -> Any:
        stored = await self._find(arguments)
        if stored.execution.status.is_ended:
            raise WhdError(f"{stored.execution.id} is not running: {stored.execution.status}")
        return record_document(await self._engine.lookup.cancel(stored, "cancelled by an operator"))


async def list_executions(
    store: ExecutionStore, arguments: dict[str, Any], all_active: Callable[[], Awaitable[list[dict[str, Any]]]]
) -> list[dict[str, Any]]:
    """{client, status, webhook, limit}: the store's rows, overlaid with what is active and newer in memory.

    Raises WhdError.
    """
    status = arguments.get("status")
    limit = arguments.get("limit", 50)
    arguments = {**arguments, **_named_webhook(arguments)}
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
            by_id[execution.id] = summary_row(execution)
    wanted = {"client_name": "client", "status": "status", "webhook_name": "webhook"}
    kept = [
        row
        for row in by_id.values()
        if all(arguments.get(name) is None or row[field] == arguments[name] for field, name in wanted.items())
    ]
    # UUIDv7 sorts by time.
    return sorted(kept, key=lambda row: str(row["id"]), reverse=True)[:limit]


def _named_webhook(arguments: dict[str, Any]) -> dict[str, Any]:
    """Webhook and client of a webhook that is named as its row shows it, as its setting or as its URL does.

    So `signup`, `client.webhook.signup`, `myclient/signup` and `/api/webhook/myclient/signup`. Raises WhdError.
    """
    given, client = arguments.get("webhook"), arguments.get("client")
    if given is None:
        return {}
    owner, _, name = given.rstrip("/").rpartition("/")
    owner = owner.rpartition("/")[2] or client
    if client is not None and owner != client:
        raise WhdError(f"--webhook {given} is of the client {owner!r}, and --client says {client!r}")
    return {"client": owner, "webhook": name.removeprefix(WEBHOOK_PREFIX)}


def empty_call(client: Client, flow_name: str, user_name: str) -> dict[str, Any]:
    """The input_value of a POST without a body to the webhook of a flow, that of the same user if there are several."""
    webhooks = [
        webhook
        for _, webhook in sorted(client.webhooks.items())
        if isinstance(webhook, Webhook) and webhook.flow_name == flow_name
    ]
    webhooks.sort(key=lambda webhook: webhook.user_name != user_name)
    name = webhooks[0].name if webhooks else quote(flow_name, safe="")
    return {
        "method": "POST",
        "path": f"/api/webhook/{client.name}/{name}",
        "query": {},
        "headers": {},
        "json": None,
    }


def _names(mapping: Any) -> str:
    names = sorted(mapping)
    return ", ".join(names[:20]) + (" and more" if len(names) > 20 else "") if names else "none"
