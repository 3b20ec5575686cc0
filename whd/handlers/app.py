"""From a request's head to the handler that answers it, and from an error to its answer.

The server (http/) calls `admit` with a head, then `handle` with the body. What a route asks of its caller stands in
routes.ROUTES; its handler checks it, the webhook's or execution's key being known only there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..errors import HttpError
from ..http.messages import Admission, Body, Head, Respond, Response
from ..model.snapshot import Snapshot
from . import routes
from .context import HandlerContext, problem_response
from .execution import ExecutionHandler
from .probes import HealthHandler, ReadyHandler
from .webhook import WebhookHandler


class Handler(Protocol):
    """One route's handler; see http.messages.Application for when each is called."""

    def admit(self, head: Head, path: str, query_text: str, parameters: tuple[str, ...]) -> Admission:
        """Everything that can be refused without the body. Raises HttpError."""

    def handle(self, call: Any, body: Body, respond: Respond) -> Callable[[], None] | None:
        """Answers once, now or later. Raises HttpError."""


class App:
    """The Application that the server serves."""

    def __init__(self, context: HandlerContext) -> None:
        self._reloader = context.reloader
        self.handlers: dict[str, Handler] = {
            routes.WEBHOOK.name: WebhookHandler(context),
            routes.EXECUTION.name: ExecutionHandler(context),
            routes.HEALTHZ.name: HealthHandler(context),
            routes.READYZ.name: ReadyHandler(context),
        }

    def admit(self, head: Head) -> Admission:
        """Of Application: route, then the handler's own checks. Raises HttpError."""
        admission = self.readmit(head)
        if admission is None:
            snapshot = self._reloader.snapshot
            admission = self._admit(head)
            object.__setattr__(head, "memo", (snapshot, admission))
        return admission

    def readmit(self, head: Head) -> Admission | None:
        """Of Application. A client that keeps its connection often sends the same head again.

        As long as the snapshot is the same, so is what came of it.
        """
        memo: tuple[Snapshot, Admission] | None = head.memo
        if memo is not None and memo[0] is self._reloader.snapshot:
            return memo[1]
        return None

    def _admit(self, head: Head) -> Admission:
        path, _, query_text = head.target.partition("?")
        route, parameters = routes.match(path)
        if route is not routes.WEBHOOK:
            # A webhook narrows its methods itself, and one that does not exist is not told from one that does.
            routes.check_method(head.method, route.methods)
        handler = self.handlers[route.name]
        admission = handler.admit(head, path, query_text, parameters)
        return Admission(admission.max_body_bytes, (handler, admission.call))

    def handle(self, admission: Admission, body: Body, respond: Respond) -> Callable[[], None] | None:
        """Of Application. Raises HttpError."""
        handler, call = admission.call
        outcome: Callable[[], None] | None = handler.handle(call, body, respond)
        return outcome

    def problem(self, error: HttpError) -> Response:
        """Of Application."""
        return problem_response(error)
