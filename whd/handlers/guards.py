"""What each Access asks of a caller, asked by the router's side: a route's handler is reached only through its guard.

A guard decides all that can be decided before a handler acts, and hands on only what the handler needs then. So a
handler cannot forget a check, and one that is not made for its route's access is refused when the App is made.

The order of checks for a webhook: there is such a webhook, the method, the encoding, what its caller check finds in
query and headers; then the body is read; then its bytes, its payload. What is refused earlier costs no body, and
nothing of a refused call is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any, ClassVar, Final, Protocol, cast, runtime_checkable

from ..errors import HttpError, InvalidKey, InvalidSignature, NotFound
from ..http.messages import Admission, Body, Head, Respond, Response
from ..model.caller_check import BodyCheck, Query, RequestHead
from ..model.snapshot import Snapshot, Webhook
from ..senders.handshakes import MOST_BODY_BYTES, Request
from ..store.interface import Stored
from ..valueclass import valueclass
from ..wire import payload
from ..wire.payload import Parsed
from ..wire.strict_json import is_quick
from .call import Call, CallPlan, input_start, plan_call
from .context import HandlerContext, find_webhook
from .query import keys_with_plus
from .query import parse as parse_query
from .routes import Access, Route, check_method

log = logging.getLogger("whd.handlers")

# A body that means nothing is read and dropped, up to there.
UNUSED_BODY_BYTES = 1_024

# What App.handle calls, with the plan, the body and how to answer; it gives what http.messages.Application.handle does.
Handle = Callable[[Any, Body, Respond], Callable[[], None] | None]


class Guard(Protocol):
    """Stands before one route's handler. The call of its admissions is (Handle, plan)."""

    demands: ClassVar[type]
    """The protocol that the handler must follow."""

    def __init__(self, context: HandlerContext, route: Route, handler: Any) -> None: ...

    def admit(
        self, snapshot: Snapshot, head: Head, path: str, query_text: str, parameters: tuple[str, ...]
    ) -> tuple[Admission, bool]:
        """Everything that can be refused without the body. Raises HttpError.

        Gives also whether the same head may be admitted so again as long as the snapshot is the same.
        """


@runtime_checkable
class ServesAnybody(Protocol):
    """What a handler of a public route does. Each of the three methods has a name of its own: guard_of looks there."""

    def answer_anybody(self) -> Response:
        """Answers. Raises HttpError."""


class PublicGuard(Guard):
    """Access.PUBLIC: asks for nothing."""

    demands: ClassVar[type] = ServesAnybody

    def __init__(self, context: HandlerContext, route: Route, handler: ServesAnybody) -> None:
        self._route = route
        self._handler = handler

    def admit(
        self, snapshot: Snapshot, head: Head, path: str, query_text: str, parameters: tuple[str, ...]
    ) -> tuple[Admission, bool]:
        check_method(head.method, self._route.methods)
        return Admission(UNUSED_BODY_BYTES, (self._handle, None)), True

    def _handle(self, plan: None, body: Body, respond: Respond) -> None:
        respond(self._handler.answer_anybody())


@runtime_checkable
class ServesCallers(Protocol):
    """What a handler of a webhook's route does."""

    def run(self, call: Call[CallPlan], parsed: Parsed) -> None:
        """Goes on with a call that the caller check let pass. Answers once, now or later. Raises HttpError."""


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, part: bytes | bytearray | memoryview, /) -> object:
        """The next bytes."""

    def digest(self) -> bytes:
        """The hash of all that came so far."""


class _EachPart:
    """A body's parts, as they come, for two who need them."""

    __slots__ = ("_check", "_digest")

    def __init__(self, check: BodyCheck | None, digest: Digest) -> None:
        self._check = check
        self._digest = digest

    def __call__(self, part: bytes) -> None:
        self._digest.update(part)
        if self._check is not None:
            self._check.update(part)


class WebhookGuard(Guard):
    """Access.WEBHOOK: the caller check of the webhook, over head, raw body and payload."""

    demands: ClassVar[type] = ServesCallers

    def __init__(self, context: HandlerContext, route: Route, handler: ServesCallers) -> None:
        self._loop = context.loop
        self._payload_parser = context.pool.payload_parser
        self._run = handler.run
        self._handshakes = context.handshakes

    def admit(
        self, snapshot: Snapshot, head: Head, path: str, query_text: str, parameters: tuple[str, ...]
    ) -> tuple[Admission, bool]:
        client_name, webhook_name = parameters
        webhook = find_webhook(snapshot, client_name, webhook_name)
        if webhook.handshake is not None:
            query = parse_query(query_text, has_key=webhook.caller_check.takes_key)
            request = webhook.handshake.request(head, query)
            row = webhook.handshake.handshake
            if not row.is_signed and row.is_asked(request):
                admission = self._admit_handshake(webhook, request, query)
                if admission is not None:
                    return admission, False
        return self._admit_call(snapshot, webhook, head, path, query_text)

    def _admit_handshake(self, webhook: Webhook, request: Request, query: Query) -> Admission | None:
        """A handshake that nobody signs, by its key alone; None for what `verify` lets in anyway. Raises HttpError."""
        consent = webhook.handshake
        assert consent is not None
        head = request.head
        if not consent.handshake.pointers:
            if not consent.key_check.check_head(head, query).is_complete:
                raise InvalidKey
            response = self._handshakes.response(webhook, request)
            return None if response is None else Admission(UNUSED_BODY_BYTES, (_send, response))
        refused = _refusal(webhook, head, query)
        if refused is None:
            return None
        length = head.content_length
        if length is None or length > MOST_BODY_BYTES or not consent.key_check.check_head(head, query).is_complete:
            return None

        def handle(plan: None, body: Body, respond: Respond) -> None:
            whole = b"".join(body) if isinstance(body, list) else body
            try:
                picked = payload.parse(whole, _content_type(head), False, consent.handshake.pointers).picked
            except HttpError:
                # Of a body that proves nothing nobody hears what is wrong with it.
                raise refused from None
            response = self._handshakes.response(webhook, consent.request(head, query, picked))
            if response is None:
                raise refused
            respond(response)

        return Admission(MOST_BODY_BYTES, (handle, None))

    def _admit_call(
        self, snapshot: Snapshot, webhook: Webhook, head: Head, path: str, query_text: str
    ) -> tuple[Admission, bool]:
        # Its own, not the route's: a webhook narrows them, and a missing one must look no different.
        check_method(head.method, webhook.methods, head_runs_nothing=True)
        check = webhook.caller_check
        try:
            plan = plan_call(snapshot, webhook, head, path, query_text)
        except InvalidKey as error:
            raise _explained(error, webhook, head, check.check_head) from None
        body_check = check.body_check(head, plan.proof)
        max_body_bytes = webhook.limits.max_body_bytes
        if webhook.dedup is not None and webhook.dedup.needs_digest:
            digest = sha256()
            parts = _EachPart(body_check, digest)
            return Admission(max_body_bytes, (partial(self._handle_digested, body_check, digest), plan), parts), False
        if body_check is None:
            return Admission(max_body_bytes, (self.handle, plan)), check.is_repeatable
        # A check of one body: the next request needs another.
        handle = partial(self._handle_checked, body_check)
        return Admission(max_body_bytes, (handle, plan), body_check.update), False

    def _handle_digested(
        self, body_check: BodyCheck | None, digest: Digest, plan: CallPlan, body: Body, respond: Respond
    ) -> None:
        if body_check is None:
            self.handle(plan, body, respond, digest.digest())
        else:
            self._handle_checked(body_check, plan, body, respond, digest.digest())

    def _handle_checked(
        self, body_check: BodyCheck, plan: CallPlan, body: Body, respond: Respond, digest: bytes = b""
    ) -> None:
        try:
            body_check.finish(body)
        except InvalidSignature as refused:
            if not (plan.is_gzip and body):
                raise
            self._check_unpacked(refused, plan, body, respond, digest)
        else:
            self.handle(plan, body, respond, digest)

    def _check_unpacked(
        self, refused: InvalidSignature, plan: CallPlan, body: Body, respond: Respond, digest: bytes
    ) -> None:
        """Some senders sign before they pack. Unpacked and hashed in a thread: zlib and hashlib let the loop go on."""
        call = Call(plan, respond)

        def check() -> None:
            packed = b"".join(body) if isinstance(body, list) else body
            unpacked = payload.gunzip(packed, plan.webhook.limits.max_body_bytes)
            body_check = plan.webhook.caller_check.body_check(plan.head, plan.proof)
            if body_check is not None:
                body_check.update(unpacked)
                body_check.finish(unpacked)

        def go_on(checked: Future[None]) -> None:
            if isinstance(checked.exception(), HttpError):
                # Of a body that proves nothing nobody hears whether it can be unpacked.
                raise refused
            checked.result()
            self.handle(plan, body, respond, digest)

        self._loop.run_in_executor(None, check).add_done_callback(call.then(go_on))

    def handle(self, plan: CallPlan, body: Body, respond: Respond, digest: bytes = b"") -> None:
        """Reads the payload here or, if it is large, elsewhere, and goes on with it. Raises HttpError.

        `digest`: the body's SHA-256, where the webhook's rules need it.
        """
        call = Call(plan, respond, digest)
        if (
            isinstance(body, list)
            or (plan.is_gzip and body)
            or not is_quick(body)
            or (len(body) >= payload.LARGE_MULTIPART_BYTES and payload.is_multipart(plan.content_type))
        ):
            self._parse_elsewhere(call, body)
            return
        pointers, unwrap = plan.webhook.pointers, plan.webhook.unwrap
        parsed = payload.parse(body, plan.content_type, plan.takes_key, pointers, unwrap)
        if (parsed.keys or not plan.proof.is_complete) and not self._takes_key(plan, parsed):
            parsed = payload.parse(body, plan.content_type, False, pointers, unwrap)
        self._run(call, parsed)

    def _takes_key(self, plan: CallPlan, parsed: Parsed) -> bool:
        return plan.webhook.caller_check.check_payload(plan.proof, parsed)

    def _parse_elsewhere(self, call: Call[CallPlan], body: Body) -> None:
        plan = call.plan
        is_proved = plan.proof.is_complete

        def go_on(result: Parsed | HttpError) -> None:
            if isinstance(result, HttpError):
                raise result
            if (result.keys or not is_proved) and not self._takes_key(plan, result):
                parse(False, run)
            elif is_proved:
                self._run(call, result)
            else:
                members_json = b"%b,%b" % (input_start(plan), result.members_json)
                self._run(call, Parsed(members_json, result.keys, is_whole=True, picked=result.picked))

        def run(result: Parsed | HttpError) -> None:
            if isinstance(result, HttpError):
                raise result
            self._run(call, result)

        # Of a caller who has proved nothing yet the head's part of the input is not made (CallerCheck.visible).
        start = input_start(plan).decode("ascii") + "," if is_proved else ""
        gunzip_limit = plan.webhook.limits.max_body_bytes if plan.is_gzip else 0

        def parse(takes_key: bool, done: Callable[[Parsed | HttpError], None]) -> None:
            self._payload_parser.parse(
                body,
                plan.content_type,
                takes_key,
                call.then(done),
                start=start,
                gunzip_limit=gunzip_limit,
                pointers=plan.webhook.pointers,
                unwrap=plan.webhook.unwrap,
            )

        parse(plan.takes_key, go_on)


def _refusal(webhook: Webhook, head: RequestHead, query: Query) -> InvalidSignature | None:
    """Why the webhook's `verify` refuses the head, None if it does not."""
    try:
        webhook.caller_check.check_head(head, query)
    except InvalidSignature as error:
        return error
    except HttpError:
        return None
    return None


def _content_type(head: RequestHead) -> str:
    found = [value for name, value in head.headers if name == b"content-type"]
    return found[-1].decode("latin-1") if found else ""


def _send(response: Response, body: Body, respond: Respond) -> None:
    respond(response)


@valueclass
class StatusPlan:
    """What a head asks of an execution. `asked`: what the handler read of it."""

    snapshot: Snapshot
    head: Head
    query: Query
    client_name: str
    execution_id: str
    asked: Any


@runtime_checkable
class ServesExecution(Protocol):
    """What a handler of an execution's route does."""

    def read(self, head: Head, query: Query) -> Any:
        """What is asked for, for `answer`. Raises HttpError."""

    async def answer_permitted(self, asked: Any, stored: Stored) -> Response:
        """Answers a caller who may see and cancel this execution. Raises HttpError."""


class ExecutionGuard(Guard):
    """Access.EXECUTION: the caller check, as it stands now, of the webhook that the execution's tree came through.

    Without such a webhook the answer is the same as for an id that does not exist.
    """

    demands: ClassVar[type] = ServesExecution

    def __init__(self, context: HandlerContext, route: Route, handler: ServesExecution) -> None:
        self._context = context
        self._route = route
        self._handler = handler
        self._tasks: set[asyncio.Task[Response]] = set()

    def admit(
        self, snapshot: Snapshot, head: Head, path: str, query_text: str, parameters: tuple[str, ...]
    ) -> tuple[Admission, bool]:
        check_method(head.method, self._route.methods)
        query = parse_query(query_text)
        asked = self._handler.read(head, query)
        client_name, execution_id = parameters
        plan = StatusPlan(snapshot, head, query, client_name, execution_id, asked)
        # The check itself is asked anew of each request.
        return Admission(UNUSED_BODY_BYTES, (self._handle, plan)), True

    def _handle(self, plan: StatusPlan, body: Body, respond: Respond) -> Callable[[], None] | None:
        # The store is asked off the loop, so this is a task.
        task = self._context.loop.create_task(self._response(plan))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        call = Call(plan, respond)
        task.add_done_callback(call.then(partial(_answer, call)))
        return partial(_cancel, task) if plan.head.method != "DELETE" else None

    async def _response(self, plan: StatusPlan) -> Response:
        stored = await self._context.lookup.get(plan.execution_id)
        if stored is None or stored.execution.client_name != plan.client_name:
            raise NotFound
        webhook_name = stored.execution.key_webhook_name
        if not webhook_name:
            raise NotFound
        webhook = find_webhook(plan.snapshot, plan.client_name, webhook_name)
        if webhook.status_check is None:
            raise NotFound
        check_status = webhook.status_check.check_status
        try:
            check_status(plan.head, plan.query)
        except InvalidKey as error:
            raise _explained(error, webhook, plan.head, check_status) from None
        return await self._handler.answer_permitted(plan.asked, stored)


def _explained(error: InvalidKey, webhook: Webhook, head: Head, check: Callable[[Head, Query], object]) -> InvalidKey:
    """The error, with the reason for the operator's log if the key in the URL would be right but for a + in it."""
    query_text = head.target.partition("?")[2]
    if "+" not in query_text:
        return error
    try:
        check(head, Query({}, keys_with_plus(query_text)))
    except HttpError:
        return error
    what = "the key in the URL is right but for a +, which stands for a space there: %2B stands for a +"
    return InvalidKey(error.detail, log_detail=f"{webhook.client_name}/{webhook.name}: {what}")


def _answer(call: Call[StatusPlan], task: asyncio.Task[Response]) -> None:
    if task.cancelled():
        return  # the client went away
    error = task.exception()
    if error is None:
        call.respond(task.result())
    elif isinstance(error, HttpError):
        raise error
    else:
        # A task has nobody above it: without an answer here the caller would wait for ever.
        log.error("the status of %s", call.plan.execution_id, exc_info=error)
        raise HttpError("internal error")


def _cancel(task: asyncio.Task[Response]) -> None:
    task.cancel()


GUARDS: Final[dict[Access, type[Guard]]] = {
    Access.PUBLIC: PublicGuard,
    Access.WEBHOOK: WebhookGuard,
    Access.EXECUTION: ExecutionGuard,
}


def guard_of(context: HandlerContext, route: Route, handler: object) -> Guard:
    """The guard of a route, before its handler. Raises TypeError if the two do not go together."""
    guard = GUARDS.get(route.access)
    if guard is None:
        raise TypeError(f"the route {route.name} does not say what it asks of its callers")
    if not isinstance(handler, guard.demands):
        raise TypeError(f"{type(handler).__name__} is no {guard.demands.__name__}, as the route {route.name} demands")
    return guard(context, route, cast(Any, handler))
