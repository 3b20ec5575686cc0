"""What handlers share: the parts of the daemon that they may use, and how answers are written.

Handlers decide and answer; they own nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import HttpError, Misconfigured, NotFound
from ..executions.lookup import Lookup
from ..executions.runner import Runner
from ..http.messages import Headers, Response
from ..model.execution import Execution, to_json
from ..model.snapshot import Snapshot, Webhook
from ..pool.pool import Pool
from ..settings.reload import Reloader
from ..store.interface import DeliveryTable
from .counts import CallCounts
from .handshakes import Handshakes

log = logging.getLogger("whd.handlers")

JSON_HEADERS: Headers = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
NO_STORE: Headers = ((b"cache-control", b"no-store"),)
# On every answer that has an execution.
EXECUTION_ID = b"whd-execution-id"
PROBLEM_HEADERS: Headers = ((b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"))


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """The daemon's parts. `readiness` gives what /readyz answers: (status, document)."""

    loop: asyncio.AbstractEventLoop
    reloader: Reloader
    runner: Runner
    lookup: Lookup
    pool: Pool
    readiness: Callable[[], tuple[int, dict[str, Any]]]
    deliveries: DeliveryTable
    counts: CallCounts = field(default_factory=CallCounts)
    handshakes: Handshakes = field(default_factory=Handshakes)

    @property
    def snapshot(self) -> Snapshot:
        """The present snapshot; a request takes it once and keeps it."""
        return self.reloader.snapshot


def json_response(status: int, document: Any, headers: Headers = ()) -> Response:
    """A document as JSON."""
    body = json.dumps(document, separators=(",", ":")).encode("ascii")
    return Response(status, JSON_HEADERS + headers, body)


def problem_response(error: HttpError) -> Response:
    """RFC 9457: the one mapping from an error to its answer; what only the operator may read is logged."""
    if error.log_detail != error.detail:
        log.warning("%d %s: %s", error.status, error.code, error.log_detail)
    document = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    if error.members:
        document |= error.members
    body = json.dumps(document, separators=(",", ":")).encode("ascii")
    return Response(error.status, PROBLEM_HEADERS + error.headers, body)


def record_response(status: int, execution: Execution, script: str | None) -> Response:
    """An execution's record."""
    headers = (*JSON_HEADERS, (EXECUTION_ID, execution.id.encode("ascii")))
    return Response(status, headers, to_json(execution, script))


def accepted_response(execution: Execution, *, has_location: bool = True) -> Response:
    """202 for an execution that goes on; with `has_location`, where to look for it (RFC 9110, 15.3.3)."""
    document = {"id": execution.id, "execution_id": execution.id, "status": execution.status}
    headers: Headers = ((EXECUTION_ID, execution.id.encode("ascii")),)
    if has_location:
        headers += ((b"location", f"/api/execution/{execution.client_name}/{execution.id}".encode("ascii")),)
    return json_response(202, document, headers)


def success_response(webhook: Webhook) -> Response:
    """For a call that was taken and runs nothing: what its sender takes for success, without content."""
    return Response(webhook.success_status, NO_STORE)


def find_webhook(snapshot: Snapshot, client_name: str, name: str) -> Webhook:
    """An enabled webhook. Raises NotFound, and Misconfigured for one without any good version."""
    client = snapshot.clients.get(client_name)
    webhook = client.webhooks.get(name) if client is not None else None
    if webhook is None:
        raise NotFound
    if not isinstance(webhook, Webhook):
        raise Misconfigured("the webhook is misconfigured", log_detail=f"{webhook.path} has no good version")
    if not webhook.enabled:
        raise NotFound
    return webhook
