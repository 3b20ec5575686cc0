"""/api/webhook/<client>/<webhook>: a call becomes an execution, the execution becomes an answer (CONTRACT 3).

What is here comes after all checks of the caller (guards.py): the permission of the webhook's user, the flow's code,
the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..errors import Misconfigured, Overloaded
from ..executions.active import ActiveExecution
from ..http.messages import Response
from ..model.execution import Cause, Execution, Status
from ..pool.compiler import Code, refusal_faults
from ..pool.job import FlowResponse
from ..wire.payload import Parsed
from .call import Call, CallPlan, input_json
from .context import (
    JSON_HEADERS,
    HandlerContext,
    accepted_response,
    log,
    problem_response,
    record_response,
    success_response,
)

_STATUS_OF_END = {Status.ENDED_SUCCESS: 200, Status.ENDED_ERROR: 500, Status.ENDED_CANCELLED: 500}
_OUT_OF_TIME = (Cause.TIMEOUT, Cause.CPU)
# RFC 9110, 6.4.1 and 15.3.5, 15.4.5: answers that have no content.
_WITHOUT_CONTENT = (204, 205, 304)


class WebhookHandler:
    """The route WEBHOOK."""

    def __init__(self, context: HandlerContext) -> None:
        self._reloader = context.reloader
        self._runner = context.runner
        self._compiler = context.pool.compiler
        self._counts = context.counts

    def run(self, call: Call[CallPlan], parsed: Parsed, code: Code | None = None) -> None:
        """Starts the webhook's flow. Raises HttpError.

        `code`: the flow's; without it the one that is known, and if none is, all goes on once it is compiled.
        """
        plan = call.plan
        webhook = plan.webhook
        if webhook.has_rules and code is None and self._is_filtered(call, parsed):
            return
        if plan.resolved is None:
            names = webhook.client_name, webhook.flow_name, webhook.user_name
            plan.resolved = self._runner.resolve(plan.snapshot, *names)
        flow, user = plan.resolved
        if code is None:
            code = self._compiler.known(flow)
            if code is None:
                self._compiler.compile(flow, call.then(partial(self.run, call, parsed)))
                return
        if code.refusal:
            fault = refusal_faults(flow, code.refusal)[0]
            self._reloader.refused(flow, fault, by_import=code.is_import_refused)
            raise Misconfigured("the webhook is misconfigured", log_detail=str(fault))
        respond = call.respond
        if plan.head.method == "HEAD":
            # As GET would be, and nothing runs. Senders probe like this before they register, whatever `methods` says.
            respond(Response(202 if plan.is_async else 200, JSON_HEADERS, omits_length=True))
            return
        runner = self._runner
        flow = code.flow
        execution = Execution(
            "",
            webhook.client_name,
            flow.name,
            user.name,
            flow.script_hash,
            input_json(plan, parsed),
            webhook.name,
            webhook.name,
            show_script=webhook.show_script,
        )
        isolation = "execution" if user.isolation == "execution" else webhook.isolation
        active = runner.prepare(execution, flow, webhook.limits, isolation)
        if plan.is_async:
            runner.start_async(active, call.then(partial(_answer_accepted, call, active)))
            return

        def ended(active: ActiveExecution) -> None:
            respond(end_response(active))

        runner.start(active, ended, partial(self._stop_waiting, ended, call))

    def _is_filtered(self, call: Call[CallPlan], parsed: Parsed) -> bool:
        """Whether `only` leaves the call out; then it is answered."""
        plan = call.plan
        webhook = plan.webhook
        if webhook.only is None:
            return False
        mismatch = webhook.only.mismatch(plan.head.headers, plan.query.fields, parsed.picked)
        if not mismatch:
            return False
        if plan.head.method != "HEAD":
            self._counts.filtered += 1
            log.info("%s/%s: filtered: %s", webhook.client_name, webhook.name, mismatch)
        call.respond(success_response(webhook))
        return True

    def _stop_waiting(
        self, waiter: Callable[[ActiveExecution], None], call: Call[CallPlan], active: ActiveExecution
    ) -> None:
        """wait_s is over, or the daemon drains: 202 once the record is on disk; the flow goes on."""
        if active.remove_waiter(waiter):
            self._runner.make_async(active, call.then(partial(_answer_accepted, call, active)))


def _answer_accepted(call: Call[CallPlan], active: ActiveExecution, error: Exception | None) -> None:
    """202 once the record is on disk. `error`: what kept it from there."""
    if error is not None:
        raise Overloaded("the execution could not be written down", log_detail=str(error))
    call.respond(accepted_response(active.execution))


def end_response(active: ActiveExecution) -> Response:
    """What a sync caller gets: the flow's own answer, or the record with 200, 500 or 504."""
    execution = active.execution
    if execution.cause is Cause.REFUSED:
        return problem_response(Misconfigured("the webhook is misconfigured", log_detail=execution.message))
    if active.response is not None and execution.status is Status.ENDED_SUCCESS:
        return _own_response(active.response)
    status = 504 if execution.cause in _OUT_OF_TIME else _STATUS_OF_END[execution.status]
    return record_response(status, execution, active.flow.script)


def _own_response(response: FlowResponse) -> Response:
    body = b"" if response.status in _WITHOUT_CONTENT else response.body
    return Response(response.status, response.headers, body)
