"""/api/execution/<client>/<id>: the status of an execution, its cancellation.

It asks for the key, as it stands now, of the webhook that the execution's tree came through. Without such a webhook
there is nothing to be had here, which is told no differently from an id that does not exist.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..auth.callers import check_given, keys_of_headers
from ..errors import BadRequest, HttpError, InvalidKey, NotFound
from ..http.messages import Admission, Body, Head, Response
from ..model.snapshot import Snapshot
from ..store.interface import Stored
from .context import HandlerContext, find_webhook, problem_response, record_response
from .query import parse as parse_query

log = logging.getLogger("whd.handlers")

MAX_WAIT_S = 3_600.0

Respond = Callable[[Response], None]


@dataclass(slots=True)
class StatusCall:
    """A request for an execution. `keys`: all that query and headers gave."""

    snapshot: Snapshot
    method: str
    client_name: str
    execution_id: str
    keys: list[bytes]
    wait_s: float


class ExecutionHandler:
    """The route EXECUTION."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self, head: Head, path: str, query_text: str, parameters: tuple[str, ...]) -> Admission:
        """Reads what is asked for. Raises HttpError."""
        query = parse_query(query_text)
        keys, _headers = keys_of_headers(head.headers)
        keys += query.keys
        wait_s = _wait_s(query.fields.get("wait"))
        client_name, execution_id = parameters
        call = StatusCall(self._context.snapshot, head.method, client_name, execution_id, keys, wait_s)
        return Admission(1_024, call)

    def handle(self, call: StatusCall, body: Body, respond: Respond) -> Callable[[], None] | None:
        """Answers with the record; the store is asked off the loop, so this is a task."""
        task = self._context.loop.create_task(self._answer(call, respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return (lambda: _cancel(task)) if call.method != "DELETE" else None

    async def _answer(self, call: StatusCall, respond: Respond) -> None:
        try:
            response = await self._response(call)
        except HttpError as error:
            response = problem_response(error)
        except Exception:
            # A task has nobody above it: without an answer here the caller would wait for ever.
            log.exception("the status of %s", call.execution_id)
            response = problem_response(HttpError("internal error"))
        respond(response)

    async def _response(self, call: StatusCall) -> Response:
        lookup = self._context.lookup
        stored = await lookup.get(call.execution_id)
        self._check_key(call, stored)
        assert stored is not None
        if call.method == "DELETE":
            stored = await lookup.cancel(stored, "cancelled by DELETE")
        elif call.wait_s > 0:
            stored = await lookup.wait(stored, call.wait_s)
        return record_response(200, stored.execution, stored.script)

    def _check_key(self, call: StatusCall, stored: Stored | None) -> None:
        webhook_name = stored.execution.key_webhook_name if stored is not None else ""
        if stored is None or stored.execution.client_name != call.client_name or not webhook_name:
            raise NotFound
        webhook = find_webhook(call.snapshot, call.client_name, webhook_name)
        if webhook is None:
            raise NotFound
        if webhook.keys:
            check_given(call.keys, webhook.keys)
            if not call.keys:
                raise InvalidKey


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _wait_s(value: object) -> float:
    if value is None:
        return 0.0
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_S:
        raise BadRequest(f"wait takes seconds from 0 to {MAX_WAIT_S:g}")
    return seconds
