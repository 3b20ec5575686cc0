"""From a request's head to the handler that answers it, and from an error to its answer.

The server (http/) calls `admit` with a head, then `handle` with the body. What a route asks of its caller stands in
routes.ROUTES; its guard (guards.py) asks it, and only then its handler is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import HttpError, Misconfigured, NotFound
from ..http.messages import Admission, Application, Body, Head, Respond, Response
from ..model.snapshot import Snapshot
from . import routes
from .context import HandlerContext, find_webhook, problem_response
from .execution import ExecutionHandler
from .guards import guard_of
from .probes import HealthHandler, ReadyHandler
from .webhook import WebhookHandler


def handlers_of(context: HandlerContext) -> dict[routes.Route, object]:
    """The handler of each route."""
    return {
        routes.WEBHOOK: WebhookHandler(context),
        routes.EXECUTION: ExecutionHandler(context),
        routes.HEALTHZ: HealthHandler(),
        routes.READYZ: ReadyHandler(context),
    }


class App(Application):
    """What the server serves.

    Raises TypeError for a route without an access, or with a handler that is not made for it.
    """

    def __init__(self, context: HandlerContext, handlers: Mapping[routes.Route, object] | None = None) -> None:
        """`handlers`: of the routes to serve; None: all of whd's."""
        if handlers is None:
            handlers = handlers_of(context)
        self._reloader = context.reloader
        self._routes = tuple(handlers)
        self._guards = {route.name: guard_of(context, route, handler) for route, handler in handlers.items()}

    def admit(self, head: Head) -> Admission:
        """Finds the route, then has its guard check. Raises HttpError."""
        admission = self.readmit(head)
        if admission is None:
            snapshot = self._reloader.snapshot
            path, _, query_text = head.target.partition("?")
            try:
                route, parameters = routes.match(path, self._routes)
            except NotFound:
                raise self._not_found(snapshot, path) from None
            admission, is_repeatable = self._guards[route.name].admit(snapshot, head, path, query_text, parameters)
            if is_repeatable:
                object.__setattr__(head, "memo", (snapshot, admission))
        return admission

    def _not_found(self, snapshot: Snapshot, path: str) -> NotFound:
        """What a caller hears of a path that no route has: that a slash at its end is too much, where it is.

        Of webhooks that exist alone, which the same path without the slash would show as well.
        """
        bare = path.rstrip("/")
        if bare == path:
            return NotFound()
        try:
            route, parameters = routes.match(bare, self._routes)
            if route is routes.WEBHOOK:
                find_webhook(snapshot, *parameters)
        except NotFound:
            return NotFound()
        except Misconfigured:
            pass  # it is there
        return NotFound(f"there is nothing here: the path ends with a slash; it is {bare} without one")

    def readmit(self, head: Head) -> Admission | None:
        """A client that keeps its connection often sends the same head again.

        As long as the snapshot is the same, so is what came of it.
        """
        memo: tuple[Snapshot, Admission] | None = head.memo
        if memo is not None and memo[0] is self._reloader.snapshot:
            return memo[1]
        return None

    def handle(self, admission: Admission, body: Body, respond: Respond) -> Callable[[], None] | None:
        handle, plan = admission.call
        outcome: Callable[[], None] | None = handle(plan, body, respond)
        return outcome

    def problem(self, error: HttpError) -> Response:
        return problem_response(error)
