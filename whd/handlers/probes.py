"""/healthz and /readyz: for load balancers and supervisors. They tell no name and no secret."""

from __future__ import annotations

from collections.abc import Callable

from ..http.messages import Admission, Body, Head, Response
from .context import HandlerContext, json_response


class HealthHandler:
    """The route HEALTHZ: the loop turns."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context

    def admit(self, head: Head, path: str, query_text: str, parameters: tuple[str, ...]) -> Admission:
        """Always."""
        return Admission(1_024, None)

    def handle(self, call: None, body: Body, respond: Callable[[Response], None]) -> None:
        """Answers 200."""
        respond(json_response(200, {"status": "alive"}))


class ReadyHandler(HealthHandler):
    """The route READYZ: 200 when calls are served, 503 while starting or draining."""

    def handle(self, call: None, body: Body, respond: Callable[[Response], None]) -> None:
        """Answers what the daemon says of itself."""
        status, document = self._context.readiness()
        headers = ((b"retry-after", b"1"),) if status == 503 else ()
        respond(json_response(status, document, headers))
