"""/api/webhook/<client>/<webhook>: a call becomes an execution, the execution becomes an answer (CONTRACT 3).

The order of checks: there is such a webhook, the method, the encoding, a key in query or headers; then the body is
read; then its key, the permission, the queue. A wrong key is refused before the body, and nothing of a refused call is
recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..auth.callers import check_given, keys_of_headers
from ..errors import HttpError, InvalidKey, Misconfigured, NotFound, Overloaded, UnsupportedEncoding
from ..executions.active import ActiveExecution
from ..http.messages import Admission, Body, Head, Headers, Response
from ..model.execution import Cause, Execution, Status
from ..model.snapshot import Flow, Snapshot, User, Webhook
from ..pool.compiler import Code, refusal_faults
from ..pool.job import FlowResponse
from ..wire import payload
from ..wire.payload import Parsed
from ..wire.strict_json import is_quick
from .context import HandlerContext, accepted_response, find_webhook, json_response, problem_response, record_response
from .query import Query
from .query import parse as parse_query
from .routes import check_method

Respond = Callable[[Response], None]

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

_STATUS_OF_END = {Status.ENDED_SUCCESS: 200, Status.ENDED_ERROR: 500, Status.ENDED_CANCELLED: 500}
_OUT_OF_TIME = (Cause.TIMEOUT, Cause.CPU)
# RFC 9110, 6.4.1 and 15.3.5, 15.4.5: answers that have no content.
_WITHOUT_CONTENT = (204, 205, 304)


@dataclass(slots=True)
class WebhookCall:
    """A call between its head and its body: what is known so far, all of which follows from head and snapshot.

    So it may serve more than one request. `prefix_json`, `resolved`: worked out at the first one.
    """

    snapshot: Snapshot
    webhook: Webhook
    head: Head
    path: str
    query: Query
    headers: Headers
    is_async: bool
    has_given_key: bool
    content_type: str
    is_gzip: bool
    prefix_json: bytes = b""
    resolved: tuple[Flow, User] | None = None


class WebhookHandler:
    """The route WEBHOOK."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._runner = context.runner
        self._compiler = context.pool.compiler

    def admit(self, head: Head, path: str, query_text: str, parameters: tuple[str, ...]) -> Admission:
        """Everything that can be refused without the body. Raises HttpError."""
        snapshot = self._context.snapshot
        webhook = find_webhook(snapshot, *parameters)
        if webhook is None:
            raise NotFound
        check_method(head.method, webhook.methods)
        content_type, is_gzip, prefers_async = _read_headers(head.headers)
        query = parse_query(query_text, has_key=bool(webhook.keys))
        headers = head.headers
        has_given_key = False
        if webhook.keys:
            keys, headers = keys_of_headers(headers)
            keys += query.keys
            check_given(keys, webhook.keys)
            has_given_key = bool(keys)
            if not has_given_key and head.content_length == 0:
                raise InvalidKey
        is_async = prefers_async if query.is_async is None else query.is_async
        call = WebhookCall(
            snapshot, webhook, head, path, query, headers, is_async, has_given_key, content_type, is_gzip
        )
        return Admission(webhook.limits.max_body_bytes, call)

    def handle(self, call: WebhookCall, body: Body, respond: Respond) -> Callable[[], None] | None:
        """Reads the payload here or, if it is large, elsewhere, and goes on with it. Raises HttpError."""
        if not isinstance(body, list) and not call.is_gzip and is_quick(body):
            self._with_payload(call, payload.parse(body, call.content_type, bool(call.webhook.keys)), respond)
        else:
            self._parse_elsewhere(call, body, respond)
        return None

    def _parse_elsewhere(self, call: WebhookCall, body: Body, respond: Respond) -> None:
        def parsed_elsewhere(result: Parsed | HttpError) -> None:
            if isinstance(result, HttpError):
                respond(problem_response(result))
                return
            try:
                self._with_payload(call, result, respond)
            except HttpError as error:
                respond(problem_response(error))

        webhook = call.webhook
        gunzip_limit = webhook.limits.max_body_bytes if call.is_gzip else 0
        start = _input_start(call).decode("ascii") + ","
        self._context.pool.payload_parser.parse(
            body, call.content_type, bool(webhook.keys), parsed_elsewhere, start=start, gunzip_limit=gunzip_limit
        )

    def _with_payload(self, call: WebhookCall, parsed: Parsed, respond: Respond) -> None:
        webhook = call.webhook
        if webhook.keys:
            if parsed.keys:
                check_given([None if key is None else _key_bytes(key) for key in parsed.keys], webhook.keys)
            elif not call.has_given_key:
                raise InvalidKey
        if call.resolved is None:
            names = webhook.client_name, webhook.flow_name, webhook.user_name
            call.resolved = self._runner.resolve(call.snapshot, *names)
        flow = call.resolved[0]
        code = self._compiler.known(flow)
        if code is not None:
            self._with_code(call, parsed, code, respond)
            return

        def compiled(code: Code) -> None:
            try:
                self._with_code(call, parsed, code, respond)
            except HttpError as error:
                respond(problem_response(error))

        self._compiler.compile(flow, compiled)

    def _with_code(self, call: WebhookCall, parsed: Parsed, code: Code, respond: Respond) -> None:
        assert call.resolved is not None
        flow, user = call.resolved
        webhook = call.webhook
        if code.refusal:
            fault = refusal_faults(flow, code.refusal)[0]
            self._context.reloader.flow_fault(flow, fault)
            raise Misconfigured("the webhook is misconfigured", log_detail=str(fault))
        if call.head.method == "HEAD":
            # As GET without the body, and nothing runs: there is no execution whose length could be told.
            respond(json_response(202 if call.is_async else 200, {}))
            return
        runner = self._runner
        execution = Execution(
            "",
            webhook.client_name,
            flow.name,
            user.name,
            flow.script_hash,
            _input_json(call, parsed),
            webhook.name,
            webhook.name,
            show_script=webhook.show_script,
        )
        isolation = "execution" if user.isolation == "execution" else webhook.isolation
        active = runner.prepare(execution, flow, webhook.limits, isolation)
        if call.is_async:
            self._start_async(active, respond)
            return

        def ended(active: ActiveExecution) -> None:
            respond(end_response(active))

        runner.start(active, ended, partial(self._stop_waiting, ended, respond))

    def _start_async(self, active: ActiveExecution, respond: Respond) -> None:
        def done(error: Exception | None) -> None:
            respond(accepted_response(active.execution) if error is None else _not_stored(error))

        self._runner.start_async(active, done)

    def _stop_waiting(
        self, waiter: Callable[[ActiveExecution], None], respond: Respond, active: ActiveExecution
    ) -> None:
        """wait_s is over, or the daemon drains: 202 once the record is on disk; the flow goes on."""
        if not active.remove_waiter(waiter):
            return

        def done(error: Exception | None) -> None:
            respond(accepted_response(active.execution) if error is None else _not_stored(error))

        self._runner.make_async(active, done)


def end_response(active: ActiveExecution) -> Response:
    """What a sync caller gets: the flow's own answer, or the record with 200, 500 or 504."""
    execution = active.execution
    if execution.cause is Cause.REFUSED:
        return problem_response(Misconfigured("the webhook is misconfigured", log_detail=execution.message))
    if active.response is not None and execution.status is Status.ENDED_SUCCESS:
        return _own_response(active.response)
    status = 504 if execution.cause in _OUT_OF_TIME else _STATUS_OF_END[execution.status]
    return record_response(status, execution, active.flow.source)


def _own_response(response: FlowResponse) -> Response:
    body = b"" if response.status in _WITHOUT_CONTENT else response.body
    return Response(response.status, response.headers, body)


def _not_stored(error: Exception) -> Response:
    return problem_response(Overloaded("the execution could not be written down", log_detail=str(error)))


def _key_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _read_headers(headers: Headers) -> tuple[str, bool, bool]:
    """Content type, whether the body is gzip, whether Prefer asks for async. Raises UnsupportedEncoding."""
    content_type = ""
    is_gzip = False
    prefers_async = False
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"content-encoding":
            is_gzip = _is_gzip(value, is_gzip)
        elif name == b"prefer":
            # RFC 7240, 2 and 4.1: a comma-separated list, names without regard to case.
            prefers_async |= any(
                item.partition(b";")[0].strip().lower() == b"respond-async" for item in value.split(b",")
            )
    return content_type, is_gzip, prefers_async


def _is_gzip(value: bytes, is_gzip: bool) -> bool:
    for coding in value.split(b","):
        name = coding.strip().lower()
        if name in (b"gzip", b"x-gzip"):  # RFC 9110, 8.4.1.3: the two are the same
            if is_gzip:
                raise UnsupportedEncoding("the body is packed more than once")
            is_gzip = True
        elif name not in (b"", b"identity"):
            raise UnsupportedEncoding("content-encoding must be identity or gzip")
    return is_gzip


def _input_json(call: WebhookCall, parsed: Parsed) -> bytes:
    """The flow's input_value (CONTRACT 3), with the payload's JSON as it came."""
    return parsed.members_json if parsed.is_whole else b"%b,%b}" % (_input_start(call), parsed.members_json)


def _input_start(call: WebhookCall) -> bytes:
    """What comes before the payload."""
    if not call.prefix_json:
        fields = {"method": call.head.method, "path": call.path, "query": call.query.fields}
        fields["headers"] = _header_texts(call.headers)
        call.prefix_json = _encode(fields).encode("ascii")[:-1]
    return call.prefix_json


def _header_texts(headers: Headers) -> dict[str, str]:
    texts: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("ascii")
        try:
            value = raw_value.decode("utf-8")
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1")
        present = texts.get(name)
        if present is None:
            texts[name] = value
        else:
            # RFC 9110, 5.3: repeated fields are one list; cookies are joined in their own way (RFC 9113, 8.2.3).
            texts[name] = f"{present}; {value}" if name == "cookie" else f"{present}, {value}"
    return texts
