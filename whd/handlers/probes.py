"""/healthz and /readyz: for load balancers and supervisors. They tell no name and no secret."""

from __future__ import annotations

from ..http.messages import Response
from .context import HandlerContext, json_response


class HealthHandler:
    """The route HEALTHZ: the loop turns."""

    def answer_anybody(self) -> Response:
        """Always 200."""
        return json_response(200, {"status": "alive"})


class ReadyHandler:
    """The route READYZ: 200 when calls are served, 503 while starting or draining."""

    def __init__(self, context: HandlerContext) -> None:
        self._readiness = context.readiness

    def answer_anybody(self) -> Response:
        """What the daemon says of itself."""
        status, document = self._readiness()
        headers = ((b"retry-after", b"1"),) if status == 503 else ()
        return json_response(status, document, headers)
