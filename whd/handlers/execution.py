"""/api/execution/<client>/<id>: the status of an execution, its cancellation."""

from __future__ import annotations

from ..errors import BadRequest
from ..http.messages import Head, Response
from ..model.caller_check import Query
from ..store.interface import Stored
from ..valueclass import valueclass
from .context import HandlerContext, record_response

MAX_WAIT_S = 3_600.0


@valueclass
class Asked:
    """What a request asks of an execution: its end by force, or its record, perhaps after a while."""

    is_cancel: bool
    wait_s: float


class ExecutionHandler:
    """The route EXECUTION."""

    def __init__(self, context: HandlerContext) -> None:
        self._lookup = context.lookup

    def read(self, head: Head, query: Query) -> Asked:
        """From method and query. Raises BadRequest."""
        return Asked(head.method == "DELETE", _wait_s(query.fields.get("wait")))

    async def answer_permitted(self, asked: Asked, stored: Stored) -> Response:
        """The record, as it is after the end or the wait that was asked for."""
        if asked.is_cancel:
            stored = await self._lookup.cancel(stored, "cancelled by DELETE")
        elif asked.wait_s > 0:
            stored = await self._lookup.wait(stored, asked.wait_s)
        return record_response(200, stored.execution, stored.script)


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
